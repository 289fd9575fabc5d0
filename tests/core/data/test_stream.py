"""Batches arrive in order; the unreadable are set aside."""

import pytest
import torch
from PIL import Image

from moekit.data.stream import Preprocess, image_batches
from moekit.data.views import VIEWS, view

READ = Preprocess(size=28, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


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


def test_the_eight_views_are_all_different_and_keep_the_pixels():
    image = torch.arange(48.0).reshape(3, 4, 4)
    seen = {tuple(view(image, number).flatten().tolist()) for number in range(VIEWS)}
    assert len(seen) == 8
    for number in range(VIEWS):
        assert view(image, number).sum() == image.sum()
    assert torch.equal(view(image, 0), image)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_flips_and_half_turns_undo_themselves(number):
    image = torch.randn(3, 6, 6)
    assert torch.equal(view(view(image, number), number), image)


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
