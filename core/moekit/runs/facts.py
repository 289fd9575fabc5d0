"""Facts that every result carries: versions, machine, plugins, backbone."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from moekit.moe.instructions import cpu_computes_bf16
from moekit.plugins.discovery import Plugin
from moekit.plugins.lock import lock_plugin

if TYPE_CHECKING:  # whoever wants the time or the versions loads no timm
    from moekit.backbone.model import MoEBackbone

_NAMED = ("moekit", "torch", "timm", "lightning", "torchmetrics", "safetensors", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a figure depends on."""
    found = {"python": platform.python_version()}
    for name in _NAMED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """What the figures were made on; no host name, user or path."""
    facts: dict[str, Any] = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_instructions": cpu_computes_bf16(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        facts["cuda_device"] = torch.cuda.get_device_name()
    return facts


def plugin_facts(plugins: Iterable[Plugin]) -> list[dict[str, Any]]:
    """The lock of each plugin: name, distribution, version, hashes of manifest and weights."""
    return [lock_plugin(plugin).model_dump() for plugin in plugins]


def backbone_facts(backbone: MoEBackbone) -> dict[str, Any]:
    """Provenance of the backbone's weights, and how many experts a token has."""
    provenance = dataclasses.asdict(backbone.provenance)
    return {
        **provenance,
        "provenance": f"{backbone.provenance.origin}. {backbone.provenance.note}",
        "top_k": backbone.top_k,
        "experts": backbone.experts,
    }


def now() -> str:
    """The time, in UTC, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
