"""The head as a graph: fixed numbers of queries, the same objects in every runtime."""

import functools

import numpy as np
import pytest
import torch

from moekit import Frame
from moekit.data import unview_boxes
from moekit.export.graph import write_onnx
from moekit.export.libraries import need
from moekit_detection.answers import SCORE, decode, derive, merge
from moekit_detection.head import AnchorHead
from moekit_detection.records import BOX, LOGIT
from tests.plugins.detection.graph_cases import SIDE, TwoViews, pictures


class Program(TwoViews):
    """Boxes of two views."""

    def __init__(self):
        options = {"width": 16, "stem": 16, "queries": 12, "heads": 2, "points": 2}
        super().__init__(functools.partial(AnchorHead, **options))

    def forward(self, images):
        found = [{**one, BOX: unview_boxes(one[BOX], number)} for number, one in self.views(images)]
        merged = merge(found)
        return derive(merged)[SCORE], merged[LOGIT], merged[BOX]


def test_onnx_and_openvino_find_what_torch_finds(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    program, path = Program(), tmp_path / "head.onnx"
    write_onnx(program, ["score", "logit", "box"], (3, SIDE, SIDE), path, whose="the head")
    images = pictures()
    with torch.no_grad():
        score, *wanted = program(images)
    assert wanted[1].shape == (3, 24, 4)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    compiled = need("openvino").Core().compile_model(path, "CPU")
    given = compiled(images.numpy())
    for found in (session.run(None, {"images": images.numpy()}), [given[k] for k in range(3)]):
        torch.testing.assert_close(torch.tensor(found[0]), score, atol=1e-3, rtol=0)
        for row in range(3):
            ours, theirs = (
                decode(
                    {LOGIT: torch.as_tensor(one[0][row]), BOX: torch.as_tensor(one[1][row])},
                    Frame(height=SIDE, width=SIDE),
                    (SIDE, SIDE),
                )
                for one in (wanted, found[1:])
            )
            # Queries that are equal to rounding change places, so boxes are looked for.
            for box, label in zip(ours.box_G4[:5], ours.label_G[:5], strict=True):
                away = np.abs(theirs.box_G4[theirs.label_G == label] - box).max(1)
                assert away.min() < 0.5
