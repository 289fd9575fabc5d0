"""Learning from normal images: a memory of their patches, filled once or added to.

Nothing is trained by gradients. Training images fill the memory; validation images, normal ones
that the memory has not seen, say how far normal images lie from it.

Shapes: B images, P patches, F features, C components, M members, R prototypes, Q products.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from moekit import DataError
from moekit_industrial.anomaly.cells import cluster
from moekit_industrial.anomaly.foreground import Foreground, fit_foreground, shows_part
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
"""A product is unknown from so many times the distance of the farthest validation image."""
_LEAST_SPREAD = 0.02


@dataclasses.dataclass(frozen=True)
class _Look:
    """What some images of a product show of it.

    Attributes:
        foreground: Which patches show the part.
        shown: Share of patches that do.
        mean_F: (F,) mean of the features that are compared.
        spread_FF: (F, F) their covariance.
    """

    foreground: Foreground
    shown: float
    mean_F: Tensor
    spread_FF: Tensor


@dataclasses.dataclass(frozen=True)
class _Product:
    """What is kept of one product."""

    members: Members
    prototypes_RF: Tensor
    foreground: Foreground
    seen: int


class MemoryLearner:
    """Fills a head's memory; a head that has learned already is added to.

    What was learned before stays in proportion to the images that it stands for, and the number of
    members never grows beyond its bound.

    Args:
        head: What learns; in place.
        train: Normal images.
        val: Other normal images, of each product of `train`.
        seed: Decides what is drawn.
        plain: The baseline's way: a random memory of 16,384 patches, searched whole, with no
            background left out.
    """

    def __init__(
        self, head: MemoryHead, train: Patches, val: Patches, *, seed: int, plain: bool = False
    ) -> None:
        self._head, self._train, self._val = head, train, val
        self._plain = plain
        self._limit = PLAIN_MEMBERS if plain else MEMBERS
        self._device = head.centre_F.device
        self._generator = torch.Generator().manual_seed(seed)

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
            )
        products = self._remembered()
        looks = {name: self._look(mine, products.get(name)) for name, mine in rows.items()}
        if not products:
            self._find_components(list(looks.values()))
        for name, mine in rows.items():
            products[name] = self._learn(mine, looks[name], products.get(name))
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
                foreground=Foreground(head.axis_QF[number], float(head.cut_Q[number])),
                seen=int(head.seen_Q[number]),
            )
        return products

    def _look(self, rows: np.ndarray, known: _Product | None) -> _Look:
        order = torch.randperm(len(rows), generator=self._generator)[:_DRAWN_IMAGES]
        drawn = rows[np.sort(order.numpy())]
        x_BPF = torch.cat(list(in_batches(self._train, drawn)))
        foreground = known.foreground if known else self._foreground(x_BPF)
        shown = float(shows_part(x_BPF, foreground, self._train.grid).float().mean())
        compared_BPF = centred(x_BPF) if self._is_texture(foreground) else x_BPF
        x_MF = compared_BPF.flatten(0, 1)
        mean_F = x_MF.mean(0)
        spread_FF = (x_MF - mean_F).T @ (x_MF - mean_F) / len(x_MF)
        return _Look(foreground, shown, mean_F, spread_FF)

    def _foreground(self, x_BPF: Tensor) -> Foreground:
        if self._plain:
            return Foreground.everywhere(x_BPF.shape[2], x_BPF.device)
        return fit_foreground(x_BPF, self._train.grid)

    def _is_texture(self, foreground: Foreground) -> bool:
        return foreground.is_everywhere and not self._plain

    def _find_components(self, looks: Sequence[_Look]) -> None:
        """Principal components of the features of all products, products counting alike."""
        centre_F = torch.stack([look.mean_F for look in looks]).mean(0)
        off = [look.mean_F - centre_F for look in looks]
        spreads = [look.spread_FF + torch.outer(d, d) for look, d in zip(looks, off, strict=True)]
        basis_FF = torch.linalg.eigh(torch.stack(spreads).mean(0)).eigenvectors.flip(1)
        self._head.centre_F = centre_F
        self._head.basis_FC = basis_FF[:, : self._head.basis_FC.shape[1]].contiguous()

    def _learn(self, rows: np.ndarray, look: _Look, known: _Product | None) -> _Product:
        bank_MC, prototypes_RF = self._collect(rows, look)
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
            foreground=look.foreground,
            seen=seen,
        )

    def _collect(self, rows: np.ndarray, look: _Look) -> tuple[Tensor, Tensor]:
        """(M, C) patches of the part, about twice the limit at most, and (B, F) images' means."""
        views = 1 if self._plain else self._train.views
        expected = look.shown * len(rows) * views * self._train.grid.patches
        share = min(1.0, 2 * self._limit / max(expected, 1))
        texture = self._is_texture(look.foreground)
        patches, means = [], []
        for x_BPF in in_batches(self._train, rows, views):
            means.append(x_BPF.mean(1))
            part_BP = shows_part(x_BPF, look.foreground, self._train.grid)
            x_MF = (centred(x_BPF) if texture else x_BPF)[part_BP]
            patches.append(self._head.project(self._some(x_MF, math.ceil(share * len(x_MF)))))
        return torch.cat(patches), torch.cat(means)

    def _joined(self, old_MC: Tensor, new_MC: Tensor, share: float) -> Tensor:
        """Old and new members, each in proportion to the images that they stand for."""
        total = min(self._limit, len(old_MC) + len(new_MC))
        new = min(len(new_MC), max(round(share * total), total - len(old_MC)))
        return torch.cat([self._some(old_MC, total - new), self._some(new_MC, new)])

    def _keep(self, products: Mapping[str, _Product]) -> None:
        head, learned = self._head, list(products.values())
        head.memory.fill([product.members for product in learned])
        names = json.dumps(list(products)).encode()
        head.names = torch.tensor(list(names), dtype=torch.uint8, device=self._device)
        head.prototypes_RF = torch.cat([product.prototypes_RF for product in learned])
        counts = torch.tensor([len(product.prototypes_RF) for product in learned])
        head.product_R = torch.arange(len(learned)).repeat_interleave(counts).to(self._device)
        head.axis_QF = torch.stack([product.foreground.axis_F for product in learned])
        head.cut_Q = torch.tensor(
            [product.foreground.cut for product in learned], device=self._device
        )
        head.texture_Q = torch.tensor(
            [self._is_texture(product.foreground) for product in learned], device=self._device
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
