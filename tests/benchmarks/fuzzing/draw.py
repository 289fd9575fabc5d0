"""Draws damaged files: a way of damage for each format, chosen by the ending of the name."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from hypothesis import strategies as st

from tests.benchmarks.fuzzing.draw_arrays import nifti, npy, safetensors
from tests.benchmarks.fuzzing.draw_bytes import Draw, damaged, picture
from tests.benchmarks.fuzzing.draw_dicom import dicom
from tests.benchmarks.fuzzing.draw_text import json_lines, json_text, lines, table, toml

Content = dict[str, bytes]
"""Files by their path below a folder."""

_RARE = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".gif", ".ppm")
"""Where a folder holds other files too, these are chosen less often."""


def archive(draw: Draw, content: bytes) -> bytes:
    """A zip archive with damage in a member, in the list of members, or anywhere."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            members = {info.filename: packed.read(info) for info in packed.infolist()}
    except Exception:  # it has a fault already
        return damaged(draw, content)
    how = draw(st.sampled_from(["member", "member", "member", "names", "bytes"]))
    if how == "bytes" or not members:
        return damaged(draw, content)
    name = draw(st.sampled_from(sorted(members)))
    entries = list(members.items())
    if how == "member":
        entries = [(key, of(key)(draw, value) if key == name else value) for key, value in entries]
    else:
        other = draw(st.sampled_from([name, f"../{name}", f"/{name}", "a\\b", "x" * 300, "\x01"]))
        extra = draw(st.sampled_from(["add", "drop", "rename"]))
        entries = [one for one in entries if extra == "add" or one[0] != name]
        if extra != "drop":
            entries.append((other, members[name]))
    made = io.BytesIO()
    method = draw(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA]))
    with zipfile.ZipFile(made, "w", method) as packed:
        for key, value in entries:
            info = zipfile.ZipInfo(key)
            info.compress_type = method
            _write(packed, info, value)
    return made.getvalue()


def _write(packed: zipfile.ZipFile, info: zipfile.ZipInfo, value: bytes) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice is wanted
        packed.writestr(info, value)


def zipped_nifti(draw: Draw, content: bytes) -> bytes:
    """A compressed volume, with damage before or after the compression."""
    if draw(st.integers(0, 4)) == 0:
        return damaged(draw, content)
    try:
        plain = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return damaged(draw, content)  # it has a fault already
    return gzip.compress(nifti(draw, plain), 1)


_WAYS: Mapping[str, Callable[[Draw, bytes], bytes]] = {
    ".json": json_text,
    ".jsonl": json_lines,
    ".csv": table,
    ".toml": toml,
    ".txt": lines,
    ".dcm": dicom,
    ".nii": nifti,
    ".nii.gz": zipped_nifti,
    ".npz": archive,
    ".zip": archive,
    ".npy": npy,
    ".safetensors": safetensors,
    **dict.fromkeys(_RARE, picture),
}


def of(name: str) -> Callable[[Draw, bytes], bytes]:
    """The way of damage of a file."""
    path = PurePosixPath(name)
    if name.endswith(".nii.gz"):
        return zipped_nifti
    return _WAYS.get(path.suffix.lower(), lines if path.name in _TEXTS else damaged)


_TEXTS = ("METADATA", "options", "entry_points")


@st.composite
def folders(draw: Draw, base: Content) -> Content:
    """The files of a folder that differ from the base; an empty content means: not there."""
    names = sorted(base)
    often = [name for name in names if not name.endswith(_RARE)] or names
    changed: Content = {}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(often if draw(st.integers(0, 5)) else names))
        content = changed.get(name, base[name])
        how = draw(st.integers(0, 19))
        if how == 0:
            changed[name] = b""
        elif how == 1 and len(names) > 1:
            changed[name] = base[draw(st.sampled_from(names))]
        else:
            changed[name] = of(name)(draw, content)
    return changed
