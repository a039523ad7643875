"""pip's commands in the words of conda, where the packages came from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcheck.core.report import Fix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envcheck.remedies.commands import Pip
    from envcheck.remedies.place import Place


def by_conda(fix: Fix, found: Sequence[Pip | str], place: Place) -> list[Fix]:
    """To come: until then pip's own."""
    return [fix]
