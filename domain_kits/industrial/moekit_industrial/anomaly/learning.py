"""Learning from normal images: a memory of their patches, filled once or added to.

Nothing is trained by gradients. Training images fill the memory; validation images, normal ones
that the memory has not seen, say how far normal images lie from it.

Shapes: B images, P patches, F features, C components, M members, R prototypes, Q products.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from moekit import DataError
from moekit.files import to_json
from moekit_industrial.anomaly.cells import cluster
from moekit_industrial.anomaly.foreground import (
    Foreground,
    fit_foreground,
    is_computed,
    shows_part,
)
from moekit_industrial.anomaly.head import MemoryHead, centred, worst
from moekit_industrial.anomaly.memory import Members
from moekit_industrial.anomaly.patches import Patches, in_batches, rows_by_product

MEMBERS = 262_144
"""Most members of a product."""
PLAIN_MEMBERS = 16_384
"""Members of a product of the baseline, a memory without routing and background."""
CELLS = 512
PROTOTYPES = 8
_DRAWN_IMAGES = 48
"""Normal images of a product that directions are found on."""
_REACH = 2.0
"""A product is unknown from this many times the distance of the farthest validation image."""
_LEAST_SPREAD = 0.02


@dataclasses.dataclass(frozen=True)
class _View:
    """Which of a product's patches are compared, and by which features.

    Attributes:
        foreground: Which patches show the part.
        centre_F: (F,) mean of the features.
        basis_FC: (F, C) their principal components.
    """

    foreground: Foreground
    centre_F: Tensor
    basis_FC: Tensor


@dataclasses.dataclass(frozen=True)
class _Product:
    """What is kept of one product."""

    members: Members
    prototypes_RF: Tensor
    view: _View
    seen: int


class MemoryLearner:
    """Fills a head's memory; a head that has learned already is added to.

    What was learned before stays in proportion to the images that it stands for, and the number of
    members never grows beyond its bound. A product is learned as if it were alone: whatever others
    a run has, it is remembered and scored alike.

    Args:
        head: What learns; in place.
        train: Normal images.
        val: Other normal images, of each product of `train`.
        seed: Decides what is drawn.
        plain: The baseline's way: a random memory of 16,384 patches, searched whole, with no
            background left out but what the pass over the backbone does not compute.
    """

    def __init__(
        self, head: MemoryHead, train: Patches, val: Patches, *, seed: int, plain: bool = False
    ) -> None:
        self._head, self._train, self._val = head, train, val
        self._plain = plain
        self._limit = PLAIN_MEMBERS if plain else MEMBERS
        self._device = head.scale_Q.device
        self._seed = seed
        self._generator = torch.Generator()

    @torch.inference_mode()
    def run(self) -> None:
        """Learns.

        Raises:
            DataError: A product has no validation image.
        """
        rows, checks = rows_by_product(self._train), rows_by_product(self._val)
        missing = sorted(set(rows) - set(checks))
        if missing:
            raise DataError(
                "there is no validation image, by which its scores could be scaled",
                whose=f"the product {missing[0]!r}",
                fix="give it more good images",
                code="data/empty-split",
            )
        products = self._remembered()
        for name, mine in rows.items():
            self._generator.manual_seed(self._seed)
            products[name] = self._learn(mine, products.get(name))
        self._keep(products)
        self._calibrate(list(products), checks)

    def _remembered(self) -> dict[str, _Product]:
        head, products = self._head, {}
        for number, name in enumerate(head.kinds):
            mine_K = head.memory.kind_K == number
            products[name] = _Product(
                members=Members(
                    head.memory.members(number),
                    head.memory.centres_KC[mine_K],
                    head.memory.counts_K[mine_K],
                ),
                prototypes_RF=head.prototypes_RF[head.product_R == number],
                view=_View(
                    Foreground(head.axis_QF[number], float(head.cut_Q[number])),
                    head.centre_QF[number],
                    head.basis_QFC[number],
                ),
                seen=int(head.seen_Q[number]),
            )
        return products

    def _learn(self, rows: np.ndarray, known: _Product | None) -> _Product:
        some_BPF = self._drawn(rows)
        view = known.view if known else self._find_view(some_BPF)
        shown = float(shows_part(some_BPF, view.foreground, self._train.grid).float().mean())
        bank_MC, prototypes_RF = self._collect(rows, view, shown)
        seen = len(rows)
        if known:
            seen += known.seen
            bank_MC = self._joined(known.members.bank_MC, bank_MC, len(rows) / seen)
            prototypes_RF = torch.cat([known.prototypes_RF, prototypes_RF])
        return _Product(
            members=Members.of(
                self._some(bank_MC, self._limit),
                cells=1 if self._plain else CELLS,
                generator=self._generator,
            ),
            prototypes_RF=cluster(
                prototypes_RF, min(PROTOTYPES, len(prototypes_RF)), generator=self._generator
            ),
            view=view,
            seen=seen,
        )

    def _drawn(self, rows: np.ndarray) -> Tensor:
        """(B, P, F) features of some images."""
        order = torch.randperm(len(rows), generator=self._generator)[:_DRAWN_IMAGES]
        return torch.cat(list(in_batches(self._train, rows[np.sort(order.numpy())])))

    def _find_view(self, x_BPF: Tensor) -> _View:
        foreground = (
            Foreground.everywhere(x_BPF.shape[2], x_BPF.device)
            if self._plain
            else fit_foreground(x_BPF, self._train.grid)
        )
        of_view_BPF = centred(x_BPF) if self._is_texture(foreground) else x_BPF
        x_MF = of_view_BPF[is_computed(x_BPF)]
        centre_F = x_MF.mean(0)
        spread_FF = (x_MF - centre_F).T @ (x_MF - centre_F) / len(x_MF)
        basis_FF = torch.linalg.eigh(spread_FF).eigenvectors.flip(1)
        components = self._head.basis_QFC.shape[2]
        return _View(foreground, centre_F, basis_FF[:, :components].contiguous())

    def _is_texture(self, foreground: Foreground) -> bool:
        return foreground.is_everywhere and not self._plain

    def _collect(self, rows: np.ndarray, view: _View, shown: float) -> tuple[Tensor, Tensor]:
        """(M, C) patches of the part, about twice the limit at most, and (B, F) images' means."""
        views = 1 if self._plain else self._train.views
        expected = shown * len(rows) * views * self._train.grid.patches
        share = min(1.0, 2 * self._limit / max(expected, 1))
        texture = self._is_texture(view.foreground)
        patches, means = [], []
        for x_BPF in in_batches(self._train, rows, views):
            means.append(x_BPF.mean(1))
            part_BP = shows_part(x_BPF, view.foreground, self._train.grid)
            x_MF = (centred(x_BPF) if texture else x_BPF)[part_BP]
            kept_MF = self._some(x_MF, math.ceil(share * len(x_MF)))
            patches.append((kept_MF - view.centre_F) @ view.basis_FC)
        return torch.cat(patches), torch.cat(means)

    def _joined(self, old_MC: Tensor, new_MC: Tensor, share: float) -> Tensor:
        """Old and new members, each in proportion to the images that they stand for."""
        total = min(self._limit, len(old_MC) + len(new_MC))
        new = min(len(new_MC), max(round(share * total), total - len(old_MC)))
        return torch.cat([self._some(old_MC, total - new), self._some(new_MC, new)])

    def _keep(self, products: Mapping[str, _Product]) -> None:
        head, learned = self._head, list(products.values())
        head.memory.fill([product.members for product in learned])
        names = to_json(list(products)).encode()
        head.names = torch.tensor(list(names), dtype=torch.uint8, device=self._device)
        head.prototypes_RF = torch.cat([product.prototypes_RF for product in learned])
        counts = torch.tensor([len(product.prototypes_RF) for product in learned])
        head.product_R = torch.arange(len(learned)).repeat_interleave(counts).to(self._device)
        views = [product.view for product in learned]
        head.centre_QF = torch.stack([view.centre_F for view in views])
        head.basis_QFC = torch.stack([view.basis_FC for view in views])
        head.axis_QF = torch.stack([view.foreground.axis_F for view in views])
        head.cut_Q = torch.tensor([view.foreground.cut for view in views], device=self._device)
        head.texture_Q = torch.tensor(
            [self._is_texture(view.foreground) for view in views], device=self._device
        )
        head.seen_Q = torch.tensor([product.seen for product in learned], device=self._device)

    def _calibrate(self, names: Sequence[str], checks: Mapping[str, np.ndarray]) -> None:
        """Each product's scale by its validation images; without any it keeps the one it has."""
        head = self._head
        before = (head.scale_Q, head.spread_Q, head.reach_Q)
        values = [
            self._scale(number, checks[name])
            if name in checks
            else tuple(column[number] for column in before)
            for number, name in enumerate(names)
        ]
        head.scale_Q, head.spread_Q, head.reach_Q = (
            torch.stack(column) for column in zip(*values, strict=True)
        )

    def _scale(self, number: int, rows: np.ndarray) -> tuple[Tensor, ...]:
        head = self._head
        own_RF = head.prototypes_RF[head.product_R == number]
        logs, reaches = [], []
        for x_BPF in in_batches(self._val, rows):
            product_B = torch.full((len(x_BPF),), number, device=self._device)
            far_BP = head.distances(x_BPF, product_B, self._val.grid)
            logs.append(worst(far_BP).clamp_min(1e-6).log())
            reaches.append(torch.cdist(x_BPF.mean(1), own_RF).amin(1))
        log_B = torch.cat(logs)
        spread = log_B.std(correction=0).clamp_min(_LEAST_SPREAD)
        return log_B.mean().exp(), spread, _REACH * torch.cat(reaches).amax()

    def _some(self, x_MC: Tensor, count: int) -> Tensor:
        """At most `count` rows, drawn."""
        if count >= len(x_MC):
            return x_MC
        chosen = torch.randperm(len(x_MC), generator=self._generator)[:count]
        return x_MC[chosen.to(x_MC.device)]
