"""Draws damaged arrays: npy members, safetensors files, NIfTI volumes."""

from __future__ import annotations

import ast
import json
import struct
from typing import Any

import numpy as np
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from tests.benchmarks.fuzzing.draw_bytes import Draw, damaged
from tests.benchmarks.fuzzing.draw_text import VALUES, encoded

_SIDES = st.sampled_from([0, 1, 2, 3, -1, 7, 255, 65536, 2**31, 2**40, 2**62, 2**64])
_TYPES = ("|O", "<f8", "<f2", "|u1", "|b1", "<i8", "<c16", "<U9", "|S4", "<M8[s]", "|V8", "x", "")


def npy(draw: Draw, content: bytes) -> bytes:
    """A npy file with another header, or damaged bytes."""
    if draw(st.integers(0, 2)) == 0 or not content.startswith(b"\x93NUMPY\x01"):
        return damaged(draw, content)
    length = int.from_bytes(content[8:10], "little")
    try:
        header: Any = ast.literal_eval(content[10 : 10 + length].decode("latin-1"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        header = None
    if not isinstance(header, dict):
        return damaged(draw, content)  # it has a fault already
    how = draw(st.integers(0, 4))
    if how == 0:
        header["descr"] = draw(st.sampled_from(_TYPES) | st.just([("a", "<f4"), ("b", "|O")]))
    elif how == 1:
        header["shape"] = tuple(draw(st.lists(_SIDES, max_size=4)))
    elif how == 2:
        header["fortran_order"] = draw(st.booleans() | st.just(7))
    elif how == 3:
        header[draw(st.text(max_size=4))] = 1
    else:
        header = draw(VALUES)
    text = encoded(repr(header) + "\n")[:65000]
    if draw(st.integers(0, 9)) == 0:
        text = b"(" * 5000 + b"\n"
    return content[:8] + len(text).to_bytes(2, "little") + text + content[10 + length :]


def safetensors(draw: Draw, content: bytes) -> bytes:
    """A safetensors file with another header, other numbers, or damaged bytes."""
    how = draw(st.integers(0, 9))
    if how < 2 or len(content) < 8:
        return damaged(draw, content)
    length = int.from_bytes(content[:8], "little")
    start = 8 + length
    if how == 2:
        at = draw(st.integers(start, max(start, len(content) - 4)))
        number = draw(st.sampled_from([float("nan"), float("inf"), 1e38, 0.0, -1.0]))
        return content[:at] + struct.pack("<f", number) + content[at + 4 :]
    try:
        header: Any = json.loads(content[8:start])
    except (ValueError, RecursionError):
        return damaged(draw, content)
    sound = isinstance(header, dict) and header
    if not sound or not all(isinstance(entry, dict) and entry for entry in header.values()):
        return damaged(draw, content)  # it has a fault already
    name = draw(st.sampled_from(sorted(header)))
    entry = header[name]
    if how == 3:
        del header[name]
    elif how == 4:
        header[draw(st.text(max_size=9))] = header.pop(name)
    elif name == "__metadata__":
        key = draw(st.sampled_from(sorted(entry)))
        entry[key] = _told(draw, entry[key])
    elif how < 8:
        types = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "F4"]
        part = draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
        entry[part] = (
            draw(st.sampled_from(types)) if part == "dtype" else draw(st.lists(_SIDES, max_size=3))
        )
        if draw(st.booleans()):  # a tensor of one number, which fits its shape
            header[name] = {"dtype": "F32", "shape": [], "data_offsets": entry["data_offsets"]}
    else:
        header[name] = draw(VALUES)
    text = encoded(json.dumps(header))
    return len(text).to_bytes(8, "little") + text + content[start:]


def _told(draw: Draw, text: str) -> Any:
    from tests.benchmarks.fuzzing.draw_text import json_text, words

    if text.startswith("{") and draw(st.integers(0, 3)):
        return json_text(draw, text.encode()).decode("utf-8", "replace")
    return draw(st.sampled_from([words(draw), "[" * 100_000, "null", "[]", "{}"]))


def nifti(draw: Draw, content: bytes) -> bytes:
    """A NIfTI volume with another field in its header, or damaged bytes."""
    if draw(st.integers(0, 4)) == 0 or len(content) < 348:
        return damaged(draw, content)
    header: Any = Nifti2Header if content[:4] == b"\x1c\x02\0\0" else Nifti1Header
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        names = sorted(header.template_dtype.names)
        name = draw(st.sampled_from([*names, *["dim", "pixdim", "datatype", "bitpix"] * 3]))
        kind, offset = header.template_dtype.fields[name][:2]
        item, count = kind.base, int(np.prod(kind.shape, dtype=int))
        at = offset + item.itemsize * draw(st.integers(0, count - 1))
        made[at : at + item.itemsize] = _field(draw, item)
    return bytes(made)


def _field(draw: Draw, kind: np.dtype[Any]) -> bytes:
    if kind.kind == "f":
        values = [0.0, -1.0, 1.0, 1e-30, 1e30, np.nan, np.inf, -np.inf, 352.0, 3.4e38]
        return np.array(draw(st.sampled_from(values)), kind).tobytes()
    if kind.kind in "iu":
        codes = [-1, 16, 64, 128, 256, 512, 768, 1024, 2304]
        few = draw(st.integers(0, 9) | st.sampled_from(codes))
        many = draw(st.sampled_from([few, few, few, np.iinfo(kind).max, np.iinfo(kind).min]))
        return (int(many) % 256**kind.itemsize).to_bytes(kind.itemsize, "little")
    return bytes(draw(st.binary(min_size=kind.itemsize, max_size=kind.itemsize)))
