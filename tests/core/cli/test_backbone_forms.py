"""carve, recover and info on the command line, and runs that keep to their form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from moekit.cli.main import cli
from moekit.testing import refused


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of smooth colours."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for number in range(10):
        small = Image.fromarray(generator.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight file of timm's smallest vision transformer."""
    import timm
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), path)
    return path


def call(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(cli, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_carve_recover_and_info_work_on_a_folder_of_pictures(
    pictures: Path, weights: Path, tmp_path: Path
) -> None:
    small = ("--weights", weights, "--image-size", 32, "--images", pictures, "--json")
    carved, recovered = tmp_path / "carved.safetensors", tmp_path / "recovered.safetensors"
    facts = call(
        "backbone", "carve", "--out", carved, "--architecture", "test_vit", "--rank", 8, *small
    )
    assert facts["method"] == "linear"
    assert facts["pictures"] == {"train": 8, "held_out": 2}
    facts = call(
        "backbone", "recover", carved, "--out", recovered, "--passes", 1, "--steps", 2,
        "--batch-size", 2, *small,
    )  # fmt: skip
    assert set(facts["nearness"]) >= {"1", "4", "16"}  # type: ignore[arg-type]
    about = call(
        "backbone", "info", "--architecture", "test_vit", "--weights", weights,
        "--form", recovered, "--json",
    )  # fmt: skip
    assert about["sparse_form"] == "recovered.safetensors"
    assert about["form"]["nearness"] == facts["nearness"]  # type: ignore[index]
    plain = call("backbone", "info", "--architecture", "test_vit", "--weights", weights, "--json")
    assert plain["sparse_form"] is None


def test_an_unknown_way_to_carve_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with refused("usage/unknown-name"):
        CliRunner().invoke(
            cli,
            ["backbone", "carve", "--images", ".", "--out", "x", "--method", "best"],
            catch_exceptions=False,
        )
