"""What is guessed or left out when a picture file becomes RGB, file by file, and said in sentences.

| kind | what it says |
| --- | --- |
| `frames` | the file has several frames or pages, and the first is used |
| `range` | numbers of more than 8 bits; the value is the highest one as a share of full scale |
| `deep` | colours of more than 8 bits; likewise |
| `bits` | numbers of more than 8 bits are taken for numbers of the bits that the run says |
| `integers` | 32-bit or signed integers are taken for 16-bit ones |
| `fractions`, `bytes` | floats are taken for shares of full brightness, or for 0 to 255 |
| `clear` | something is transparent, and becomes black |
| `bands` | there are more bands than colours, which are left out |
| `ink` | CMYK or LAB is converted without its colour profile |
| `flat` | windows without texture that took the answer of another one of their colour |
| `turned` | the picture is turned or mirrored as its EXIF orientation says |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from moekit.data.conversion import (
    DEEP,
    STATED,
    Extremes,
    extremes,
    full_scale,
    needed_bits,
    orientation,
    states_scale,
)
from moekit.data.pictures import strips

_FULL_RANGE = 0.26
"""A highest value below this share of full scale looks like 14 bits or fewer in 16."""
_TWELVE_BITS = 0.0626
_TURNED = "turned by its EXIF block"
_TIFF_BITS, _TIFF_FORMAT, _UNSIGNED = 258, 339, 1
_TIFF_BANDS = 277
BITS_OPTION = "adapt with --bits {} (the run keeps it for evaluate, predict and watch)"
"""What is advised for numbers of few bits."""


FLAT = "flat"
"""A kind that is known once a picture is answered."""


class Remark(NamedTuple):
    """What was guessed of one file.

    Attributes:
        kind: See the table above.
        value: The figure that belongs to it; 1 if there is none.
    """

    kind: str
    value: float = 1.0


def mark_unread(image: Image.Image) -> None:
    """Keeps in `info` of a picture that is not decoded yet what decoding would hide.

    That is whether its colours have 16 bits, whether its numbers are brought to 16 bits by what the
    file says, and how the EXIF block of a TIFF turns it.
    """
    tiles = [tuple(tile) for tile in getattr(image, "tile", ())]
    if image.mode.startswith("I"):
        image.info[STATED] = any(str(tile[0]).startswith("ppm") for tile in tiles)
    else:
        image.info[DEEP] = any(";16" in str(tile) for tile in tiles)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        image.info[_TURNED] = orientation(image)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """How the EXIF block turns a picture that was marked by `mark_unread`, decoded or not."""
    known: Image.Transpose | None = image.info.get(_TURNED)
    return orientation(image) if known is None else known


def is_plain(image: Image.Image, *, single: bool) -> bool:
    """Whether there is surely nothing to say of a picture that is not decoded yet."""
    mark_unread(image)
    odd = image.mode in ("F", "CMYK", "LAB") or image.mode.startswith("I")
    more = single and _has_more(image)
    if odd or more or _has_bands(image) or image.info.get(DEEP) or image.has_transparency_data:
        return False
    if isinstance(image, PngImagePlugin.PngImageFile) and "exif" not in image.info:
        return True  # Pillow would decode all of it to look for the block behind the pixels
    return not _is_turned(image)


def remarks_of(
    image: Image.Image, *, single: bool, bits: int | None = None, known: Extremes | None = None
) -> tuple[Remark, ...]:
    """What there is to say of a picture.

    Args:
        image: Decoded, as it is in the file, and marked by `mark_unread`.
        single: Whether one frame is used, whatever the file holds.
        bits: As of `to_rgb`.
        known: As of `to_rgb`.
    """
    found = [*_of_numbers(image, bits, known)]
    if _is_turned(image):
        found.append(Remark("turned"))
    if _has_bands(image):
        found.append(Remark("bands"))
    if image.mode in ("CMYK", "LAB"):
        found.append(Remark("ink"))
    if image.has_transparency_data and _lowest_alpha(image) < 255:
        found.append(Remark("clear"))
    if single and _has_more(image):  # the last, since a GIF is wound on by it
        found.append(Remark("frames"))
    return tuple(found)


class RemarkTally:
    """What was guessed of many files, in sentences on all of them, each with an example.

    Args:
        option: What may be advised for numbers of few bits, with a place for their bits; empty if
            the command has no such option.
    """

    def __init__(self, *, option: str = BITS_OPTION) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._option = option

    @property
    def kinds(self) -> tuple[str, ...]:
        """What was found, in the order of the alphabet."""
        return tuple(sorted(self._kinds))

    def add(self, name: str, remarks: Iterable[Remark]) -> None:
        """Counts what was guessed of one file.

        Args:
            name: Of the file.
            remarks: From `remarks_of`.
        """
        for remark in remarks:
            self._kinds.setdefault(remark.kind, _Kind()).add(name, remark.value)

    def sentences(self) -> tuple[str, ...]:
        """The sentences; empty if there is nothing to say."""
        found = []
        for name in self.kinds:
            kind = self._kinds[name]
            if name in ("range", "deep"):
                option = self._option if name == "range" and "bits" not in self._kinds else ""
                found.append(kind.range_in_words(option))
            elif name == "bits":
                found.append(
                    f"{_pictures(kind.count)} of more than 8 bits {_are(kind.count)} read as "
                    f"numbers of {kind.highest:.0f} bits, as the run says (--bits), such as "
                    f"{kind.example}"
                )
            elif name == FLAT:
                found.append(
                    f"{kind.total:.0f} windows without texture in {_pictures(kind.count)} took the "
                    f"answer of another such window, such as in {kind.example}"
                )
            elif name in _WORDS:
                found.append(f"{_pictures(kind.count)} {_WORDS[name]}, such as {kind.example}")
        if {"fractions", "bytes"} <= set(self._kinds):
            found.append("floats of both scales are in one set: check whether the others are dark")
        return tuple(sentence for sentence in found if sentence)


class _Kind:
    """The files of one kind of remark."""

    def __init__(self) -> None:
        self.count = self.low_count = 0
        self.highest = self.low_highest = self.total = 0.0
        self.example = self.low_example = ""

    def add(self, name: str, value: float) -> None:
        self.example = self.example or name
        self.count += 1
        self.total += value
        self.highest = max(self.highest, value)
        if value <= _TWELVE_BITS:
            self.low_example = self.low_example or name
            self.low_count += 1
            self.low_highest = max(self.low_highest, value)

    def range_in_words(self, option: str) -> str:
        """Of numbers of more than 8 bits; empty if they fill their range."""
        if self.highest < _FULL_RANGE:
            advice = "If they hold numbers of fewer bits (such as 12 in 16), "
            if option:
                bits = needed_bits(round(65535 * self.highest))
                advice = f"If they hold numbers of {bits} bits, {option.format(bits)}; else "
            return (
                f"{_pictures(self.count)} of more than 8 bits reach at most "
                f"{_percent(self.highest)} of full scale, such as {self.example}; they are read "
                f"so, in about {max(1, round(256 * self.highest))} of 256 grey levels. {advice}"
                "save them scaled to full scale or as 8 bits"
            )
        if self.low_count:
            return (
                f"{self.low_count} of {_pictures(self.count)} of more than 8 bits reach at most "
                f"{_percent(self.low_highest)} of full scale, such as {self.low_example}, the "
                f"others up to {_percent(self.highest)}: check whether they hold 12 bits in 16"
            )
        return ""


_WORDS: Mapping[str, str] = {
    "bands": "with more bands than colours, such as infrared: the colours are used",
    "bytes": "of floats above 1: taken for brightness from 0 to 255",
    "clear": "with transparent parts, which become black",
    "fractions": "of floats up to 1: taken for shares of full brightness",
    "frames": "with several frames or pages, of which the first is used",
    "ink": "in CMYK or LAB, converted without a colour profile",
    "integers": "of 32-bit or signed integers: taken for 16-bit ones",
    "turned": "turned or mirrored as the EXIF orientation says; what is drawn for them is taken as "
    "upright unless it has one too",
}


def _pictures(number: int) -> str:
    return f"{number} picture{'s' * (number != 1)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"


def _is_turned(image: Image.Image) -> bool:
    return turn_of(image) is not None


def _of_numbers(image: Image.Image, bits: int | None, known: Extremes | None) -> Iterable[Remark]:
    if image.mode == "F":
        _, high = known or extremes(image)
        yield Remark("fractions" if high <= 1 else "bytes")
    elif image.mode.startswith("I"):
        if isinstance(image, TiffImagePlugin.TiffImageFile) and not _is_plain(image):
            yield Remark("integers")
        _, high = known or extremes(image)
        yield Remark("range", high / full_scale(image, bits))
        if bits is not None and not states_scale(image):
            yield Remark("bits", bits)
    elif image.info.get(DEEP):
        # Pillow has kept the upper 8 bits of 16.
        clear = image.mode in ("RGBA", "LA")
        parts = (part.convert("RGB") if clear else part for _, part in strips(image))
        yield Remark("deep", (max(int(np.asarray(part).max()) for part in parts) + 1) / 256)


def _is_plain(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether the numbers are unsigned, of 16 bits at most."""
    bits = image.tag_v2.get(_TIFF_BITS, (16,))[0]
    signed = image.tag_v2.get(_TIFF_FORMAT, (_UNSIGNED,))[0] != _UNSIGNED
    return bits <= 16 and not signed


def _lowest_alpha(image: Image.Image) -> int:
    has = image.mode in ("RGBA", "LA", "PA")
    alphas = (part if has else part.convert("RGBA") for _, part in strips(image))
    return min(int(np.asarray(alpha.getchannel("A")).min()) for alpha in alphas)


def _has_bands(image: Image.Image) -> bool:
    """Whether a TIFF has bands that Pillow passes over."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(_TIFF_BANDS, 1) > len(image.getbands()))


def _has_more(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame says nothing about the first
        return False
