"""A small line of parts, and models of anomalib fitted on it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bridge_options import OPTIONS, PADIM, PATCHCORE

from moekit.backbone.sources import DEFAULT_ARCHITECTURE, find_weights
from moekit_industrial.bridge.command import run_baseline
from moekit_industrial.loaders.examples import write_mvtec


@pytest.fixture(scope="session")
def line(tmp_path_factory) -> Path:
    """Products bolt and nut: 12 good images to train on, 4 good and 4 scratched to test."""
    return write_mvtec(tmp_path_factory.mktemp("parts") / "line")


@pytest.fixture(scope="session")
def weights():
    return find_weights(DEFAULT_ARCHITECTURE)


@pytest.fixture(scope="session")
def fit(line, tmp_path_factory):
    """Fits a model as the command does; returns result.json and its folder."""

    def run(model, *settings, **options):
        out = tmp_path_factory.mktemp("baseline") / "run"
        chosen = {"data": f"mvtec={line}", **OPTIONS, **options}
        result = run_baseline(
            model, out=out, settings=settings, on_progress=lambda *_: None, **chosen
        )
        return result, out

    return run


@pytest.fixture(scope="session")
def patchcore(fit):
    return fit("Patchcore", *PATCHCORE)


@pytest.fixture(scope="session")
def padim(fit):
    return fit("anomalib.models.Padim", *PADIM)
