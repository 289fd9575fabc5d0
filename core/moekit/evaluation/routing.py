"""The routing page of a result: which experts fire for which class.

Shapes: B images, E experts, C classes.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from moekit.contract.experts import SpecialistSlot
from moekit.contract.kits import KitSpec
from moekit.moe.stats import BlockRouting, RoutingTrace, dead_of, load_of, maxvio_of

NONE = "none"


class RoutingTable:
    """Adds up the routing of many batches.

    Args:
        classes: Class names, in the order of the labels.
        kit: Names the specialists.
        depth: Number of blocks of the backbone.
    """

    def __init__(self, *, classes: Sequence[str], kit: KitSpec, depth: int) -> None:
        self._classes = tuple(classes)
        self._options = options_of(kit.slots, depth)
        self._items = 0
        self._counts: dict[tuple[int, bool], np.ndarray] = {}
        self._entropy: dict[tuple[int, bool], list[tuple[float, int]]] = {}

    def add(
        self, trace: RoutingTrace, labels: np.ndarray, rows: Sequence[int], *, frames: int = 1
    ) -> None:
        """Adds some items of one batch.

        Args:
            trace: What the batch's forward pass left.
            labels: (B,) int, of all items of the batch; windows of one item are items here.
            rows: Which of them are added.
            frames: Frames of an item; a trace has one row for each.
        """
        chosen = np.asarray(rows)
        if frames > 1:
            chosen = (chosen[:, None] * frames + np.arange(frames)).reshape(-1)
        of_row = np.repeat(labels, frames)[chosen]
        self._items += len(rows)
        for routed in trace.blocks:
            if routed.kit is None and routed.routing.chosen == routed.routing.experts:
                continue  # every token has every expert: there is nothing to tell
            key = (routed.block, routed.kit is not None)
            counts_CE = self._per_class(routed, chosen, of_row)
            self._counts[key] = self._counts.get(key, 0) + counts_CE
            self._entropy.setdefault(key, []).append((routed.entropy, len(chosen)))

    def as_json(self) -> dict[str, Any]:
        """The content of routing.json."""
        return {
            "classes": list(self._classes),
            "specialists": [
                {"block": block, "option": option, "load": load_CE[:, index].tolist()}
                for (block, special), counts_CE in sorted(self._counts.items())
                if special
                for load_CE in [_shares(counts_CE)]
                for index, option in enumerate(self._options[block])
            ],
            "generic": [
                self._generic(block, counts_CE)
                for (block, special), counts_CE in sorted(self._counts.items())
                if not special
            ],
            "n": self._items,
        }

    def _per_class(
        self, routed: BlockRouting, chosen: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        counts_BE = np.asarray(routed.counts_BE.cpu())
        if routed.kit is not None:
            # A specialist set may give each option to every token, weighted: count the weight.
            weight_TE = np.asarray(routed.routing.weight_TE().float().cpu())
            counts_BE = weight_TE.reshape(len(counts_BE), -1, weight_TE.shape[1]).sum(1)
        counts_BE = counts_BE[chosen]
        shares: np.ndarray = np.stack(
            [counts_BE[labels == label].sum(0) for label in range(len(self._classes))]
        )
        return shares.astype(np.float64)

    def _generic(self, block: int, counts_CE: np.ndarray) -> dict[str, Any]:
        counts_E = torch.from_numpy(counts_CE.sum(0))
        weighed = self._entropy[block, False]
        total = sum(images for _, images in weighed)
        return {
            "block": block,
            "load": load_of(counts_E).tolist(),
            "entropy": sum(entropy * images for entropy, images in weighed) / total,
            "maxvio": maxvio_of(counts_E),
            "dead": dead_of(counts_E),
        }


def options_of(slots: Sequence[SpecialistSlot], depth: int) -> dict[int, tuple[str, ...]]:
    """By block the names of specialists, and "none"; `depth` is that of the backbone."""
    return {slot.block % depth: _options(slot) for slot in slots}


def _options(slot: SpecialistSlot) -> tuple[str, ...]:
    names = _numbered(slot.experts)
    if slot.sites == 1:
        return (*names, NONE)
    sites = range(1, slot.sites + 1)
    return tuple(
        f"{name} of site {site}" for part in (names, (NONE,)) for site in sites for name in part
    )


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with a number behind those that appear more than once."""
    seen: collections.Counter[str] = collections.Counter()
    numbered = []
    names = [name.rpartition("/")[2] for name in names]
    for name in names:
        seen[name] += 1
        numbered.append(f"{name} {seen[name]}" if names.count(name) > 1 else name)
    return tuple(numbered)


def _shares(counts_CE: np.ndarray) -> np.ndarray:
    shares: np.ndarray = counts_CE / np.maximum(counts_CE.sum(1, keepdims=True), 1e-12)
    return shares
