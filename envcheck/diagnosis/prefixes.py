"""Which process wrote a line: the prefixes that launchers, containers and schedulers put before it.

Certain forms are taken wherever a line begins with one: no program's message does. The others (``0: ``, ``host: ``,
``name | ``) are common in messages too; one of them is taken where most lines have it, with labels that recur.
Prefixes stand before one another (a timestamp, a pod, a rank), so a line is peeled from the outside in.
"""

from __future__ import annotations

import re

DEEPEST = 4
"""Prefixes of one line, at most."""
MOST_PROCESSES = 4096
"""Processes that are told apart; the lines of any further ones are nobody's."""
SAMPLE = 300
"""Lines from the start, the middle and the end of a text by which an uncertain form is judged."""
LONGEST = 260
"""Characters in which one prefix ends."""

_BRACKETS = (
    # Open MPI --tag-output [1,0]<stdout>:, PMIx --output tag, tag-detailed and rank, Horovod [0]<stderr>:
    r"(?P<mpi>\[(?:[\w.@-]{1,60},)?\d{1,6}\](?:\[[^\]\n]{1,120}\])?)<std(?:out|err|diag)>: ?"
    # torch's excepthook, its Python and C++ logs; Lightning; Determined
    r"|\[[Rr]ank[ =:]{0,2}(?P<rank>\d{1,6})\]:? ?"
    # torchrun --tee: role and local rank, the role of most jobs being "default"
    r"|\[(?P<tee>(?:default|worker|trainer)\d{1,5})\]:(?=.)"
    # kubectl logs --prefix
    r"|\[pod/(?P<pod>[a-z0-9.-]{1,253}/[a-z0-9.-]{1,63})\] ?"
    # SGLang's logger
    r"|\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?P<worker>(?: [A-Z]{2}\d{1,4}){1,4})\] "
    # multiprocessing.log_to_stderr
    r"|\[(?:SUBDEBUG|DEBUG|INFO|SUBWARNING|WARNING|ERROR|CRITICAL)/(?P<process>[\w:-]{1,60})\] "
    # mpirun --timestamp-output of PMIx, before a tag or alone; the timestamps of Jenkins
    r"|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\](?:<std(?:out|err|diag)>: ?|(?=\[))"
    r"|\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\] "
)
_PARENTHESES = (
    # Ray and vLLM: (pid=12), (RayTrainWorker pid=12, ip=10.0.0.1), (EngineCore_DP0 pid=12)
    r"\((?P<ray>(?:[^\s()][^()\n]{0,80}(?:\([^()\n]{0,60}\)[^()\n]{0,40})? )?pid=\d{1,10}(?:, ip=[\w.:-]{1,60})?)"
    r"(?:, [^()\n]{0,60})?\) ?"
    r"|\((?P<daemon>raylet|gcs_server|autoscaler)\b[^()\n]{0,60}\) "
)
_DATED = (
    # Timestamps of GitHub Actions, GitLab, Azure Pipelines, docker and kubectl logs --timestamps, journalctl
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d) "
    r"(?:[0-9a-f]{2}[EO][+ ]|[\w.-]{1,64} (?P<journal>[\w./@-]{1,64}\[\d{1,10}\]): )?"
)
_NAMED = (
    # syslog and journalctl
    r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? [\w.-]{1,64} (?P<syslog>[\w./@-]{1,64}(?:\[\d{1,10}\])?): "
    # mpirun --timestamp-output of Open MPI 1 to 4, before a tag or alone
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}(?:<std(?:out|err|diag)>: ?|(?=\[))"
)
_RECORDS = ("worker", "process")
"""Forms that stand before the first line of a record only: what follows without a prefix may belong to it."""
_NO_HOSTS = ("error", "exception", "warning", "interrupt", ".so", ".py", ".c", ".cc", ".cpp", ".cu", ".h")

Label = tuple[str, str]
Uncertain = tuple[str, str, int]
"""A form, its label, and where the line's own text begins."""

_compiled: dict[str, re.Pattern[str]] = {}


def _pattern(text: str) -> re.Pattern[str]:
    """Compiled at the first line that may need it: most texts have none."""
    found = _compiled.get(text)
    if found is None:
        found = _compiled[text] = re.compile(text)
    return found


