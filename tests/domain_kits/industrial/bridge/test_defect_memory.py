"""The memory as a model of anomalib: its Engine fits and tests it on files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.testing import refused
from moekit_industrial.bridge.defect_memory import DefectMemory
from moekit_industrial.bridge.library import Engine, Folder, quiet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve striped plates, and six with a bright blot."""
    root = tmp_path_factory.mktemp("plates")
    draw = np.random.default_rng(0)
    for name, count in (("good", 12), ("good_test", 6), ("bad", 6)):
        (root / name).mkdir()
        for number in range(count):
            stripes = 90 + 40 * np.sin(np.arange(112) / 5 + draw.random())
            pixels = np.tile(stripes, (112, 1)) + draw.normal(0, 4, (112, 112))
            if name == "bad":
                row, column = draw.integers(20, 80, 2)
                pixels[row : row + 16, column : column + 16] += 90
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
                root / name / f"{number}.png"
            )
    return root


def test_the_engine_fits_and_tests_it(folder: Path, tmp_path: Path) -> None:
    data = Folder(
        name="plates",
        root=folder,
        normal_dir="good",
        abnormal_dir="bad",
        normal_test_dir="good_test",
        test_split_mode="from_dir",
        val_split_mode="same_as_test",
        train_batch_size=4,
        eval_batch_size=4,
        num_workers=0,
    )
    pre_processor = DefectMemory.configure_pre_processor(image_size=(112, 112))
    model = DefectMemory(pre_processor=pre_processor, visualizer=False)
    engine = Engine(
        accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False
    )
    with quiet():
        engine.fit(model=model, datamodule=data)
        (result,) = engine.test(model=model, datamodule=data)
    assert model.model.head.seen_Q.tolist() == [9]  # of twelve, three set the scale
    assert result["image_AUROC"] > 0.9

    model.eval()
    batch = next(iter(data.test_dataloader()))
    raw = model.model(model.pre_processor.transform(batch.image))
    assert raw.anomaly_map.shape == (len(batch.image), 1, 112, 112)
    assert ((raw.pred_score > 0) & (raw.pred_score < 1)).all()
    again = DefectMemory(pre_processor=pre_processor, visualizer=False)
    again.load_state_dict(model.state_dict())
    again.eval()
    torch.testing.assert_close(
        again.model(model.pre_processor.transform(batch.image)).pred_score, raw.pred_score
    )


def test_too_few_images_are_refused() -> None:
    model = DefectMemory(visualizer=False)
    model.model.train()
    model.model(torch.zeros(2, 3, 56, 56))
    with refused("data/too-few"):
        model.fit()
