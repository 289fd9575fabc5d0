"""Runs of the real kits on real weights, adapted once and as briefly as can be."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from moekit.jobs.adapt import adapt_kit
from moekit_medical.loaders.candidates import write_example

QUICK: dict[str, Any] = {
    "epochs": 1,
    "views": 1,
    "scoring_views": 1,
    "image_size": 56,
    "precision": "fp32",
}
EACH = 16


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 functional and 16 defective solar cells in class folders."""
    pytest.importorskip("elpv_dataset", reason="the photographs come with elpv-dataset")
    source = Path(str(files("elpv_dataset"))) / "data"
    folder = tmp_path_factory.mktemp("cells")
    names = {"0.0": "good", "1.0": "cracked"}
    for name in names.values():
        (folder / name).mkdir()
    for line in (source / "labels.csv").read_text().splitlines():
        picture, probability, _ = line.split()
        target = folder / names.get(probability, "")
        if probability in names and len(list(target.iterdir())) < EACH:
            shutil.copy(source / picture, target)
    return folder


@pytest.fixture(scope="session")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Adapts a kit by its name, and returns the folder of the run."""

    def adapt(kit: str, data: str, *, task: str | None = None, **recipe: Any) -> Path:
        folder = tmp_path_factory.mktemp(kit) / "run"
        adapt_kit(
            kit,
            data=data,
            task=task,
            run_folder=folder,
            recipe={**QUICK, **recipe},
            on_progress=lambda *_: None,
            on_epoch=lambda *_: None,
        )
        return folder

    return adapt


@pytest.fixture(scope="session")
def industrial_run(cells: Path, adapted: Callable[..., Path]) -> Path:
    """A run of the industrial kit on the cells."""
    return adapted("industrial", f"folder={cells}")


@pytest.fixture(scope="session")
def medical_run(
    tmp_path_factory: pytest.TempPathFactory, adapted: Callable[..., Path]
) -> Iterator[Path]:
    """A run of the medical kit on the loader's own example."""
    example = write_example(tmp_path_factory.mktemp("crops"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield adapted("medical", f"candidates={example}")
