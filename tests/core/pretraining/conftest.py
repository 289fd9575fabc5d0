"""The small kit on the small backbone, pretrained on real images in seconds."""

import pytest

from moekit.data.geometry import Frame
from moekit.plugins.changes import KitChanges
from moekit.pretraining.recipe import PretrainRecipe
from moekit.pretraining.specialists import PretrainJob, pretrain_specialists
from moekit.runs.pretrained import Pretrained
from tests.core.training.conftest import (  # noqa: F401
    SIDE,
    cells,
    fabric,
    kit,
    recipe,
    registry,
)


@pytest.fixture
def brief():
    """Two epochs of five steps."""
    return PretrainRecipe(
        objective="self-distillation",
        image_size=SIDE,
        epochs=2,
        batch_size=8,
        rate=3e-3,
        crops=2,
        small_crops=1,
        views=1,
        prototypes=32,
        probes=2,
        precision="fp32",
    )


@pytest.fixture(scope="session")
def activations(tmp_path_factory):
    """Stored activations, which all tests share."""
    return tmp_path_factory.mktemp("activations")


@pytest.fixture
def run_pretrain(kit, cells, tiny_backbone, registry, fabric, brief, activations):  # noqa: F811
    """Pretrains the small kit into a folder; keywords change the job."""

    def call(
        folder,
        *,
        on_figures=lambda _: None,
        on_progress=lambda *_: None,
        on_note=lambda _: None,
        **changes,
    ):
        job = PretrainJob(
            **{
                "kit": kit,
                "kit_name": "small",
                "changes": KitChanges(),
                "dataset": cells,
                "out": Pretrained(folder),
                "frame": Frame(height=SIDE, width=SIDE),
                "seed": 0,
                "recipe": brief,
                "top_k": tiny_backbone.top_k,
                "folder": activations,
                "cache_limit": 2**30,
                **changes,
            }
        )
        return pretrain_specialists(
            job,
            backbone=tiny_backbone,
            registry=registry,
            fabric=fabric,
            on_progress=on_progress,
            on_figures=on_figures,
            on_note=on_note,
        )

    return call
