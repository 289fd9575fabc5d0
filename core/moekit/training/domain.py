"""What tells a kit's pictures from others, fitted on its stored prefix: see `Domain`."""

from __future__ import annotations

from typing import Any

import numpy as np

from moekit.data.near.in_words import FAULTS
from moekit.runs.domain import write_domain
from moekit.runs.run import Run
from moekit.runtime.select.domain import LEAST, Domain, features_of
from moekit.training.near import whole_cells
from moekit.training.prefix import PrefixStore

MOST = 1000
"""Pictures of a split that are read, evenly spread."""


def keep_domain(run: Run, stores: dict[str, PrefixStore]) -> dict[str, Any]:
    """Fits the domain of a run and keeps it; a failure is recorded and stops nothing.

    Args:
        run: The run.
        stores: The stored prefixes of `train` and `val`.

    Returns:
        What run.json says of it. Without `sha256` the run cannot be chosen by itself.
    """
    try:
        found = {name: _features(store) for name, store in stores.items()}
        few = [name for name, one in found.items() if len(one) < LEAST]
        if few:
            return _without(f"{' and '.join(few)} hold fewer than {LEAST} pictures")
        domain = Domain.fit(found["train"], found["val"], block=stores["train"].plan.end)
        if not all(np.isfinite(one).all() for one in domain.arrays.values()):
            return _without("a feature is not finite")
        sha256 = write_domain(run, domain.arrays)
    except (*FAULTS, np.linalg.LinAlgError) as error:
        return _without(f"it failed: {type(error).__name__}: {error}")
    return {"sha256": sha256, **domain.as_json()}


def _features(store: PrefixStore) -> np.ndarray:
    names = list(dict.fromkeys(one.id for one in store.samples))
    places = np.unique(np.linspace(0, len(names) - 1, MOST).round().astype(np.int64))
    taken = {names[place] for place in places}  # with all their windows
    rows = np.flatnonzero([one.id in taken for one in store.samples])
    cells = [cells for _, cells in whole_cells(store, rows, 0)]
    return features_of(np.stack(cells)) if cells else np.zeros((0, 0))


def _without(why: str) -> dict[str, Any]:
    return {"in_words": [f"what its pictures look like is not known: {why}"]}
