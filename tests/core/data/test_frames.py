"""Stacks of frames: read whole from one file, or refused with the reason."""

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.data.images import read_frames, read_image
from moekit.data.stream import Preprocess, image_batches
from moekit.data.views import VIEWS, view
from moekit.testing import refused

READ = Preprocess(size=28, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), frames=3)


def pages(count=3, side=20, seed=0):
    numbers = np.random.default_rng(seed)
    return [numbers.integers(0, 256, (side, side), dtype=np.uint8) for _ in range(count)]


def save(path, arrays, **options):
    first, *others = [Image.fromarray(one) for one in arrays]
    first.save(path, format="TIFF", save_all=True, append_images=others, **options)
    return path


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_adobe_deflate"}])
def test_each_page_is_a_frame_in_its_order_without_loss(tmp_path, options):
    arrays = pages()
    frames = read_frames(save(tmp_path / "a.tif", arrays, **options), 3)
    assert [frame.mode for frame in frames] == ["RGB"] * 3
    for frame, array in zip(frames, arrays, strict=True):
        assert np.array_equal(np.asarray(frame)[..., 0], array)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.tif"))[..., 0], arrays[0])


def test_sixteen_bit_pages_have_one_scale(tmp_path):
    arrays = [np.full((8, 8), value, dtype=np.uint16) for value in (0, 32768, 65535)]
    frames = read_frames(save(tmp_path / "a.tif", arrays), 3)
    assert [frame.getpixel((0, 0))[0] for frame in frames] == [0, 128, 255]


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        (pages(1), "1 .* 3"),
        (pages(2), "2 .* 3"),
        (pages(4), "more than 3"),
        ([*pages(2), *pages(1, side=10)], "sizes"),
    ],
)
def test_another_number_or_size_of_pages_is_refused_by_name(tmp_path, arrays, found):
    path = save(tmp_path / "stack.tif", arrays)
    with refused("image/frame-count", match=found) as caught:
        read_frames(path, 3)
    assert "stack.tif" in str(caught.value)


def test_a_plain_image_is_no_stack(tmp_path):
    Image.fromarray(pages()[0]).save(tmp_path / "a.png")
    with refused("image/frame-count"):
        read_frames(tmp_path / "a.png", 3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path, share):
    path = save(tmp_path / "a.tif", pages())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with refused("image/damaged"):
        read_frames(path, 3)


def test_pages_that_lead_back_to_themselves_come_to_an_end(tmp_path):
    path = save(tmp_path / "a.tif", pages(2))
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    with Image.open(path) as image:
        image.seek(1)
        second = int(image.tag_v2._offset)
    entries = int.from_bytes(content[second : second + 2], "little")
    place = second + 2 + 12 * entries
    content[place : place + 4] = first.to_bytes(4, "little")
    path.write_bytes(bytes(content))
    with refused("image/frame-count"):
        read_frames(path, 3)


def test_the_limit_of_pixels_is_that_of_the_whole_stack(tmp_path):
    path = save(tmp_path / "a.tif", pages())
    assert len(read_frames(path, 3, max_pixels=1200)) == 3
    with refused("image/too-large"):
        read_frames(path, 3, max_pixels=1199)


def test_batches_hold_stacks_and_the_pictures_of_their_middle_frames(tmp_path):
    inputs = []
    for number in range(5):
        path = save(tmp_path / f"{number}.tif", pages(2 if number == 1 else 3, seed=number))
        inputs.append((str(number), path))
    first, second = image_batches(inputs, READ, batch_size=3, pictures=100)
    assert first.images.shape == (2, 3, 3, 28, 28)
    assert (first.rows, second.rows) == ((0, 2), (3, 4))
    assert [skip.reason for skip in first.skipped] == ["the file has 2 frames, not 3"]
    for place, row in enumerate(first.rows):
        single = Preprocess(size=28, mean=READ.mean, std=READ.std)
        for frame, array in enumerate(pages(3, seed=row)):
            expected = single.tensor(Image.fromarray(array).convert("RGB"))
            assert torch.equal(first.images[place, frame], expected)
        middle = np.asarray(first.pictures[place])[..., 0]
        assert np.array_equal(middle, pages(3, seed=row)[1])


def test_a_batch_without_one_readable_stack_is_empty(tmp_path):
    (tmp_path / "a.tif").touch()
    (batch,) = image_batches([("a", tmp_path / "a.tif")], READ, batch_size=4)
    assert batch.images.shape == (0, 3, 3, 28, 28)


def test_a_view_is_the_same_for_all_frames():
    stack = torch.randn(2, 3, 3, 6, 6)
    for number in range(VIEWS):
        seen = view(stack, number)
        for frame in range(3):
            assert torch.equal(seen[:, frame], view(stack[:, frame], number))
