"""The lesions of a mask, or of objects on single slices, measured.

Shapes: D slices, H rows, W columns, O objects of all slices.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]
from scipy.sparse import coo_matrix, csgraph  # type: ignore[import-untyped]

from moekit_medical.volume import Volume

_MOST = 65535
LESION_WORDS = (
    "voxels of a mask that touch at faces, edges or corners; or objects of neighbouring slices, "
    "each with those that share most places with it"
)
"""What one lesion is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lesion:
    """One lesion.

    Attributes:
        volume_mm3: Its voxels times their volume, mm^3.
        voxels: How many.
        centre_mm: The mean of its voxel centres, LPS mm.
        slices: How many slices it touches.
        widest: The slice (d) in which it has the most voxels.
        sop_uid: SOPInstanceUID of that slice; empty for NIfTI.
    """

    volume_mm3: float
    voxels: int
    centre_mm: tuple[float, float, float]
    slices: int
    widest: int
    sop_uid: str

    def as_json(self) -> dict[str, Any]:
        """The lesion for summary.json."""
        return {
            "volume_mm3": round(self.volume_mm3, 1),
            "voxels": self.voxels,
            "centre_mm": [round(number, 3) + 0.0 for number in self.centre_mm],
            "slices": self.slices,
            "widest_slice": self.widest,
            "sop_uid": self.sop_uid,
        }


def number_lesions(part_DHW: np.ndarray, volume: Volume) -> tuple[tuple[Lesion, ...], np.ndarray]:
    """The lesions of a volume, the largest first, equal ones by their place; and their voxels.

    Of a mask, voxels that touch at a face, an edge or a corner are of one lesion. Of numbered
    objects, each belongs to the same lesion as the object of the slice before, and of the slice
    after, with which it shares most places.

    Args:
        part_DHW: (D, H, W) bool; or unsigned numbers of objects on each slice, from 1, 0 for none.
        volume: In which it lies.

    Returns:
        The lesions, and (D, H, W) uint16: the number of the lesion, from 1; 0 for none. All from
        the 65535th on have that number.
    """
    if part_DHW.dtype == np.bool_:
        labels_DHW, count = ndimage.label(part_DHW, structure=np.ones((3, 3, 3)))
    else:
        labels_DHW, count = _linked(part_DHW)
    voxel_mm3 = abs(float(np.linalg.det(volume.affine[:3, :3])))
    found: list[tuple[Lesion, int]] = []
    for number, box in enumerate(ndimage.find_objects(labels_DHW, max_label=count), 1):
        inside = labels_DHW[box] == number
        counts_D = inside.sum(axis=(1, 2))
        index_N3 = np.argwhere(inside) + [side.start for side in box]
        x, y, z = volume.to_patient(index_N3.mean(axis=0)[None])[0]
        widest = int(box[0].start + counts_D.argmax())
        lesion = Lesion(
            volume_mm3=len(index_N3) * voxel_mm3,
            voxels=len(index_N3),
            centre_mm=(float(x), float(y), float(z)),
            slices=int((counts_D > 0).sum()),
            widest=widest,
            sop_uid=volume.sop_uids[widest],
        )
        found.append((lesion, number))
    found.sort(key=lambda one: (-one[0].voxels, one[0].centre_mm))
    rank_of = np.zeros(count + 1, dtype=np.uint16)
    for rank, (_, number) in enumerate(found, 1):
        rank_of[number] = min(rank, _MOST)
    return tuple(lesion for lesion, _ in found), rank_of[labels_DHW]


def _linked(object_DHW: np.ndarray) -> tuple[np.ndarray, int]:
    """(D, H, W) numbers of the lesions, from 1, that objects of slices are of; and how many."""
    most_D = object_DHW.reshape(len(object_DHW), -1).max(axis=1).astype(np.int64)
    before_D11 = (np.cumsum(most_D) - most_D)[:, None, None]
    node_DHW = np.where(object_DHW > 0, object_DHW.astype(np.int64) + before_D11, 0)
    links = [
        link
        for one_HW, next_HW in itertools.pairwise(node_DHW)
        for link in _best_links(one_HW, next_HW)
    ]
    nodes = int(most_D.sum()) + 1
    first, second = np.array(links, dtype=np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(nodes, nodes))
    _, lesion_O = csgraph.connected_components(graph, directed=False)
    # Numbers of objects may have gaps, and node 0 is no object.
    used = np.unique(lesion_O[np.unique(node_DHW[node_DHW > 0])])
    rank_of = np.zeros(lesion_O.max() + 1, dtype=np.int64)
    rank_of[used] = np.arange(1, len(used) + 1)
    return np.where(node_DHW > 0, rank_of[lesion_O[node_DHW]], 0), len(used)


def _best_links(one_HW: np.ndarray, next_HW: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of objects of two slices: for each object the one that shares most places with it."""
    both_HW = (one_HW > 0) & (next_HW > 0)
    pairs_N2, shared_N = np.unique(
        np.stack([one_HW[both_HW], next_HW[both_HW]], axis=1), axis=0, return_counts=True
    )
    links = set()
    for side in (0, 1):
        best: dict[int, int] = {}
        for place in np.argsort(shared_N, kind="stable").tolist():
            best[int(pairs_N2[place, side])] = place
        links |= {(int(pairs_N2[place, 0]), int(pairs_N2[place, 1])) for place in best.values()}
    return links
