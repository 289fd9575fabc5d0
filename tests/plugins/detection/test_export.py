"""The head as a graph: fixed numbers of queries, the same objects in every runtime."""

import numpy as np
import pytest
import torch
from torch import nn

from moekit import Frame, Grid, HeadSite
from moekit.data import unview_boxes
from moekit.data.views import view
from moekit.export.graph import write_onnx
from moekit_detection.answers import SCORE, decode, derive, merge
from moekit_detection.head import AnchorHead
from moekit_detection.records import BOX, LOGIT

SIDE, PATCH = 56, 14


class Program(nn.Module):
    """Patches as tokens and two views, as a kit's graph has them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, PATCH, stride=PATCH)
        site = HeadSite(width=16, blocks=2, classes=3)
        self.head = AnchorHead(site, width=16, stem=16, queries=12, heads=2, points=2)
        for layer in self.head.decode.layers:  # awake
            nn.init.normal_(layer.move[-1].weight, std=0.1)
            nn.init.normal_(layer.classify.weight, std=0.1)
        self.eval()

    def forward(self, images):
        found = []
        for number in (0, 2):
            seen = view(images, number)
            tokens = self.patches(seen).flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
            one = self.head([tokens, tokens], Grid(SIDE // PATCH, SIDE // PATCH), seen)
            found.append({**one, BOX: unview_boxes(one[BOX], number)})
        merged = merge(found)
        return derive(merged)[SCORE], merged[LOGIT], merged[BOX]


def test_onnx_and_openvino_find_what_torch_finds(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    openvino = pytest.importorskip("openvino")
    program, path = Program(), tmp_path / "head.onnx"
    write_onnx(program, ["score", "logit", "box"], (3, SIDE, SIDE), path, whose="the head")
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        score, *wanted = program(images)
    assert wanted[1].shape == (3, 24, 4)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    compiled = openvino.Core().compile_model(openvino.Core().read_model(path), "CPU")
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
