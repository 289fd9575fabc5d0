"""How a check says that something is wrong, or that it has nothing to ask."""

from __future__ import annotations


class ConformanceError(AssertionError):
    """The plugin does not keep this part of the contract; the message says how."""


class NotApplicable(Exception):  # noqa: N818 - not a failure
    """The check has nothing to ask of this plugin; the message says why."""


class Blocked(Exception):  # noqa: N818 - not a failure of its own
    """The check could not run, since the plugin could not be activated."""


def require(condition: bool, message: str) -> None:
    """Fails the check unless the condition holds.

    Raises:
        ConformanceError: It does not.
    """
    if not condition:
        raise ConformanceError(message)
