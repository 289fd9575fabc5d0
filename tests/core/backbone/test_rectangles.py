"""Rectangular inputs on an unchanged timm model: independent images, work in proportion."""

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from moekit.backbone.positions import keep_trained_positions

SIDES = [(32, 128), (128, 32), (48, 80)]


@pytest.fixture(scope="module")
def vit_backbone(carve):
    """A ViT of 2 blocks as timm makes it, patches of 16 pixels, width 192."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vit = timm.create_model(
            "vit_tiny_patch16_224", pretrained=False, dynamic_img_size=True, depth=2
        ).eval()
    return carve(vit)


class Largest(TorchDispatchMode):
    """The most values in one tensor that an operation returns; views count too."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, torch.Tensor):
                self.values = max(self.values, one.numel())
        return out


def cost(backbone, images):
    """Operations of a pass, and the values of its largest tensor."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter, Largest() as largest:
        backbone(images)
    return counter.get_total_flops(), largest.values


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("top_k", [16, 4])
def test_features_do_not_depend_on_the_images_beside(vit_backbone, generator, sides, top_k):
    images = torch.randn(4, 3, *sides, generator=generator)
    others = torch.cat([images[:1], 5 * torch.randn(3, 3, *sides, generator=generator)])
    seen = vit_backbone(images, top_k=top_k)
    assert seen.grid == (sides[0] // 16, sides[1] // 16)
    beside = vit_backbone(others, top_k=top_k).final_BND[0]
    by_itself = vit_backbone(images[:1], top_k=top_k).final_BND[0]
    torch.testing.assert_close(beside, seen.final_BND[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(by_itself, seen.final_BND[0], rtol=1e-4, atol=1e-4)


def test_a_rectangle_and_its_transpose_have_positions_of_their_own(vit_backbone, generator):
    images = torch.randn(1, 3, 32, 128, generator=generator)
    wide, _ = vit_backbone.embed(images)
    tall, grid = vit_backbone.embed(images.transpose(-1, -2).contiguous())
    assert grid == (8, 2)
    assert wide.shape == tall.shape
    assert not torch.allclose(wide, tall)


@pytest.mark.parametrize("sides", SIDES)
def test_the_positions_of_a_rectangle_lie_where_those_of_the_table_do(make_vit, carve, sides):
    rows, columns = (side // 16 for side in sides)
    vit = make_vit(img_size=224, patch_size=16)
    ramp = torch.arange(14.0)[:, None] * 100 + torch.arange(14.0)
    with torch.no_grad():
        vit.pos_embed[0, 1:] = ramp.flatten()[:, None].expand(-1, 32)
        vit.patch_embed.proj.weight.zero_()
        vit.patch_embed.proj.bias.zero_()
    keep_trained_positions(vit)
    x_BND, grid = carve(vit).embed(torch.zeros(1, 3, *sides))
    plane = x_BND[0, 1:, 0].unflatten(0, grid)
    assert plane.shape == (rows, columns)
    assert (plane.diff(dim=0) > 0).all()
    assert (plane.diff(dim=1) > 0).all()


def test_work_and_memory_grow_with_the_number_of_images(vit_backbone):
    one, largest_of_one = cost(vit_backbone, torch.zeros(1, 3, 32, 128))
    eight, largest_of_eight = cost(vit_backbone, torch.zeros(8, 3, 32, 128))
    assert one > 0
    assert eight == 8 * one
    assert largest_of_eight <= 8 * largest_of_one


def test_a_rectangle_costs_what_a_square_of_as_many_patches_costs(vit_backbone):
    square = cost(vit_backbone, torch.zeros(1, 3, 128, 128))
    assert cost(vit_backbone, torch.zeros(1, 3, 64, 256)) == square
    assert cost(vit_backbone, torch.zeros(1, 3, 256, 64)) == square


def test_no_tensor_grows_with_the_square_of_the_patches(vit_backbone):
    _, small = cost(vit_backbone, torch.zeros(1, 3, 128, 256))
    _, large = cost(vit_backbone, torch.zeros(1, 3, 256, 512))
    assert large <= 4 * small
