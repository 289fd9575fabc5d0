"""Batches arrive in order; the unreadable are set aside; pictures fit their frame."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess, image_batches
from moekit.testing import refused

HALF = (0.5, 0.5, 0.5)
READ = Preprocess.square(28, mean=HALF, std=HALF)


def test_batches_come_in_order_and_name_what_is_left_out(two_class_folder):
    paths = sorted(two_class_folder.glob("*/*.png"))
    paths[3].write_bytes(b"broken")
    inputs = [(path.name + str(row), path) for row, path in enumerate(paths)]
    batches = list(image_batches(inputs, READ, batch_size=5))
    rows = [row for batch in batches for row in batch.rows]
    assert rows == [row for row in range(32) if row != 3]
    assert [skip.id for batch in batches for skip in batch.skipped] == [inputs[3][0]]
    assert torch.equal(batches[1].images[0], READ(paths[5]))


def test_a_batch_without_one_readable_image_is_empty(tmp_path):
    (tmp_path / "a.png").touch()
    (batch,) = image_batches([("a", tmp_path / "a.png")], READ, batch_size=4)
    assert batch.rows == ()
    assert batch.images.shape == (0, 3, 28, 28)


def test_pictures_come_reduced_beside_the_tensors(tmp_path):
    for number in range(3):
        Image.new("RGB", (64, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    inputs = [(str(number), tmp_path / f"{number}.png") for number in range(3)]
    (batch,) = image_batches(inputs, READ, batch_size=4, pictures=16)
    assert [picture.size for picture in batch.pictures] == [(16, 8), (16, 8)]
    assert [picture.getpixel((0, 0))[0] for picture in batch.pictures] == [0, 2]
    (plain,) = image_batches(inputs, READ, batch_size=4)
    assert plain.pictures == ()


def noise(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def framed(height, width, fit="letterbox", **changes):
    frame = Frame(height=height, width=width, fit=fit)
    return Preprocess(**{"frame": frame, "mean": HALF, "std": HALF, **changes})


def test_a_square_is_given_by_its_size_or_by_its_frame():
    assert Preprocess(size=28, mean=HALF, std=HALF) == READ
    assert framed(28, 28, "squash") == READ
    assert READ.size == 28
    smaller = dataclasses.replace(READ, size=14)
    assert smaller.frame == Frame(height=14, width=14)
    assert dataclasses.replace(framed(28, 28), size=14).frame.fit == "letterbox"


def test_a_rectangle_has_no_single_size():
    with refused("usage/not-square", match="28 x 56"):
        _ = framed(28, 56).size
    with refused("usage/no-size"):
        Preprocess(mean=HALF, std=HALF)


@pytest.mark.parametrize("size", [(48, 64), (28, 28), (5, 200)])
def test_a_squashed_square_is_the_resized_picture_bit_by_bit(size, same_bits):
    picture, mean, std = noise(*size), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    small = picture.resize((28, 28), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    expected = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    assert same_bits(Preprocess(size=28, mean=mean, std=std).tensor(picture), expected)


@pytest.mark.parametrize("side", [1, 27, 28, 29, 111, 640])
def test_a_letterboxed_square_equals_a_squashed_one(side, same_bits):
    picture = noise(side, side)
    assert same_bits(framed(28, 28).tensor(picture), READ.tensor(picture))


def test_a_picture_of_the_shape_of_its_frame_has_no_border(same_bits):
    picture = noise(30, 60)
    both = [framed(28, 56, fit).tensor(picture) for fit in ("squash", "letterbox")]
    assert both[0].shape == (3, 28, 56)
    assert same_bits(*both)


@pytest.mark.parametrize("size", [(10, 40), (40, 10), (13, 29), (28, 1000)])
def test_a_letterbox_keeps_the_aspect_ratio_and_its_border_is_zero(size):
    read = framed(28, 56)
    box = read.frame.box(size)
    assert box.height == 28 or box.width == 56
    assert abs(box.height / size[0] - box.width / size[1]) <= 0.5 / min(size)
    x = read.tensor(noise(*size))
    inside = x[:, box.top : box.top + box.height, box.left : box.left + box.width]
    expected = noise(*size).resize((box.width, box.height), Image.Resampling.BICUBIC)
    assert torch.equal(inside, torch.from_numpy(np.array(expected)).permute(2, 0, 1) / 127.5 - 1)
    assert x.square().sum() == pytest.approx(inside.square().sum().item(), rel=1e-5)


def test_planes_of_classes_lie_on_their_picture():
    frame = Frame(height=28, width=56, fit="letterbox")
    plane = np.full((40, 20), 3, dtype=np.int64)
    placed, box = frame.place(plane, border=-1), frame.box(plane.shape)
    assert (placed == 3).sum() == box.height * box.width
    assert (placed[:, box.left : box.left + box.width] == 3).all()


def test_batches_and_stacks_have_the_shape_of_the_frame(tmp_path):
    noise(20, 30).save(tmp_path / "a.png")
    (batch,) = image_batches([("a", tmp_path / "a.png")], framed(28, 56), batch_size=4)
    assert batch.images.shape == (1, 3, 28, 56)
    (tmp_path / "a.png").write_bytes(b"")
    (batch,) = image_batches([("a", tmp_path / "a.png")], framed(28, 56, frames=3), batch_size=4)
    assert batch.images.shape == (0, 3, 3, 28, 56)
