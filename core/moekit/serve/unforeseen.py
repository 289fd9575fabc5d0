"""What a server says of an exception that nobody foresaw: never its text, which may hold data."""

from __future__ import annotations

from moekit.errors import PluginError


def unforeseen(
    error: BaseException, *, what: str = "an unforeseen error", whose: str = "the server"
) -> PluginError:
    """The error that takes the place of an exception of a plugin or a library.

    Args:
        error: The exception, of which only the type is named.
        what: What failed.
        whose: Whose fault it is.
    """
    return PluginError(
        f"{what}: {type(error).__name__}",
        whose=whose,
        fix="look into the server's log, and report it",
        code="plugin/unforeseen",
    )
