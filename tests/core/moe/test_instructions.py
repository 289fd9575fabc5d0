"""What a processor computes with is what it has, less what the libraries are kept from."""

import pytest
import torch

from moekit.moe.instructions import cpu_computes_bf16
from moekit.runs.facts import machine


@pytest.mark.parametrize(
    ("able", "aten", "onednn", "expected"),
    [
        ("avx512_bf16", "", "", True),
        ("amx_bf16", "avx512", "AVX512_CORE_AMX", True),
        ("bf16", "", "DEFAULT", True),
        ("avx512_bf16", "avx2", "", False),
        ("avx512_bf16", "", "avx2", False),
        ("avx512_bf16", "", "AVX512_CORE_VNNI", False),
        ("avx512_f", "", "", False),
    ],
)
def test_bf16_needs_the_instructions_and_leave_to_use_them(
    able: str, aten: str, onednn: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, able: True})
    for name, value in (("ATEN_CPU_CAPABILITY", aten), ("ONEDNN_MAX_CPU_ISA", onednn)):
        monkeypatch.setenv(name, value)
    assert cpu_computes_bf16() is expected
    assert machine()["bf16_instructions"] is expected
