"""Features of a folder of pictures, as a file that NumPy reads."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.backbone.build import build_backbone
from moekit.data import Preprocess
from moekit.jobs.embed import embed_images
from moekit.testing import refused

SIDE = 56


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(3):
        pixels = generator.integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def embed(folder, out, **changes):
    how = {"image_size": SIDE, "batch_size": 2, "precision": "fp32", **changes}
    return embed_images([folder], out=out, on_progress=lambda *_: None, **how)


def test_the_archive_holds_what_the_backbone_computes(folder, tmp_path):
    made = embed(folder, tmp_path / "out" / "features.npz")
    assert (made["n"], made["width"]) == (3, 384)
    assert [one["id"] for one in made["skipped"]] == ["broken.png"]
    found = np.load(tmp_path / "out" / "features.npz")
    assert found["names"].tolist() == ["0.png", "1.png", "2.png"]
    assert found["sha256"][1] == hashlib.sha256((folder / "1.png").read_bytes()).hexdigest()
    backbone = build_backbone()
    read = Preprocess(size=SIDE, mean=backbone.mean, std=backbone.std)
    with torch.inference_mode():
        features = backbone(torch.stack([read(folder / f"{number}.png") for number in range(3)]))
    np.testing.assert_allclose(found["class_ND"], features.pooled_BD, atol=1e-4)
    np.testing.assert_allclose(found["patch_mean_ND"], features.patches_BND.mean(1), atol=1e-4)
    about = json.loads(str(found["about"]))
    assert about["backbone"]["sha256"] == backbone.provenance.sha256
    assert about["skipped"][0]["id"] == "broken.png"


def test_an_output_never_takes_the_place_of_a_picture(folder):
    before = (folder / "1.png").read_bytes()
    with refused("usage/bad-output"):
        embed(folder, folder / "1.png")
    assert (folder / "1.png").read_bytes() == before


def test_a_side_that_is_no_multiple_of_the_patch_is_refused_before_anything_is_read(folder):
    with refused("usage/image-size", match="56 or 70"):
        embed(folder, folder / "out.npz", image_size=60)


def test_a_folder_that_holds_no_readable_picture_is_refused(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with refused("data/none-readable"):
        embed(tmp_path, tmp_path / "features.npz")
    assert not (tmp_path / "features.npz").exists()