class Prefixes:
    """The prefixes of one text, and the processes that they name; the process 0 is nobody."""

    __slots__ = ("_form", "_numbers", "_shape", "labels", "record")

    def __init__(self) -> None:
        self.labels: list[tuple[Label, ...]] = [()]
        """What names each process, the outermost prefix first."""
        self.record = False
        """The line that was peeled last begins a record: lines without a prefix may follow."""
        self._numbers: dict[tuple[Label, ...], int] = {(): 0}
        self._form = self._shape = ""

    @property
    def certain(self) -> bool:
        """No form that messages have as well was taken."""
        return not self._form

    def peel(self, line: str) -> tuple[int, int]:
        """(the process that wrote a line, the place where its own text begins).

        >>> Prefixes().peel("2026-11-21T12:00:00.0000000Z [rank3]: RuntimeError")
        (1, 38)
        """
        letter = line[:1]
        if not self._form and letter not in "[(":
            # Nearly all lines of nearly all texts end here.
            if letter.isdigit():
                if line[10:11] != "T":
                    return 0, 0
            elif line[3:4] != " " or not letter.isupper():
                return 0, 0
        place = 0
        labels: list[Label] = []
        self.record = False
        open_form = self._form
        for _ in range(DEEPEST):
            found = _certain(line, place)
            if found is not None:
                place = found.end()
                form = found.lastgroup
                if form is not None:
                    labels.append((form, found[form]))
                    self.record = form in _RECORDS or (form == "rank" and _of_c10(line, place))
                continue
            if not open_form:
                break
            guess = uncertain(line, place)
            if guess is None or guess[0] != open_form or not self._has_shape(guess[1]):
                break
            labels.append((guess[0], guess[1]))
            place, open_form = guess[2], ""
        return (self._number(tuple(labels)) if labels else 0), place

    def _number(self, labels: tuple[Label, ...]) -> int:
        number = self._numbers.get(labels)
        if number is None:
            if len(self.labels) >= MOST_PROCESSES:
                return 0
            number = self._numbers[labels] = len(self.labels)
            self.labels.append(labels)
        return number

    def _has_shape(self, label: str) -> bool:
        return not self._shape or _stem(label) == self._shape

    def decide(self, text: str) -> None:
        """Take one of the uncertain forms where most lines of a text have it."""
        if text.count("\n", 0, 1 << 16) < 3:
            return
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if len(lines) > 3 * SAMPLE:
            middle = len(lines) // 2 - SAMPLE // 2
            lines = lines[:SAMPLE] + lines[middle : middle + SAMPLE] + lines[-SAMPLE:]
        tally: dict[str, dict[str, int]] = {}
        for line in lines:
            found = uncertain(line, self.peel(line)[1])
            if found is not None:
                labels = tally.setdefault(found[0], {})
                labels[found[1]] = labels.get(found[1], 0) + 1
        for form, labels in tally.items():
            shape = ""
            if form == "host":
                # Hosts of one job are numbered: their names differ in digits only.
                stems: dict[str, int] = {}
                for label, count in labels.items():
                    stems[_stem(label)] = stems.get(_stem(label), 0) + count
                shape = max(stems, key=lambda stem: stems[stem])
                labels = {label: count for label, count in labels.items() if _stem(label) == shape}
            if _likely(form, labels, len(lines)):
                self._form, self._shape = form, shape
                return

    def occur(self, text: str) -> bool:
        """Whether a line of a text has one."""
        peel = self.peel
        return any(peel(line)[1] for line in text.split("\n"))

    def name(self, number: int) -> str:
        """A process in words: ``rank 3``, ``local rank 0 of pod trainer-1/pytorch``; empty for nobody."""
        words = [_words(*label) for label in reversed(self.labels[number])]
        # A rank of the whole job needs no host or pod to be told apart.
        if words and words[0].startswith("rank "):
            return words[0]
        return " of ".join(dict.fromkeys(words))


def _certain(line: str, place: int) -> re.Match[str] | None:
    letter = line[place : place + 1]
    if letter == "[":
        return _pattern(_BRACKETS).match(line, place, place + LONGEST)
    if letter == "(":
        return _pattern(_PARENTHESES).match(line, place, place + LONGEST)
    if letter.isdigit():
        if line[place + 10 : place + 11] == "T":
            return _pattern(_DATED).match(line, place, place + LONGEST)
    elif line[place + 3 : place + 4] == " " and letter.isupper():
        return _pattern(_NAMED).match(line, place, place + LONGEST)
    return None


def _of_c10(line: str, place: int) -> bool:
    """``[E1123 10:00:00.1 ProcessGroupNCCL.cpp:629]``: a record of torch's C++ side has the rank on its first line."""
    return line[place : place + 1] == "[" and line[place + 1 : place + 2] in ("I", "W", "E", "F")


