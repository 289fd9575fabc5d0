"""By what an answer was computed: what must be equal for the same bits to come out again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from moekit.plugins.registry import Registry
from moekit.runs.facts import versions

_NAMED = ("python", "moekit", "torch", "timm", "numpy", "pillow")
_CPU_FACTS = Path("/proc/cpuinfo")


def made_by(
    device: torch.device, registry: Registry, libraries: Mapping[str, str]
) -> dict[str, Any]:
    """Device, processor and versions; no host name, user or path.

    Args:
        device: Where it is computed.
        registry: The plugins that it has used are named with their versions.
        libraries: Versions of further libraries that compute.
    """
    known = {**versions(), "torch": str(torch.__version__)}  # with its build
    plugins = {one.distribution: one.version for one in registry.used()}
    return {
        "device": device.type,
        "processor": _processor(device),
        "versions": {name: known[name] for name in _NAMED}
        | dict(libraries)
        | dict(sorted(plugins.items())),
    }


def _processor(device: torch.device) -> str:
    """What computes, in words; kernels are chosen by it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{_model() or platform.machine()}, {instructions}"


def _model() -> str:
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0][:100] if found else ""
