"""Run lengths next to pycocotools, and outlines next to the pixels that they enclose."""

import numpy as np
import pytest

from moekit.tasks.segment.outlines import ring_area, rings_around
from moekit.tasks.segment.rle import compress_runs, decode, encode, expand_runs
from moekit.testing import refused

# pycocotools 2.0 makes arrays in a way that numpy warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = {
    "empty": np.zeros((7, 5), bool),
    "full": np.ones((7, 5), bool),
    "first": np.eye(1, 35, 0, dtype=bool).reshape(7, 5),
    "last": np.eye(1, 35, 34, dtype=bool).reshape(7, 5),
    "noise": np.random.default_rng(0).random((40, 61)) < 0.4,
    "large": np.kron(np.random.default_rng(1).random((9, 7)) < 0.5, np.ones((90, 110), bool)),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("compressed", [True, False])
def test_a_mask_comes_back(name, compressed):
    assert np.array_equal(decode(encode(MASKS[name], compressed=compressed)), MASKS[name])


@pytest.mark.parametrize("name", MASKS)
def test_the_text_is_that_of_pycocotools(name):
    coco = pytest.importorskip("pycocotools.mask")
    mask = MASKS[name]
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = encode(mask)
    assert ours["counts"] == theirs["counts"].decode()
    assert ours["size"] == theirs["size"]
    assert np.array_equal(decode({**theirs, "counts": theirs["counts"].decode()}), mask)
    assert np.array_equal(coco.decode({**ours, "counts": ours["counts"].encode()}), mask)
    assert coco.area({**ours, "counts": ours["counts"].encode()}) == mask.sum()


def test_zeros_come_first():
    assert encode(np.ones((2, 3)), compressed=False)["counts"] == [0, 6]
    assert encode(np.zeros((2, 3)), compressed=False)["counts"] == [6]


def test_large_and_falling_runs_survive():
    runs = [0, 1, 100_000, 3, 5, 2_000_000, 31, 32, 1, 15, 16, 17]
    assert expand_runs(compress_runs(runs)) == runs


@pytest.mark.parametrize("text", ["4 5", "5X", "4é", "P"])
def test_damaged_text_is_refused(text):
    with refused("data/run-lengths"):
        decode({"size": [3, 4], "counts": text})


def inside(rings, size):
    """(H, W) bool: pixels whose centre an odd number of lines lies to the left of."""
    crossings = np.zeros((size[0], size[1] + 1), dtype=int)
    for ring in rings:
        for (x, y), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
            assert (x == x2) != (y == y2)
            if x == x2:
                crossings[min(y, y2) : max(y, y2), x] += 1
    return crossings.cumsum(1)[:, :-1] % 2 == 1


@pytest.mark.parametrize("name", MASKS)
def test_outlines_enclose_the_pixels(name):
    mask = MASKS[name]
    rings = rings_around(mask)
    assert np.array_equal(inside(rings, mask.shape), mask)
    assert sum(map(ring_area, rings)) == mask.sum()


@pytest.mark.parametrize("name", MASKS)
def test_no_corner_is_needless(name):
    for ring in rings_around(MASKS[name]):
        for first, middle, last in zip(
            ring, [*ring[1:], ring[0]], [*ring[2:], *ring[:2]], strict=1
        ):
            assert (first[0] == middle[0]) != (middle[0] == last[0])


def test_holes_and_touching_corners_have_lines_of_their_own():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(map(ring_area, rings_around(ring))) == [-1, 9]
    assert rings_around(np.eye(2)) == [
        [(0, 0), (1, 0), (1, 1), (0, 1)],
        [(1, 1), (2, 1), (2, 2), (1, 2)],
    ]


def test_a_polygon_is_filled_alike_by_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((30, 40), bool)
    mask[5:20, 8:30] = True
    mask[5:12, 20:30] = False
    (ring,) = rings_around(mask)
    flat = [float(part) for corner in ring for part in corner]
    filled = coco.decode(coco.merge(coco.frPyObjects([flat], 30, 40)))
    assert np.array_equal(filled.astype(bool), mask)
