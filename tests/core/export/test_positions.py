"""Positions that are computed before a graph is recorded."""

import onnx
import pytest
import timm
import torch

from moekit.backbone.positions import keep_trained_positions
from moekit.export.positions import fix_positions


@pytest.mark.parametrize("smooth", [True, False])
def test_a_fixed_table_adds_what_the_model_adds(generator, smooth):
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True).eval()
    torch.nn.init.normal_(vit.pos_embed)
    torch.nn.init.normal_(vit.cls_token)
    if not smooth:
        keep_trained_positions(vit)
    patches = torch.randn(3, 10, 7, vit.embed_dim, generator=generator)
    wanted = vit._pos_embed(patches)
    fix_positions(vit, 10, 7)
    torch.testing.assert_close(vit._pos_embed(patches), wanted)


def test_a_graph_resamples_nothing(generator, tmp_path):
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True).eval()
    fix_positions(vit, 10, 10)
    path = tmp_path / "model.onnx"
    images = torch.randn(1, 3, 160, 160, generator=generator)
    torch.onnx.export(vit, (images,), path, dynamo=True, verbose=False)
    assert "Resize" not in {node.op_type for node in onnx.load(path).graph.node}
