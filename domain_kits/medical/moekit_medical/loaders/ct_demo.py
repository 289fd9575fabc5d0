"""The loader `ct_demo`: is the hidden centre of a crop dense tissue or soft tissue?

No package carries labelled nodule candidates, so the demonstration asks what real pixels answer by
themselves. In each of four real CT slices of four patients, axial crops of 50 x 50 mm are cut, and
the disc in their middle is blacked out. What was there is known from its Hounsfield units and can
no longer be read off the crop: it must be inferred from what surrounds it. In each crop some dense
tissue is in sight, so that its mere presence answers nothing.

It shows that the parts work together. It shows nothing of nodules.

Shapes: H rows, W columns.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from moekit import Dataset, DatasetSpec, Sample
from moekit.data import complete_splits
from moekit_medical.hounsfield import WINDOW_HU, WINDOW_WORDS
from moekit_medical.loaders.cache import Cached, Writer, cached, key_of
from moekit_medical.loaders.crops import CROP_MM, PIXEL_MM, CropError, crop
from moekit_medical.loaders.ct_slices import DemoSlice, read_slices
from moekit_medical.loaders.facts import facts_of_scan

HIDDEN_MM = 5.0
"""Radius of the disc that is blacked out."""

JUDGED_MM = 4.0
"""Radius of the disc that is judged; the rest of the hidden one keeps its border out of sight."""

DENSE_HU = 300.0
SOFT_HU = (-200.0, 200.0)
MOST = 120
"""Crops of each class that a slice gives at most; it gives as many of one as of the other."""

CLASSES = ("soft tissue", "dense tissue")
LICENCE = "MIT (the packages pydicom and pydicom-data); the slices were given for tests"
CAUTION = (
    "A demonstration on four real CT slices of four patients, one of them in the test split. It "
    "asks whether the hidden centre of a crop is dense or soft tissue; the labels come from the "
    "pixels, not from radiologists. It can show that reading, training, evaluation, report and "
    "prediction work on this machine. It cannot show how well nodules are found, nor how anything "
    "does on other patients or scanners: with one test patient there is no interval. "
    "The volume that is predicted is made of one slice."
)
_VERSION = "1"
_STEP_MM = 2.0
_IN_SIGHT = 0.02
_HELD_OUT = ("val", "test")


def load_ct_demo(path: Path | None, seed: int) -> Dataset:  # noqa: ARG001
    """Cuts the crops, once, below the cache; whole patients are dealt to the splits by the seed.

    A centre is dense tissue if at least half of the judged disc is at `DENSE_HU` or above, soft
    tissue if all of it lies within `SOFT_HU`; other centres are left out. Ids are `NAME/NUMBER`.

    Args:
        path: Not used.
        seed: Decides which patients are in the val and in the test split: one is a head, the
            other a trunk, and so are the two that train.

    Raises:
        DataError: A package with the slices is not installed, or an image in the cache was damaged.
        StorageError: The cache cannot be written.
    """
    slices = read_slices()
    split_of = _deal(slices, seed)
    samples: list[Sample] = []
    left_out = 0
    for one in slices:
        images = _images(one)
        left_out += int(images.notes["left out"])
        samples.extend(_samples(one, images, split_of[one.name]))
    dataset = Dataset(
        name="ct_demo",
        samples=tuple(samples),
        classes=CLASSES,
        positive=CLASSES[1],
        caution=CAUTION,
        licence=LICENCE,
        source=(
            f"{len(slices)} CT slices among the test files of pydicom and pydicom-data; axial "
            f"crops of {CROP_MM:g} x {CROP_MM:g} mm, {WINDOW_WORDS}, the "
            f"middle {2 * HIDDEN_MM:g} mm blacked out; {left_out} further centres are of neither "
            "class and left out"
        ),
    )
    told = ", ".join(f"{name} {split}" for name, split in split_of.items())
    note = f"whole patients, a head and a trunk train, by seed {seed}: {told}"
    return complete_splits(dataset, seed=seed, note=note)


CT_DEMO = DatasetSpec(
    name="ct_demo",
    load=load_ct_demo,
    summary="is the hidden centre of a crop dense or soft tissue: 4 real CT slices, no nodules",
    takes_path="refused",
    licence=LICENCE,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Centre:
    """A centre that belongs to a class.

    Attributes:
        row: Of the slice, from 0.
        column: Of the slice, from 0.
        label: Index into `CLASSES`.
    """

    row: int
    column: int
    label: int


def find_centres(one: DemoSlice) -> tuple[list[Centre], int]:
    """The pixels about 2 mm apart whose crop lies within the slice and has dense tissue in sight.

    Returns:
        Those of a class, as many dense as soft, evenly spread; and how many are of neither.
    """
    hu_HW = one.scan.hu_DHW[0]
    judged, visible = _kernels(one.spacing_mm)
    is_dense_HW = hu_HW >= DENSE_HU
    is_soft_HW = (hu_HW > SOFT_HU[0]) & (hu_HW < SOFT_HU[1])
    in_sight_HW = _share(is_dense_HW, visible) >= _IN_SIGHT
    of_class = (
        in_sight_HW & (_share(is_soft_HW, judged) == 1),
        in_sight_HW & (_share(is_dense_HW, judged) >= 0.5),
    )
    found: tuple[list[Centre], list[Centre]] = ([], [])
    neither = 0
    for row, column in itertools.product(*_grid(hu_HW.shape, visible.shape, one.spacing_mm)):
        if not in_sight_HW[row, column]:
            continue
        label = next((label for label in (1, 0) if of_class[label][row, column]), None)
        if label is None:
            neither += 1
        else:
            found[label].append(Centre(row=row, column=column, label=label))
    count = min(MOST, *map(len, found))
    return [centre for part in found for centre in _spread(part, count)], neither


def hide_centre(pixels_HW: np.ndarray) -> np.ndarray:
    """A copy of a crop with a black disc of radius `HIDDEN_MM` in its middle."""
    offsets = [(np.arange(side) + 0.5 - side / 2) * PIXEL_MM for side in pixels_HW.shape]
    away_HW = np.hypot(offsets[0][:, None], offsets[1][None, :])
    return np.where(away_HW <= HIDDEN_MM, 0, pixels_HW).astype(np.uint8)


def _deal(slices: Sequence[DemoSlice], seed: int) -> dict[str, str]:
    """The split of each patient: a head and a trunk train, the other two are val and test."""
    generator = np.random.default_rng(seed)
    split_of: dict[str, str] = {}
    for region, split in zip(("head", "trunk"), generator.permutation(_HELD_OUT), strict=True):
        names = [one.name for one in slices if one.region == region]
        held_out = names[int(generator.integers(len(names)))]
        split_of |= {name: str(split) if name == held_out else "train" for name in names}
    return split_of


def _kernels(spacing_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The judged disc, and the crop outside the hidden one, as masks of odd size of pixels."""
    h, w = (
        np.arange(-reach, reach + 1) * step
        for step in spacing_mm
        for reach in [int(CROP_MM / 2 / step)]
    )
    away = np.hypot(h[:, None], w[None, :])
    return away <= JUDGED_MM, away > HIDDEN_MM


