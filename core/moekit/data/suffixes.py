"""What a picture file is, by its name; and by its first bytes, if the name does not say.

Everything in moekit that looks for pictures asks here: loaders, `predict`, `watch`, `recover`. A
file of a kind that is not read is named and counted among what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {
        *(".apng", ".bmp", ".dib", ".gif", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".mpo"),
        *(".pbm", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
"""Name endings, in lower case, of the pictures that are read."""

JPEG_SUFFIXES = frozenset({".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".mpo"})
"""Those of JPEG, whose compression changes numbers."""

UNREAD_SUFFIXES = frozenset(
    {
        # Of Pillow's formats.
        *(".avif", ".avifs", ".blp", ".bw", ".cur", ".dcx", ".dds", ".emf", ".eps", ".fit"),
        *(".fits", ".flc", ".fli", ".ftc", ".ftu", ".gbr", ".icb", ".icns", ".ico", ".im", ".j2c"),
        *(".j2k", ".jp2", ".jpc", ".jpf", ".jpx", ".msp", ".palm", ".pcd", ".pcx", ".psd", ".pxr"),
        *(".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".tga", ".vda", ".vst", ".wmf", ".xbm", ".xpm"),
        # Of others.
        *(".exr", ".hdr", ".heic", ".heif", ".hif", ".jpm", ".jls", ".jxl", ".jxr", ".psb"),
        *(".svg", ".svgz", ".wdp", ".xcf"),
        # Of cameras, as they come from the sensor.
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".kdc", ".mef", ".mos", ".mrw"),
        *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw", ".x3f"),
    }
)
"""Name endings, in lower case, of pictures that are not read."""

PICTURE_SUFFIXES = IMAGE_SUFFIXES | UNREAD_SUFFIXES
"""Name endings of pictures, read or not."""

_OTHER_SUFFIXES = frozenset(
    {
        *(".avi", ".bin", ".cfg", ".csv", ".db", ".doc", ".docx", ".gz", ".h5", ".hdf5", ".html"),
        *(".ini", ".ipynb", ".json", ".jsonl", ".lock", ".log", ".md", ".mov", ".mp4", ".npy"),
        *(".npz", ".onnx", ".parquet", ".pdf", ".pt", ".pth", ".py", ".rst", ".safetensors"),
        *(".sha256", ".tar", ".toml", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml"),
        ".zip",
    }
)
"""Name endings of files that are no pictures; they are not opened to find out."""
_SIGNATURES: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
}


def is_image_name(name: str) -> bool:
    """Whether a file's name has the ending of a picture that is read."""
    return suffix_of(name) in IMAGE_SUFFIXES


def is_picture_name(name: str) -> bool:
    """Whether a file's name has the ending of a picture, read or not."""
    return suffix_of(name) in PICTURE_SUFFIXES


def suffix_of(name: str) -> str:
    """The ending of a file's name in lower case, as `PurePath.suffix` finds it, but quickly."""
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def why_unread(path: Path) -> str | None:
    """Why a picture file is left out; None if it is read, or is no picture.

    A file whose ending says nothing is opened and its first bytes are looked at.
    """
    suffix = path.suffix.lower()
    if suffix in UNREAD_SUFFIXES:
        return f"pictures with the ending {suffix} are not read; convert it to PNG or TIFF"
    if suffix in IMAGE_SUFFIXES or suffix in _OTHER_SUFFIXES:
        return None
    format_ = _format_of(path)
    if format_ is None:
        return None
    return f"it is a {format_} picture whose name has not the ending of one; rename it"


def _format_of(path: Path) -> str | None:
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return None
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "WebP"
    return next((format_ for start, format_ in _SIGNATURES.items() if head.startswith(start)), None)
