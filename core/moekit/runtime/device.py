"""Which device and which arithmetic to use."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Literal

import torch

from moekit.errors import UsageError

Arithmetic = Literal["fp32", "bf16"]


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
            f"the device {name!r} cannot be used ({str(error).splitlines()[0]})",
            whose="--device",
            fix="use `cpu`, `cuda` where a GPU is installed, or `auto`",
            code="usage/no-device",
        ) from error
    return device


def pick_arithmetic(precision: str, device: torch.device) -> Arithmetic:
    """`fp32` or `bf16`; `auto` is bf16 where the device multiplies bfloat16 matrices natively."""
    if precision == "auto":
        native = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else _cpu_has_bf16()
        )
        return "bf16" if native else "fp32"
    return "bf16" if precision == "bf16" else "fp32"


def autocast(device: torch.device, arithmetic: Arithmetic) -> AbstractContextManager[object]:
    """Mixed precision in bfloat16, or nothing."""
    if arithmetic == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _cpu_has_bf16() -> bool:
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