def _share(mask_HW: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(H, W) float64: the share of a kernel around each pixel that a mask fills."""
    from scipy import signal  # type: ignore[import-untyped]

    counts: np.ndarray = signal.fftconvolve(mask_HW.astype(float), kernel.astype(float), "same")
    shares: np.ndarray = np.rint(counts) / kernel.sum()
    return shares


def _grid(
    shape: tuple[int, ...], kernel: tuple[int, ...], spacing_mm: tuple[float, float]
) -> list[range]:
    """Rows and columns of centres, so far from the edges that the kernel lies within."""
    return [
        range(side // 2 + 1, size - side // 2 - 1, max(1, round(_STEP_MM / step)))
        for size, side, step in zip(shape, kernel, spacing_mm, strict=True)
    ]


def _spread(centres: Sequence[Centre], count: int) -> Iterator[Centre]:
    rows = np.linspace(0, len(centres) - 1, count).round().astype(int)
    return (centres[row] for row in rows)


def _images(one: DemoSlice) -> Cached:
    settings = (CROP_MM, PIXEL_MM, WINDOW_HU, HIDDEN_MM, JUDGED_MM, DENSE_HU, SOFT_HU, MOST)
    key = key_of(_VERSION, one.digest, repr((*settings, _STEP_MM, _IN_SIGHT)))
    return cached("ct_demo", key, functools.partial(_write, one))


def _write(one: DemoSlice, writer: Writer) -> None:
    centres, left_out = find_centres(one)
    for number, centre in enumerate(centres):
        point = one.scan.affine @ (0, centre.row, centre.column, 1)
        try:
            pixels = hide_centre(crop(one.scan, point[:3], window=WINDOW_HU))
        except CropError:
            left_out += 1
        else:
            writer.image(f"{CLASSES[centre.label]}/{number:04}.png", pixels)
    writer.note("left out", str(left_out))


def _samples(one: DemoSlice, images: Cached, split: str) -> list[Sample]:
    return [
        Sample(
            id=f"{one.name}/{Path(name).stem}",
            path=images.folder / name,
            label=CLASSES.index(Path(name).parent.name),
            group=one.name,
            subtype=one.region,
            split=split,
            facts=facts_of_scan(one.facts),
        )
        for name in sorted(images.images, key=lambda name: Path(name).stem)
    ]
