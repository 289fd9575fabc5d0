"""Whether this machine, the weights, the cache and the plugins are fit for work."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from moekit.backbone.build import build_backbone
from moekit.backbone.sources import cache_folder
from moekit.errors import MoekitError
from moekit.files import check_writable
from moekit.moe.instructions import cpu_computes_bf16
from moekit.plugins.discovery import State, discover

_LEAST_MEMORY_GIB, _LEAST_DISK_GIB = 4.0, 5.0
_GIB = 2**30
_SIDE = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        found: What is there.
        fix: What to do; empty if all is well.
    """

    check: str
    found: str
    fix: str = ""


def examine(*, weights: str = "auto") -> list[Finding]:
    """Looks at the machine, the weights, the cache folder and the state of each plugin.

    No plugin is imported; `moekit plugins doctor` does that.

    Args:
        weights: As of `build_backbone`.
    """
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("processor", _processor),
        ("memory", _memory),
        ("GPU", _gpu),
        ("weights", lambda: _weights(weights)),
        ("cache", _cache),
        ("plugins", _plugins),
    )
    found = [Finding(check="Python", found=f"{sys.version.split()[0]}, torch {torch.__version__}")]
    for name, check in checks:
        try:
            found += check()
        except MoekitError as error:
            found.append(Finding(check=name, found=error.what, fix=error.fix))
    return found


def _processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    arithmetic = "bf16" if cpu_computes_bf16() else "fp32, since bf16 is emulated here"
    speed = _gflops()
    yield Finding(
        check="processor",
        found=f"{cores} cores, {torch.backends.cpu.get_cpu_capability()}, {speed:.0f} GFLOP/s in "
        f"float32 on {torch.get_num_threads()} threads; kits compute in {arithmetic}",
    )


def _gflops() -> float:
    """The speed of a product of matrices, the best of some."""
    a = torch.rand(_SIDE, _SIDE)
    best = float("inf")
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - began)
    return 2 * _SIDE**3 / best / 1e9


def _memory() -> Iterator[Finding]:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    free = kib["MemAvailable"] * 1024 / _GIB
    fix = "" if free >= _LEAST_MEMORY_GIB else "close other programs; a training takes 2 to 3 GiB"
    yield Finding(check="memory", found=f"{free:.1f} GiB available", fix=fix)


def _gpu() -> Iterator[Finding]:
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / _GIB
        yield Finding(
            check="GPU", found=f"{torch.cuda.get_device_name()}, {memory:.0f} GiB; --device cuda"
        )
    else:
        yield Finding(check="GPU", found="none; all commands run on the processor")


def _weights(weights: str) -> Iterator[Finding]:
    known = build_backbone(weights=weights).provenance  # a damaged file does not load
    yield Finding(
        check="weights", found=f"{known.origin} ({known.source}), SHA-256 {known.sha256[:12]}..."
    )


def _cache() -> Iterator[Finding]:
    folder = cache_folder()
    check_writable(folder)
    free = shutil.disk_usage(folder).free / _GIB
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _GIB
    fix = "" if free >= _LEAST_DISK_GIB else "free space, or set MOEKIT_CACHE_DIR to another disk"
    yield Finding(
        check="cache", found=f"{folder}: {used:.1f} GiB used, {free:.0f} GiB free", fix=fix
    )


def _plugins() -> Iterator[Finding]:
    found = discover()
    well = [one for one in found if one.state is State.ACTIVE]
    yield Finding(check="plugins", found=f"{len(well)} of {len(found)} are usable")
    for one in found:
        if one.state not in (State.ACTIVE, State.DISABLED):
            yield Finding(
                check=f"plugin {one.distribution}",
                found=f"{one.state.value}: {one.reason}",
                fix=f"update or remove it, or run `moekit plugins disable {one.distribution}`",
            )
