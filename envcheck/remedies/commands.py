"""pip's commands in a line of shell, read and written."""

from __future__ import annotations

from typing import NamedTuple

WITH_VALUE = ("-f", "--find-links", "--no-binary", "--only-binary", "--extra-index-url")
"""Options that are followed by their value; that of ``--index-url`` is kept apart."""
THEN = " && "


class Pip(NamedTuple):
    """``pip VERB ...``: one command of pip's."""

    verb: str
    """``install``, ``uninstall``, ``check`` ..."""
    names: tuple[str, ...] = ()
    """Requirements, or distributions."""
    options: tuple[str, ...] = ()
    """With their values."""
    index_url: str = ""
    """The value of ``--index-url``."""
    variables: tuple[str, ...] = ()
    """``NAME=value`` before the command."""

    def written(self, program: str = "pip") -> str:
        """As a line of shell.

        >>> Pip("install", ("numpy<2",), ("-U",)).written("uv pip")
        'uv pip install -U "numpy<2"'
        """
        index = ("--index-url", self.index_url) if self.index_url else ()
        words = [program, self.verb, *self.options, *map(quoted, self.names), *index]
        return " ".join([*self.variables, *words])


def quoted(requirement: str) -> str:
    """In quotes where a shell would read it otherwise."""
    return f'"{requirement}"' if any(sign in requirement for sign in "=<>[]*~!; ") else requirement


def parts(command: str) -> list[Pip | str]:
    """The commands of a line that are joined by ``&&``: pip's read, others as they are.

    >>> parts("pip uninstall -y a && pip install 'b==1' && reboot")[1:]
    [Pip(verb='install', names=('b==1',), options=(), index_url='', variables=()), 'reboot']
    """
    return [read(part) or part for part in command.split(THEN)]


def read(text: str) -> Pip | None:
    """One command of pip's; None for another."""
    if "pip" not in text:
        return None
    import shlex

    try:
        words = shlex.split(text)
    except ValueError:  # an apostrophe in prose
        return None
    variables = []
    while words and "=" in words[0] and words[0].partition("=")[0].replace("_", "").isalnum():
        name, _, value = words.pop(0).partition("=")
        variables.append(f'{name}="{value}"' if " " in value or not value else f"{name}={value}")
    if words[:1] and words[0] in ("python", "python3") and words[1:2] == ["-m"]:
        words = words[2:]
    if len(words) < 2 or words[0] not in ("pip", "pip3"):
        return None
    verb, options, names, index = words[1], [], [], ""
    rest = iter(words[2:])
    for word in rest:
        if word in ("--index-url", "-i"):
            index = next(rest, "")
        elif word in WITH_VALUE:
            options += [word, next(rest, "")]
        elif word.startswith("-"):
            options.append(word)
        else:
            names.append(word)
    return Pip(verb, tuple(names), tuple(options), index, tuple(variables))


def name_of(requirement: str) -> str:
    """The distribution that a requirement names, as it is written.

    >>> name_of("jax[cuda12]>=0.4")
    'jax'
    """
    for place, letter in enumerate(requirement):
        if not (letter.isalnum() or letter in "-_."):
            return requirement[:place]
    return requirement


def specifier_of(requirement: str) -> str:
    """What a requirement asks of the version: ``>=0.4``; empty for any."""
    rest = requirement[len(name_of(requirement)) :]
    return (rest.partition("]")[2] if rest.startswith("[") else rest).strip()
