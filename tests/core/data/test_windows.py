"""Windows of large pictures, and which items share a batch."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.data import stream
from moekit.data.geometry import Box, Frame
from moekit.data.samples import Sample
from moekit.data.stream import Preprocess, image_batches
from moekit.data.windows import Tiling, cut_samples, together, windows

TILING = Tiling(height=28, width=28)


@pytest.mark.parametrize("size", [(100, 100), (1080, 1920), (70, 500), (224, 224), (225, 223)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_windows_cover_the_picture_and_overlap(size, overlap):
    found = windows(size, (224, 224), overlap=overlap)
    seen = np.zeros(size, int)
    for top, left, height, width in found:
        assert (height, width) == (min(224, size[0]), min(224, size[1]))
        seen[top : top + height, left : left + width] += 1
    assert seen.min() >= 1
    assert seen.shape == size
    for axis in (0, 1):
        starts = sorted({box[axis] for box in found})
        assert all(b - a <= 224 * (1 - overlap) + 1 for a, b in itertools.pairwise(starts))


def test_windows_that_fit_are_not_doubled():
    assert len(windows((448, 672), (224, 224), overlap=0.0)) == 6
    assert windows((10, 10), (224, 224)) == (Box(0, 0, 10, 10),)
    with pytest.raises(ValueError, match="overlap"):
        windows((10, 10), (5, 5), overlap=1.0)


def test_windows_have_the_shape_of_the_input_and_the_length_that_is_asked_for():
    found = Tiling.of(Frame(height=140, width=280), 560, overlap=0.5)
    assert found == Tiling(height=280, width=560, overlap=0.5)
    assert not found.cuts((280, 560))
    assert found.cuts((281, 100))


def test_what_is_cut_has_a_batch_of_its_own():
    small, large = (20, 28), (20, 29)
    sizes = [small, small, small, large, None, small, large, large]
    found = [list(rows) for rows in together(sizes, 2, TILING)]
    assert found == [[0, 1], [2], [3], [4, 5], [6], [7]]
    assert [list(rows) for rows in together(sizes, 3, None)] == [[0, 1, 2], [3, 4, 5], [6, 7]]


@pytest.fixture
def pictures(tmp_path):
    """Two that fit and, between them, one of 40 x 60 pixels that is larger than a window."""
    generator = np.random.default_rng(0)
    paths = []
    for number, size in enumerate([(28, 20), (40, 60), (10, 10)]):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_large_samples_become_windows_with_their_id(pictures, tmp_path):
    missing = tmp_path / "missing.png"
    samples = [Sample(id=path.name, path=path, label=0) for path in (*pictures, missing)]
    assert cut_samples(samples, None) == tuple(samples)
    found = cut_samples(samples, TILING)
    assert [one.id for one in found] == ["0.png", *["1.png"] * 6, "2.png", "missing.png"]
    assert [one.window is None for one in found] == [True, *[False] * 6, True, True]
    assert {one.window[2:] for one in found[1:7]} == {(28, 28)}


def test_a_window_reads_as_a_picture_of_its_own(pictures):
    read = Preprocess.square(28, mean=(0.5,) * 3, std=(0.5,) * 3)
    samples = cut_samples([Sample(id="1", path=pictures[1], label=0)], TILING)
    inputs = [(one.id, one.path) for one in samples]
    (batch,) = image_batches(
        inputs, read, batch_size=9, windows=[one.window for one in samples], pictures=480
    )
    whole = np.asarray(Image.open(pictures[1]))
    for sample, image, picture in zip(samples, batch.images, batch.pictures, strict=True):
        top, left, height, width = sample.window
        part = Image.fromarray(whole[top : top + height, left : left + width])
        assert torch.equal(image, read.tensor(part))
        assert np.array_equal(np.asarray(picture), np.asarray(part))


def test_what_is_to_be_cut_comes_as_it_is(pictures):
    read = Preprocess(size=28, mean=(0.5,) * 3, std=(0.5,) * 3, tiling=TILING)
    inputs = [(path.name, path) for path in pictures]
    first, second, third = image_batches(inputs, read, batch_size=4, pictures=30)
    assert [batch.rows for batch in (first, second, third)] == [(0,), (1,), (2,)]
    assert torch.equal(first.images[0], read(pictures[0]))
    assert first.stacks == ((),)
    assert second.images.shape == (0, 3, 28, 28)
    ((stack,), (picture,)) = second.stacks, second.pictures
    assert np.array_equal(np.asarray(stack[0]), np.asarray(Image.open(pictures[1])))
    assert (second.sizes, picture.size) == (((40, 60),), (30, 20))


def test_headers_are_read_as_the_batches_are(pictures, tmp_path, monkeypatch):
    asked = []
    header = stream.header_size
    monkeypatch.setattr(stream, "header_size", lambda path: (asked.append(path), header(path))[1])
    read = Preprocess(size=28, mean=(0.5,) * 3, std=(0.5,) * 3, tiling=TILING)
    batches = stream.image_batches([("0", pictures[0])] * 100, read, batch_size=2)
    assert next(batches).rows == (0, 1)
    assert len(asked) <= 8
    assert [batch.rows[0] for batch in batches] == list(range(2, 100, 2))
    assert len(asked) == 100
