"""The pictures whose codes are nearest, block by block, so that memory stays bounded.

Shapes: N pictures that ask, K pictures that are asked, V variants of each of the former, W width of
a code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

BLOCK = 2**25
"""Products that are held at a time."""
NEAREST = 3
_NEVER = -2.0
"""Less than any product of codes."""


class Candidate(NamedTuple):
    """Two pictures that may be near-duplicates.

    Attributes:
        first: Row among those that ask.
        second: Row among those that are asked.
        alike: The product of their codes, 1 at most.
    """

    first: int
    second: int
    alike: float


def candidates(
    asking_NVW: np.ndarray,
    asked_KW: np.ndarray,
    *,
    kin_N: np.ndarray,
    kin_K: np.ndarray,
    nearest: int = NEAREST,
    device: torch.device | str = "cpu",
) -> list[Candidate]:
    """For each picture that is asked the nearest that ask, the most alike first.

    Args:
        asking_NVW: Codes with their variants.
        asked_KW: Codes.
        kin_N: Whole numbers; two pictures of one number are never a pair.
        kin_K: The same of those that are asked.
        nearest: How many of each.
        device: Where products are computed.
    """
    if not len(asking_NVW) or not len(asked_KW):
        return []
    exact = torch.float32 if torch.device(device).type == "cpu" else torch.float16
    keys = torch.from_numpy(asked_KW).to(device, exact)
    kin = torch.from_numpy(kin_K).to(device)
    best = torch.full((nearest, len(asked_KW)), _NEVER, device=device)
    holder = torch.zeros((nearest, len(asked_KW)), dtype=torch.int64, device=device)
    variants = asking_NVW.shape[1]
    rows = max(1, BLOCK // (variants * len(asked_KW)))
    for start in range(0, len(asking_NVW), rows):
        part = torch.from_numpy(asking_NVW[start : start + rows]).to(device, exact)
        alike = (part.flatten(0, 1) @ keys.T).float().reshape(-1, variants, keys.shape[0]).amax(1)
        own = torch.from_numpy(kin_N[start : start + rows]).to(device)
        alike[own[:, None] == kin] = _NEVER
        names = torch.arange(start, start + len(alike), device=device)[:, None]
        best, order = torch.cat([best, alike]).topk(nearest, dim=0)
        holder = torch.cat([holder, names.expand(-1, len(asked_KW))]).gather(0, order)
    found = [
        Candidate(row, place, score)
        for scores, rows_of in zip(best.tolist(), holder.tolist(), strict=True)
        for place, (score, row) in enumerate(zip(scores, rows_of, strict=True))
        if score > _NEVER
    ]
    return sorted(found, key=lambda one: (-one.alike, one.first, one.second))
