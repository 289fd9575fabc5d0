"""Which device and which arithmetic to use."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from contextlib import AbstractContextManager
from typing import Literal

import torch

from moekit.errors import UsageError
from moekit.moe.instructions import cpu_computes_bf16
from moekit.text import first_line

Arithmetic = Literal["fp32", "bf16"]

_logger = logging.getLogger(__name__)


def pick_device(name: str = "auto") -> torch.device:
    """The named device; `auto` is the first CUDA device, else the CPU.

    Raises:
        UsageError: The device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"the device {name!r} cannot be used ({first_line(error)})",
            whose="--device",
            fix="use `cpu`, `cuda` if a GPU is installed, or `auto`",
            code="usage/no-device",
        ) from error
    return device


def pick_arithmetic(precision: str, device: torch.device) -> Arithmetic:
    """`fp32` or `bf16`; `auto` is bf16 if the device multiplies bfloat16 matrices natively.

    A device that only emulates bfloat16 still computes in it if it is asked to, but a warning says
    how much slower that is.
    """
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    if precision == "bf16" and not has_native_bf16(device):
        _warn_of_emulation(device)
    return "bf16" if precision == "bf16" else "fp32"


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16 matrices, and may use them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return cpu_computes_bf16()


def autocast(device: torch.device, arithmetic: Arithmetic) -> AbstractContextManager[object]:
    """Mixed precision in bfloat16, or nothing."""
    if arithmetic == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@functools.cache
def _warn_of_emulation(device: torch.device) -> None:
    """Warns once a process and device."""
    fast, slow = (_seconds_of_product(device, kind) for kind in (torch.float32, torch.bfloat16))
    _logger.warning(
        "bf16 is emulated on this device (%s): a matrix product takes %.0f times as long as in "
        "fp32; use the precision `auto` or `fp32`",
        device,
        slow / fast,
    )


def _seconds_of_product(device: torch.device, dtype: torch.dtype) -> float:
    """The fastest of three products of the size of one image's tokens."""
    left, right = (torch.ones(257, 384, dtype=dtype, device=device) for _ in range(2))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        float((left @ right.T)[0, 0])
        seconds.append(time.perf_counter() - start)
    return min(seconds)
