"""Maps against masks: pixels counted over thresholds, image by image.

Maps are kept as small as heads make them. Each is made as large as its mask for the moment in which
its pixels are counted, so that memory depends on images times thresholds, not on pixels.

Shapes: N images, R positive regions, T thresholds, h and w rows and columns of the patch grid, H
and W those of a mask, P its positive pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from moekit.contract.map_counts import MapCounts
from moekit.data.samples import Sample, Skipped
from moekit.errors import DataError, ImageError
from moekit.tasks.score.masks import RegionMask, Size, read_regions

_EVEN, _TAIL = 300, 500
_LEAST_TAIL = 1e-6
_FEW = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Localisation:
    """What the maps of a split say where its images are positive.

    Attributes:
        rows: (N,) int64, which of the split's scored images are counted.
        kit: Counts of the kit's maps; None if there is nothing to count.
        baseline: Counts of the baseline's maps of the same images, or None.
        left_out: Images that are not counted, and why.
        vanished: Regions that are smaller than a pixel at the resolution of the counts.
        reason: Why there is nothing to count; empty if there is.
    """

    rows: np.ndarray
    kit: MapCounts | None
    baseline: MapCounts | None
    left_out: tuple[Skipped, ...]
    vanished: int
    reason: str


def localise(
    samples: Sequence[Sample],
    sizes: Sequence[Size],
    maps: Sequence[np.ndarray | None],
    baseline_maps: Sequence[np.ndarray | None] = (),
) -> Localisation:
    """Counts the maps of a split against the masks of its samples.

    A positive sample whose mask is missing or unusable is left out and named; a negative sample
    without a mask is negative in every pixel.

    Args:
        samples: The samples that were scored.
        sizes: Rows and columns of each sample's image.
        maps: (h, w) map of each sample in [0, 1]; None if the head gives none.
        baseline_maps: The same of the baseline; empty if there is none.

    Raises:
        DataError: A map holds something other than numbers from 0 to 1.
    """
    if any(evidence is None for evidence in maps):
        return _nothing("the kit's head gives no maps")
    if all(sample.mask is None for sample in samples):
        return _nothing("the samples of the split have no masks")
    rows, masks, left_out = [], [], []
    for row, (sample, size) in enumerate(zip(samples, sizes, strict=True)):
        try:
            masks.append(read_regions(sample, size))
            rows.append(row)
        except ImageError as error:
            left_out.append(Skipped.of(sample, error.what))
    if not any(len(mask.sizes_R) for mask in masks):
        return _nothing("no positive image of the split has a usable mask", left_out)
    has_baseline = bool(baseline_maps) and all(one is not None for one in baseline_maps)
    return Localisation(
        rows=np.array(rows, dtype=np.int64),
        kit=count_maps(_checked(samples, maps, rows), masks),
        baseline=(
            count_maps(_checked(samples, baseline_maps, rows), masks) if has_baseline else None
        ),
        left_out=tuple(left_out),
        vanished=sum(mask.vanished for mask in masks),
        reason="",
    )


def count_maps(maps: Sequence[np.ndarray], masks: Sequence[RegionMask]) -> MapCounts:
    """Counts the pixels of maps over thresholds that resolve both classes.

    Each map is interpolated to its mask's resolution (bilinear, pixels as areas), which never
    leaves the range of the map.

    Args:
        maps: (h, w) float in [0, 1] each.
        masks: As many.
    """
    edges = choose_edges(maps, masks)
    negatives, regions, image = [], [], []
    for row, (evidence, mask) in enumerate(zip(maps, masks, strict=True)):
        pixels = enlarged(evidence, (mask.height, mask.width)).reshape(-1)
        positive_P = pixels[mask.pixels_P]
        parts = np.split(positive_P, np.cumsum(mask.sizes_R)[:-1]) if len(mask.sizes_R) else []
        counted = [_reaching(part, edges) for part in parts]
        negatives.append(_reaching(pixels, edges) - sum(counted, np.zeros(len(edges), np.int32)))
        regions += counted
        image += [row] * len(counted)
    return MapCounts(
        edges_T=edges.astype(np.float64),
        negatives_NT=_stacked(negatives, edges),
        regions_RT=_stacked(regions, edges),
        image_R=np.array(image, dtype=np.int64),
        weights_N=np.ones(len(negatives)),
    )


def choose_edges(maps: Sequence[np.ndarray], masks: Sequence[RegionMask]) -> np.ndarray:
    """(T,) float32 rising thresholds: quantiles of the negative and of the positive patches.

    A patch is positive if a positive pixel lies in it. Of each kind 300 quantiles are even and
    500 lie by the logarithm of the share above them, down to one in a million. If the maps hold
    at most 1,000 values, these are thresholds too, so that small cases are exact. The first
    threshold is 0.
    """
    values = np.concatenate([[], *(evidence.reshape(-1) for evidence in maps)])
    positive = np.concatenate(
        [np.zeros(0, bool), *(_touched(*pair) for pair in zip(maps, masks, strict=True))]
    )
    shares = np.concatenate(
        [np.linspace(0, 1, _EVEN), 1 - np.geomspace(_LEAST_TAIL, 1, _TAIL, endpoint=False)]
    )
    kinds = (values[~positive], values[positive])
    edges = [np.quantile(kind, shares) for kind in kinds if len(kind)]
    distinct = np.unique(values)
    if len(distinct) <= _FEW:
        edges.append(distinct)
    return np.unique(np.concatenate([[0.0], *edges]).astype(np.float32))


def _nothing(reason: str, left_out: Sequence[Skipped] = ()) -> Localisation:
    return Localisation(
        rows=np.zeros(0, dtype=np.int64),
        kit=None,
        baseline=None,
        left_out=tuple(left_out),
        vanished=0,
        reason=reason,
    )


def _checked(
    samples: Sequence[Sample], maps: Sequence[np.ndarray | None], rows: Sequence[int]
) -> list[np.ndarray]:
    chosen = []
    for row in rows:
        evidence = maps[row]
        # Written so that not-a-number fails it too.
        if evidence is None or not ((evidence >= 0) & (evidence <= 1)).all():
            raise DataError(
                "the map of an image holds something other than numbers from 0 to 1",
                whose=samples[row].id,
                fix="check that training did not diverge, or evaluate with --precision fp32",
                code="data/bad-scores",
            )
        chosen.append(evidence)
    return chosen


def enlarged(evidence: np.ndarray, size: Size) -> np.ndarray:
    """An (h, w) map as (H, W) float32, bilinearly; `size` is H and W."""
    small = torch.from_numpy(np.ascontiguousarray(evidence, dtype=np.float32))[None, None]
    large = functional.interpolate(small, size=size, mode="bilinear", align_corners=False)
    pixels: np.ndarray = large[0, 0].numpy()
    return pixels


def _reaching(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(T,) int32, how many values are at or above each edge."""
    below = np.searchsorted(np.sort(values), edges, side="left")
    return (len(values) - below).astype(np.int32)


def _touched(evidence: np.ndarray, mask: RegionMask) -> np.ndarray:
    """(h * w,) bool, the patches in which a positive pixel lies."""
    height, width = evidence.shape
    row, column = np.divmod(mask.pixels_P, mask.width)
    touched = np.zeros((height, width), dtype=bool)
    touched[row * height // mask.height, column * width // mask.width] = True
    return touched.reshape(-1)


def _stacked(counted: Sequence[np.ndarray], edges: np.ndarray) -> np.ndarray:
    return np.stack(counted) if counted else np.zeros((0, len(edges)), dtype=np.int32)
