"""Volumes turned upright and reduced to coarser grids.

Shapes: D slices, H rows, W columns, N positions.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from moekit_medical.volume import Volume

HU_RANGE = (-1024.0, 3071.0)
"""What is averaged: padding below and metal above would outweigh their neighbours."""


def upright(volume: Volume) -> Volume:
    """The volume seen so that d runs to the head, h to the back and w to the left.

    Axes are exchanged and turned round, nothing is interpolated: an oblique volume stays oblique.

    Returns:
        A view without `sop_uids`, as its slices need not be slices of the series.
    """
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    order = max(
        itertools.permutations(range(3)),
        key=lambda axes: sum(abs(directions[2 - to, of]) for to, of in enumerate(axes)),
    )
    hu_DHW = volume.hu_DHW.transpose(order)
    affine = volume.affine[:, [*order, 3]].copy()
    for axis in range(3):
        if affine[2 - axis, axis] < 0:
            hu_DHW = np.flip(hu_DHW, axis)
            affine[:3, 3] += affine[:3, axis] * (hu_DHW.shape[axis] - 1)
            affine[:3, axis] *= -1
    return dataclasses.replace(volume, hu_DHW=hu_DHW, affine=affine, sop_uids=())


def reduce(volume: Volume, *, to_mm: float) -> Volume:
    """Averages voxels so that they are about `to_mm` apart; no axis is made finer than it is.

    Each new voxel is the mean of the space it covers, slice by slice, so that no second volume of
    the full size is held.

    Args:
        volume: (D, H, W).
        to_mm: Distance of voxel centres, along each axis.

    Returns:
        A volume without `sop_uids`, HU limited to `HU_RANGE`.
    """
    shares = [
        _overlaps(size, max(1, round(size * min(1.0, spacing / to_mm))))
        for size, spacing in zip(volume.hu_DHW.shape, volume.spacing_mm, strict=True)
    ]
    along_d, along_h, along_w = shares
    hu_DHW = np.zeros([len(share) for share in shares], dtype=np.float32)
    for d, hu_HW in enumerate(volume.hu_DHW):
        reduced_HW = along_h @ np.clip(hu_HW, *HU_RANGE) @ along_w.T
        for to in np.flatnonzero(along_d[:, d]):
            hu_DHW[to] += along_d[to, d] * reduced_HW
    affine = volume.affine.copy()
    steps = np.array(volume.hu_DHW.shape) / np.array(hu_DHW.shape)
    affine[:3, 3] += affine[:3, :3] @ ((steps - 1) / 2)
    affine[:3, :3] *= steps
    return dataclasses.replace(volume, hu_DHW=hu_DHW, affine=affine, sop_uids=())


def _overlaps(size: int, parts: int) -> np.ndarray:
    """(parts, size) float32: the share of each of `size` voxels in each of `parts` equal parts."""
    edges = np.arange(parts + 1) * (size / parts)
    low = np.maximum(edges[:-1, None], np.arange(size))
    high = np.minimum(edges[1:, None], np.arange(1, size + 1))
    share: np.ndarray = (np.clip(high - low, 0, None) * (parts / size)).astype(np.float32)
    return share


def triangle_weights(position_N: np.ndarray, size: int, *, step: float = 1.0) -> np.ndarray:
    """(N, size) float32 weights for reading a line of voxels at fractional positions.

    Linear interpolation; if the positions lie further apart than the voxels the triangle is as
    wide as their step, which averages what would alias. A position outside the line is given
    weights that sum to less than one, or to zero.

    Args:
        position_N: In voxels.
        size: Voxels on the line.
        step: Distance of two positions in voxels.
    """
    width = max(1.0, step)
    first = int(np.floor(position_N.min() - width))
    last = int(np.ceil(position_N.max() + width))
    wide = np.arange(first, last + 1)
    weight = np.clip(1 - np.abs(wide - position_N[:, None]) / width, 0, None)
    weight /= weight.sum(axis=1, keepdims=True)
    inside = (wide >= 0) & (wide < size)
    placed = np.zeros((len(position_N), size), dtype=np.float32)
    placed[:, wide[inside]] = weight[:, inside]
    return placed


def carry(value_DHW: np.ndarray, target: Volume) -> np.ndarray:
    """Reads values on a coarse grid at the voxels of the volume that it was made from.

    Linear interpolation; beyond the outermost voxel centres the nearest value.

    Args:
        value_DHW: On a grid that covers the same space as `target`, as `reduce` makes one.
        target: (D, H, W).

    Returns:
        (D, H, W) float32.
    """
    weights = []
    for size, fine in zip(value_DHW.shape, target.hu_DHW.shape, strict=True):
        position = (np.arange(fine) + 0.5) * (size / fine) - 0.5
        weights.append(triangle_weights(np.clip(position, 0, size - 1), size))
    along_d, along_h, along_w = weights
    carried_DHW = np.empty(target.hu_DHW.shape, dtype=np.float32)
    for d, share in enumerate(along_d):
        used = np.flatnonzero(share)
        value_HW = np.tensordot(share[used], value_DHW[used].astype(np.float32), axes=1)
        carried_DHW[d] = along_h @ value_HW @ along_w.T
    return carried_DHW