def uncertain(line: str, place: int) -> Uncertain | None:
    """The uncertain prefix that a line may have from a place on.

    >>> uncertain("worker-1: Traceback (most recent call last):", 0)
    ('host', 'worker-1', 10)
    """
    if line[place : place + 1] == "[":
        end = line.find("]", place, place + 48)
        label = line[place + 1 : end]
        if end < 0 or not label[-1:].isdecimal():
            return None
        if line[end + 1 : end + 2] == " ":  # mpiexec -prepend-rank of MPICH, mpirun -l of Intel MPI
            return ("number", label, end + 2) if label.isdecimal() else None
        # torchrun with other roles or a template; alone on its line it numbers the failures of the elastic agent
        role = label.rstrip("0123456789")
        if line[end + 1 : end + 2] == ":" and len(line) > end + 2 and (not role or role.isidentifier()):
            return "tee", label, end + 2
        return None
    head = line[place : place + 130]
    if (tab := head.find("\t")) > 0:
        return _tagged(line, place, head, tab)
    bare = head.lstrip(" ")
    token, blank, _ = bare.partition(" ")
    start = place + len(head) - len(bare)
    if token.endswith(":"):
        label = token[:-1]
        if label.isdecimal():  # srun --label aligns its numbers to the right
            return ("task", label, start + len(token) + len(blank)) if len(label) < 7 else None
        # pdsh, with which DeepSpeed reaches its hosts
        return ("host", label, start + len(token) + len(blank)) if start == place and _host(label) else None
    if not blank or start != place or not token[0].isalnum():
        return None
    rest = bare[len(token) :].lstrip(" ")
    end = start + len(head) - len(rest)
    if rest[:1] == "|" and rest[1:2] in ("", " "):  # docker compose logs
        return "container", token, min(end + 2, len(line))
    # stern: pod, container
    if "-" in token and token.islower() and any(letter.isdigit() for letter in token):
        second, blank, _ = rest.partition(" ")
        if blank and second.replace("-", "").isalnum() and second.islower():
            return "stern", f"{token}/{second}", end + len(second) + 1
    return None


def _tagged(line: str, place: int, head: str, tab: int) -> Uncertain | None:
    """``gh run view --log`` has job, step and a timestamp; parallel --tag the argument."""
    second = head.find("\t", tab + 1)
    if second > 0 and head[second + 1 : second + 6].lstrip("\ufeff")[:2].isdecimal() and "Z " in head[second:]:
        start = place + second + 1
        return "job", head[:second].replace("\t", " / "), start + (line[start : start + 1] == "\ufeff")
    return ("tag", head[:tab], place + tab + 1) if not head[:tab].isdecimal() else None


def _host(label: str) -> bool:
    low = label.lower()
    return (
        0 < len(label) < 64
        and any(letter.isdigit() for letter in label)
        and label.replace(".", "").replace("-", "").replace("_", "").isalnum()
        and not low.endswith(_NO_HOSTS)
        and ".so." not in low
    )


_DIGITS = {ord(digit): None for digit in "0123456789"}


def _stem(label: str) -> str:
    return label.translate(_DIGITS)


def _likely(form: str, labels: dict[str, int], lines: int) -> bool:
    """Whether labels of a form are those of processes: few, each on several of the lines, on most of them together."""
    marked = sum(labels.values())
    several = len(labels) > 1
    if marked < 4 or marked < 2 * len(labels):
        return False
    if form in ("stern", "tag"):
        return 5 * marked >= 4 * lines and marked >= 3 * len(labels) and (several or form == "stern")
    # A list numbers its lines from one end to the other; processes write in turn, or one of them more than others.
    return 5 * marked >= 3 * lines and (several or form in ("container", "tee", "job"))


def _words(form: str, label: str) -> str:
    if form == "mpi":
        return f"rank {label.partition(']')[0].rpartition(',')[2].lstrip('[')}"
    if form in ("rank", "number"):
        return f"rank {label}"
    if form == "tee":
        role = label.rstrip("0123456789")
        number = label[len(role) :]
        return f"local rank {number}" if role == "default" else f"rank {number}" if not role else label
    if form == "ray":
        return f"process {label[4:]}" if label.startswith("pid=") else label
    kinds = {"task": "task", "pod": "pod", "stern": "pod", "container": "container", "host": "host", "worker": "worker"}
    return f"{kinds[form]} {label.strip()}" if form in kinds else label


def several(names: list[str]) -> str:
    """Processes in words: ``ranks 0-3, 7``; of many that are not numbered, the first ones and how many more there are.

    >>> several(["rank 0", "rank 2", "rank 1", "rank 7"])
    'ranks 0-2, 7'
    """
    names = [name for name in names if name]
    parted = [name.rpartition(" ") for name in names]
    kinds = {kind for kind, _, _ in parted}
    if len(names) > 1 and len(kinds) == 1 and "" not in kinds and all(number.isdecimal() for _, _, number in parted):
        kind = kinds.pop()
        return f"{kind}{'es' if kind == 'process' else 's'} {_ranges(sorted({int(number) for _, _, number in parted}))}"
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} others"
    return ", ".join(names)


def _ranges(numbers: list[int]) -> str:
    parts: list[str] = []
    first = last = numbers[0]
    for number in [*numbers[1:], -1]:
        if number == last + 1:
            last = number
            continue
        parts.append(str(first) if first == last else f"{first}-{last}" if last > first + 1 else f"{first}, {last}")
        first = last = number
    return ", ".join(parts)
