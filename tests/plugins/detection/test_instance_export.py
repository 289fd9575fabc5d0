"""The head with masks as a graph: the same masks in every runtime."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from moekit import Frame
from moekit.data import unview_boxes
from moekit.data.views import unview
from moekit.export.graph import write_onnx
from moekit.export.libraries import need
from moekit_detection.instances.answers import CENTRE, derive, merge
from moekit_detection.instances.head import MaskHead
from moekit_detection.instances.pixels import FEATURE, KERNEL, decode_instances
from moekit_detection.masks.runs import overlaps
from moekit_detection.records import BOX, LOGIT
from tests.plugins.detection.graph_cases import SIDE, TwoViews, pictures

NAMES = (LOGIT, BOX, FEATURE, KERNEL)


class Program(TwoViews):
    """Boxes and masks of two views."""

    def __init__(self):
        options = {"width": 16, "channels": 4, "stem": 16, "queries": 8, "heads": 2, "points": 2}
        super().__init__(functools.partial(MaskHead, **options))
        nn.init.normal_(self.head.tell.weigh[-1].weight, std=0.3)

    def forward(self, images):
        found = []
        for number, one in self.views(images):
            turned = {BOX: unview_boxes(one[BOX], number), FEATURE: unview(one[FEATURE], number)}
            found.append({**one, **turned})
        merged = merge(found)
        return derive(merged)[CENTRE], *(merged[name] for name in NAMES)


def test_onnx_and_openvino_find_the_masks_that_torch_finds(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    program, path = Program(), tmp_path / "head.onnx"
    names = ["centre", "logit", "box", "feature", "kernel"]
    write_onnx(program, names, (3, SIDE, SIDE), path, whose="the head")
    images = pictures()
    with torch.no_grad():
        centre, *wanted = program(images)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = need("openvino").Core().compile_model(path, "CPU", exact)
    given = compiled(images.numpy())
    for found in (session.run(None, {"images": images.numpy()}), [given[k] for k in range(5)]):
        torch.testing.assert_close(torch.tensor(found[0]), centre, atol=1e-2, rtol=0)
        torch.testing.assert_close(torch.tensor(found[3]), wanted[2], atol=1e-3, rtol=0)
        for row in range(3):
            ours, theirs = (
                decode_instances(
                    {
                        name: torch.as_tensor(value[row])
                        for name, value in zip(NAMES, one, strict=True)
                    },
                    Frame(height=SIDE, width=SIDE),
                    (SIDE, SIDE),
                )
                for one in (wanted, found[1:])
            )
            best = ours.take(np.arange(4))
            share = overlaps(best.masks, theirs.masks, np.zeros(len(theirs), bool))
            share *= best.label_G[:, None] == theirs.label_G
            there = best.masks.area_G > 20
            assert there.any()
            # Queries that are equal to rounding change places, so masks are looked for.
            assert (share.max(1)[there] > 0.95).all()
