"""Errors of a runtime that is asked for kits that it does not have."""

from __future__ import annotations

from collections.abc import Iterable

from moekit.errors import UsageError


def both_or_neither() -> UsageError:
    """Answers are asked for by one kit and by several, or by none."""
    return UsageError(
        "it is asked with both or neither of `kit` and `kits`",
        whose="Runtime.answer",
        fix="give one of them",
        code="usage/one-of-two",
    )


def taken(kit: str) -> UsageError:
    """A name is to be given twice."""
    return UsageError(
        f"kit {kit} is attached already",
        whose=kit,
        fix="detach it first",
        code="usage/name-taken",
    )


def not_attached(kit: str, known: Iterable[str]) -> UsageError:
    """A kit is named that nobody has attached."""
    return UsageError(
        f"kit {kit} is not attached",
        whose=kit,
        fix=f"attach it first; attached: {', '.join(known) or 'none'}",
        code="usage/not-attached",
    )


def without_run(kit: str) -> UsageError:
    """A kit is asked for answers that was never trained."""
    return UsageError(
        f"kit {kit} has no trained run, so it has no answers",
        whose=kit,
        fix="attach a run with Runtime.load",
        code="usage/no-run",
    )


def none_named(known: Iterable[str]) -> UsageError:
    """No kit is named where one must be."""
    return UsageError(
        "no kit is named",
        whose="kits",
        fix=f"name one; attached: {', '.join(known) or 'none'}",
        code="usage/no-kit",
    )
