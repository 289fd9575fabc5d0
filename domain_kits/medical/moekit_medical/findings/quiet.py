"""Keeps the libraries from telling what they read.

pydicom and highdicom quote values in warnings, log lines and errors: a malformed birth date, a
name. None of that may reach a log.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

from pydicom.errors import BytesLengthException

from moekit import DataError, MoekitError
from moekit_medical.silence import silenced

READ_ERRORS = (
    BytesLengthException,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
)


def quiet() -> contextlib.AbstractContextManager[None]:
    """Silences pydicom's and highdicom's warnings and log lines within the block."""
    return silenced("pydicom", "highdicom")


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Is `quiet`, and turns the libraries' errors into a `DataError` without their text.

    Args:
        what: What the block makes or reads, such as "a Segmentation".

    Raises:
        DataError: The block failed.
    """
    try:
        with quiet():
            yield
    except MoekitError:
        raise
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        raise DataError(
            f"{what} cannot be read or made ({type(error).__name__})",
            whose="a CT series",
            fix="check patient, study and geometry attributes of the slices, or write JSON and CSV",
            code="data/dicom-failed",
        ) from None
