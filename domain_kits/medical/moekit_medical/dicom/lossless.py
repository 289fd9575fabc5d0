"""JPEG Lossless for pydicom (ITU-T T.81 process 14), which pydicom itself decodes by plugins only.

Many CT archives are in this encoding. Of the decoders that pydicom knows, pylibjpeg-libjpeg is
under the GPL, and GDCM brings a toolkit of its own; imagecodecs is under the BSD licence.
`register` adds it to pydicom, as pydicom's guide on decoder plugins says.
"""

from __future__ import annotations

import contextlib
import importlib.util

import numpy as np
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

SYNTAXES = (JPEGLossless, JPEGLosslessSV1)
DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, ("numpy", "imagecodecs>=2024.1"))
_LABEL = "moekit_medical"


def is_available(uid: str) -> bool:
    """Whether a transfer syntax can be decoded here; pydicom asks."""
    return uid in SYNTAXES and importlib.util.find_spec("imagecodecs") is not None


def register() -> None:
    """Adds the decoder to pydicom's, once."""
    for syntax in SYNTAXES:
        with contextlib.suppress(ValueError):  # it is there
            get_decoder(syntax).add_plugin(_LABEL, (__name__, "_decode_frame"))


def _decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """One frame as little-endian numbers of the bits that the header allocates."""
    from imagecodecs import jpegsof3_decode

    frame = np.asarray(jpegsof3_decode(source))
    bits = frame.dtype.itemsize * 8
    runner.set_option("bits_allocated", bits)
    if frame.ndim == 3:
        runner.set_option("planar_configuration", 0)
    stored = int(runner.bits_stored)
    if runner.pixel_representation == 1 and stored < bits:
        # Numbers of fewer bits come without their sign.
        signed = frame.astype(np.int32)
        frame = np.where(signed >> (stored - 1) & 1, signed - (1 << stored), signed)
    return frame.astype(f"<u{bits // 8}").tobytes()
