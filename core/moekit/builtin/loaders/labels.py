"""Class names, and which of two is the positive one."""

from __future__ import annotations

from collections.abc import Iterable

from moekit.errors import DataError

NEGATIVE_NAMES = ("good", "normal", "ok", "negative", "0", "false")


def two_classes(names: Iterable[str], *, whose: str) -> tuple[str, str]:
    """The negative and the positive class.

    Args:
        names: The class names found; the negative one alone will do.
        whose: What an error names.

    Raises:
        DataError: There are not two classes, or none of them has a name that means negative.

    Returns:
        Their names; "not NEGATIVE" for the positive one where there is none of it.
    """
    found = sorted(set(names))
    if len(found) == 1 and found[0].lower() in NEGATIVE_NAMES:
        return found[0], f"not {found[0]}"
    if len(found) != 2:
        raise DataError(
            f"{len(found)} classes were found ({', '.join(found[:5]) or 'none'}), not two",
            whose=whose,
            fix="give two classes: one named good, normal, ok or negative, and one other",
        )
    negative = [name for name in found if name.lower() in NEGATIVE_NAMES]
    if len(negative) != 1:
        raise DataError(
            f"it is not clear which of {found[0]!r} and {found[1]!r} is the negative class",
            whose=whose,
            fix="name one of them good, normal, ok, negative or 0",
        )
    positive = next(name for name in found if name != negative[0])
    return negative[0], positive
