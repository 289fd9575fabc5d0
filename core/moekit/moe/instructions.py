"""Which instructions of the processor the libraries below compute with.

It is what the processor has, less what the variables `ATEN_CPU_CAPABILITY` (torch's own loops) and
`ONEDNN_MAX_CPU_ISA` (products in bfloat16) take away. Both are read when the libraries begin, so a
change in a running process has no effect on them.
"""

from __future__ import annotations

import functools
import os
from typing import Literal

import torch

InstructionSet = Literal["bf16", "plain"]
"""`bf16`: products of bfloat16 matrices are instructions of their own. `plain`: they are not."""

_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16")
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of `ONEDNN_MAX_CPU_ISA` that leave out the instructions for bfloat16."""
_NARROW = ("default", "avx2")
"""Values of `ATEN_CPU_CAPABILITY` below AVX-512."""


def cpu_computes_bf16() -> bool:
    """Whether products of bfloat16 matrices run on instructions for them."""
    able = torch.cpu.get_capabilities()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    narrow = os.environ.get("ATEN_CPU_CAPABILITY", "").lower()
    if limit in _WITHOUT_BF16 or narrow in _NARROW:
        return False
    return any(able.get(name, False) for name in _CAPABILITIES)


@functools.cache
def instruction_set() -> InstructionSet:
    """The rules of dispatch that hold in this process; see `moekit.moe.batched`."""
    return "bf16" if cpu_computes_bf16() else "plain"
