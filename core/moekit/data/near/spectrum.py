"""Spectra of small pictures: the same wherever in the picture a thing lies, and turned as it turns.

Features of a network do not turn with a picture, so codes made of them miss turned and mirrored
copies in sets whose pictures all look alike. The magnitude of a picture's Fourier transform does
not change if the picture is moved, and turns and mirrors as the picture does (the first step of
Reddy and Chatterji 1996, doi:10.1109/83.506761).

Shapes: N pictures, S side of a spectrum, V = 4 variants, W = S * S.
"""

from __future__ import annotations

import numpy as np
from scipy import fft  # type: ignore[import-untyped]

from moekit.data.near.codes import unit
from moekit.data.near.register import PreparedPicture

SIDE = 33
"""Odd, so that a turn by 90 degrees leaves the middle in its place."""
_FLOOR = 0.05
"""What is added to magnitudes, as a share of their mean, before their logarithm is taken."""


def spectrum(picture: PreparedPicture) -> np.ndarray:
    """(S, S) logarithms of the magnitudes, the lowest frequency in the middle."""
    details_PQ = picture.coarse[0].details_PQ[:SIDE, :SIDE]
    magnitude_SS = np.abs(fft.fftshift(fft.fft2(details_PQ - details_PQ.mean(), (SIDE, SIDE))))
    floor = _FLOOR * float(magnitude_SS.mean()) + 1e-6
    logarithms: np.ndarray = np.log(magnitude_SS + floor).astype(np.float32)
    return logarithms


def spectral_codes(first_NSS: np.ndarray, second_KSS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes whose products tell how alike two spectra are, in the best of all turns and mirrors.

    What all pictures have in common, in all turns, is taken away. A half turn changes no spectrum,
    so four variants stand for all eight.

    Args:
        first_NSS: Spectra; one without a number belongs to a picture that cannot be compared.
        second_KSS: Others.

    Returns:
        (N, V, W) float16 codes of the first in all variants, and (K, W) float16 of the second.
    """
    variants_NVSS = _turned(first_NSS)
    known = variants_NVSS[np.isfinite(variants_NVSS).all((1, 2, 3))]
    both = [known.reshape(-1, SIDE, SIDE), second_KSS[np.isfinite(second_KSS).all((1, 2))]]
    everything = np.concatenate(both)
    mean_SS = _turned(everything.mean(0)[None])[0].mean(0) if len(everything) else 0.0
    return _codes(variants_NVSS - mean_SS), _codes(second_KSS - mean_SS)


def _turned(spectra_NSS: np.ndarray) -> np.ndarray:
    mirrored = spectra_NSS[:, :, ::-1]
    turns = [
        np.rot90(one, number, axes=(1, 2)) for one in (spectra_NSS, mirrored) for number in (0, 1)
    ]
    return np.stack(turns, axis=1)


def _codes(spectra: np.ndarray) -> np.ndarray:
    flat = np.nan_to_num(spectra.reshape(*spectra.shape[:-2], -1), nan=0.0)
    return unit(flat).astype(np.float16)
