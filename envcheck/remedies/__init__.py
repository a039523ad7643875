"""What mends it, said for the place where it is to be typed.

Rules and signatures write fixes in the words of pip, apt and Docker. Here they are put into those of the tool that
keeps this environment (uv, conda, pipx, pixi), of its distribution and of its container, and ordered by side effects.
Imported only when something is wrong.

`commands` reads and writes pip's commands, `tools` says them for other installers, `conda` finds conda's names,
`system` looks after package managers, containers and hosts, `images` finds another image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.report import SAFETIES, Fix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcheck.core.report import Finding
    from envcheck.facts import Facts
    from envcheck.remedies.place import Place

TESTED_BY = {
    **dict.fromkeys(("smoke-failure", "wrong-results", "silent-cpu-fallback", "slow-device"), "envcheck smoke"),
    "import-failure": "envcheck --import",
    "environment-drift": "",
}
"""What shows that a cause is gone, where a check alone does not: only a test finds it, or two places are compared."""


def fit_findings(findings: Iterable[Finding], facts: Facts) -> None:
    """Put the fixes of findings, and of what they explain, into the words of the place."""
    place = None
    for finding in findings:
        if finding.fixes:
            if place is None:
                from envcheck.remedies.place import Place

                place = Place.of(facts)
            finding.fixes = fitted(finding.rule, finding.fixes, place)
        fit_findings(finding.consequences, facts)


def fitted(rule: str, fixes: Iterable[Fix], place: Place) -> list[Fix]:
    """Fixes of one cause for a place, those with least side effects first, each with a way to see that it worked."""
    from envcheck.remedies.images import other_images
    from envcheck.remedies.system import on_system
    from envcheck.remedies.tools import by_tool

    fitting = [last for fix in fixes for one in by_tool(fix, place) for last in on_system(one, place)]
    found: dict[tuple[str, str], Fix] = {}
    for fix in [*fitting, *other_images(rule, place)]:
        # To ask for the newest says nothing more where the package is not there, or of another build.
        key = fix.command.replace(" -U ", " "), "" if fix.command else fix.note
        found.setdefault(key, _verified(rule, fix, place))
    return sorted(found.values(), key=lambda fix: SAFETIES.index(fix.safety))


def _verified(rule: str, fix: Fix, place: Place) -> Fix:
    verify = fix.verify
    if not verify and fix.command and not fix.command.startswith("envcheck "):
        verify = TESTED_BY.get(rule, f"envcheck --select {rule}")
    if place.interpreter and verify.startswith(("python -c ", "envcheck ")):
        program, _, rest = verify.partition(" ")
        verify = f"{place.interpreter} {'-m envcheck ' if program == 'envcheck' else ''}{rest}"
    return Fix(fix.command, fix.note, fix.safety, verify)
