"""Tests of which failure it was: by the code of the error, not by its English."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit.errors import MoekitError

if TYPE_CHECKING:
    import pytest


def refused(code: str, *, match: str = "") -> pytest.RaisesExc[MoekitError]:
    """A block that must fail with the error of this code.

    `with refused("data/empty-split") as caught: ...`; afterwards `caught.value` is the error.

    Args:
        code: Of the error.
        match: A regular expression that the message must hold too, such as the name of a file;
            empty for any message.

    Raises:
        Failed: At the end of the block, if nothing or something else was raised.
    """
    import pytest

    def has_code(error: MoekitError) -> bool:
        assert error.code == code, f"the error has the code {error.code}, not {code}"
        return True

    return pytest.raises(MoekitError, match=match or None, check=has_code)
