"""The shipped sparse form: quality against time over top_k, probes, ways to carve.

Three measurements, each with its own record:
- `sparse_probes`: a logistic regression on the backbone's final features, dense next to top-4, on
  ELPV and on the LUNA16 candidates. Neither was seen in the recovery.
- `sparse_curve`: nearness to the dense features and time of a forward pass for every top_k, the
  dense timm model in turn with it; also drawn, in docs/sparse_backbone.svg.
- `sparse_methods`: ways to carve, on the same pictures.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from moekit import build_backbone
from moekit.backbone.build import build_dense
from moekit.backbone.sources import DEFAULT_ARCHITECTURE, find_weights
from moekit.cli.backbone_carve import run_carving
from moekit.cli.output import ProgressDisplay
from moekit.data.stream import Preprocess, image_batches
from moekit.plugins.registry import Registry
from moekit.report.svg import Axis, Line, line_chart, sheet
from moekit.runtime.device import autocast, pick_arithmetic
from moekit.training.recover.pictures import batches, split_pictures
from moekit.training.recover.quality import nearness

pytestmark = pytest.mark.bench
DRAWING = Path(__file__).parents[2] / "docs" / "sparse_backbone.svg"
LARGEST_LOSS = 0.01
TITLE = "Quality against time, top-1 to top-16"


@pytest.fixture(scope="module")
def sparse():
    """The default backbone with the form that ships."""
    backbone = build_backbone()
    assert backbone.provenance.sparse_form == "shipped"
    return backbone


@torch.inference_mode()
def features(backbone, samples, size):
    """(n, 2 D) class token next to the mean of the patches, after the last block."""
    preprocess = Preprocess(size=size, mean=backbone.mean, std=backbone.std)
    device = next(backbone.parameters()).device
    arithmetic = pick_arithmetic("auto", device)
    rows = []
    for batch in image_batches([(s.id, s.path) for s in samples], preprocess, batch_size=32):
        with autocast(device, arithmetic):
            found = backbone(batch.images.to(device))
        both = torch.cat([found.pooled_BD, found.patches_BND.mean(1)], dim=1)
        rows.append(both.float().cpu().numpy())
    return np.concatenate(rows)


def probe(train, test):
    """AUROC of a logistic regression whose penalty is chosen by cross-validation."""
    model = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-5, -1, 9),
            scoring="roc_auc",
            l1_ratios=(0,),
            use_legacy_attributes=False,
            max_iter=2000,
        ),
    )
    model.fit(*train)
    return float(roc_auc_score(test[1], model.decision_function(test[0])))


def probes(backbone, dataset, size):
    """AUROC on the test split at all experts and at 4."""
    parts = {name: dataset.split(name) for name in ("train", "test")}
    found = {}
    for k in (backbone.experts, 4):
        backbone.top_k = k
        part = {
            name: (features(backbone, samples, size), [s.label for s in samples])
            for name, samples in parts.items()
        }
        found[k] = probe(part["train"], part["test"])
    return {"n": len(parts["test"]), "dense": found[backbone.experts], "top_4": found[4]}


def test_top_4_loses_at_most_a_point_of_auroc_on_two_fields(sparse, shared, record):
    registry = Registry()
    candidates = f"candidates={shared / 'data' / 'luna16_candidates'}"
    figures = {
        "elpv": probes(sparse, registry.load_dataset("elpv", seed=0), 224),
        "luna16_candidates": probes(sparse, registry.load_dataset(candidates, seed=0), 112),
    }
    record("sparse_probes", {"form": sparse.provenance.sparse_sha256, **figures})
    for entry in figures.values():
        assert entry["dense"] - entry["top_4"] <= LARGEST_LOSS


@torch.inference_mode()
def test_top_4_is_near_the_dense_features_and_faster(sparse, shared, record):
    preprocess = Preprocess(size=224, mean=sparse.mean, std=sparse.std)
    pictures = split_pictures(shared / "data" / "photos_1k")
    held_out = list(batches(pictures.held_out, preprocess, batch_size=8))
    steps = list(range(1, sparse.experts + 1))
    near = nearness(sparse, held_out, top_k=steps)
    ratios = _ratios_to_dense(sparse, held_out[0], steps)
    rows = {str(k): {**near[k].as_json(), "speed_over_dense": ratios[k]} for k in steps}
    record("sparse_curve", {"form": sparse.provenance.sparse_sha256, "top_k": rows})
    _draw(rows)
    assert near[4].patches >= 0.95
    assert ratios[4] >= 1.5


def _ratios_to_dense(sparse, images, steps, rounds=9):
    """How many times faster than the dense timm model, the two timed in turn; medians."""
    dense = build_dense(DEFAULT_ARCHITECTURE, find_weights(DEFAULT_ARCHITECTURE))
    ratios = {}
    for k in steps:
        sparse.top_k = k
        pairs = []
        for _ in range(rounds):
            spent = []
            for model in (dense.forward_features, sparse):
                began = time.perf_counter()
                model(images)
                spent.append(time.perf_counter() - began)
            pairs.append(spent[0] / spent[1])
        ratios[k] = round(statistics.median(pairs[2:]), 3)
    return ratios


def _draw(rows):
    """Nearness over speed, one point for each top_k."""
    points = [(entry["speed_over_dense"], entry["patches"]) for entry in rows.values()]
    first = [(entry["speed_over_dense"], entry["class_token"]) for entry in rows.values()]
    x = Axis.around("times faster than dense timm", [value for value, _ in points])
    y = Axis.around("mean cosine with dense features", [value for _, value in points + first])
    chart = line_chart(
        TITLE,
        [
            Line(name="patches", points=points, style="curve-a"),
            Line(name="class token", points=first, style="curve-b"),
        ],
        x=x,
        y=y,
    )
    DRAWING.parent.mkdir(exist_ok=True)
    drawing = sheet(TITLE, [("ViT-S/14 at 224 pixels", chart)], columns=1)
    DRAWING.write_text(str(drawing), encoding="utf-8")


def test_the_linear_way_to_carve_keeps_features_nearest(shared, tmp_path, record):
    facts = run_carving(
        shared / "data" / "photos_1k",
        tmp_path / "form.safetensors",
        progress=ProgressDisplay(None),
        compare=True,
    )
    record("sparse_methods", facts)
    patches = {name: near["4"]["patches"] for name, near in facts["compared"].items()}
    assert max(patches, key=lambda name: patches[name]) == "linear"
    assert np.isfinite(list(patches.values())).all()
