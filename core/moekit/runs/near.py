"""What a run folder holds of near-duplicates: codes of what was learned from, groups, pictures.

```
RUN/
  near_duplicates.safetensors  codes of the training and validation images, and what made them
  near_duplicates_groups.json  the groups that near-duplicates were made, if they were
  near_duplicates/             pictures of pairs: adapt/ and evaluate/
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from moekit.data.near.codes import Coder
from moekit.data.near.draw import draw_pair
from moekit.data.near.find import Pair
from moekit.data.pictures import save_jpeg
from moekit.errors import DataError
from moekit.files import read_json, sha256, to_json, write_json, write_tensors
from moekit.runs.run import Run
from moekit.runs.schema import damaged

STEM = "near_duplicates"
CODES, GROUPS = f"{STEM}.safetensors", f"{STEM}_groups.json"
SHOWN = 12
"""Pairs of which a picture is drawn."""


def write_codes(run: Run, coder: Coder, codes_NVW: np.ndarray, ids: Sequence[str]) -> str:
    """Keeps the codes of what was learned from; returns the file's SHA-256.

    Args:
        run: The run.
        coder: Made them.
        codes_NVW: The codes.
        ids: Of the samples.
    """
    known = {"codes": codes_NVW, "mean": coder.mean_CD, "basis": coder.basis_DE}
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in known.items()}
    path = run.folder / CODES
    write_tensors(path, tensors, header={"ids": to_json(list(ids))})
    return sha256(path)


def read_codes(run: Run) -> tuple[Coder, np.ndarray, list[str]] | None:
    """What `write_codes` kept; None if the run has none.

    Raises:
        DataError: The file is damaged, or is not the one that the run wrote.
    """
    path = run.folder / CODES
    known_as = (run.read().get("near_duplicates") or {}).get("codes_sha256")
    if known_as is None:
        return None
    try:
        if sha256(path) != known_as:
            raise _damaged(path)
        with safe_open(path, framework="pt") as file:
            ids = json.loads((file.metadata() or {})["ids"])
            known = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
        coder = Coder(mean_CD=known["mean"], basis_DE=known["basis"])
        return coder, known["codes"], [str(one) for one in ids]
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def write_groups(run: Run, groups: Mapping[str, str]) -> str:
    """Keeps the groups that near-duplicates were made; returns the file's SHA-256."""
    path = run.folder / GROUPS
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(sorted(groups.items())))
    return sha256(path)


def read_groups(run: Run) -> dict[str, str]:
    """The new group of each id whose group was changed; empty if none was.

    Raises:
        DataError: The file is gone, or is not the one that the run wrote.
    """
    grouped = (run.read()["request"].get("grouped") or {}) if run.record.exists() else {}
    if "sha256" not in grouped:
        return {}
    path = run.folder / GROUPS
    if not path.exists() or sha256(path) != grouped["sha256"]:
        raise _damaged(path)
    return {str(name): str(group) for name, group in read_json(path).items()}


def draw_pairs(run: Run, command: str, pairs: Sequence[Pair]) -> None:
    """Draws the most alike pairs side by side; what the command drew before goes.

    Args:
        run: The run.
        command: `adapt` or `evaluate`.
        pairs: The most alike first.
    """
    folder = run.folder / STEM / command
    index: list[dict[str, Any]] = []
    for old in folder.glob("*.jpg"):
        old.unlink(missing_ok=True)
    for rank, pair in enumerate(pairs[:SHOWN], start=1):
        name = f"pair-{rank}.jpg"
        save_jpeg(folder / name, draw_pair(pair))
        index.append(
            {
                "id": f"{pair.first.id} ({pair.first.split}), {pair.second.id} "
                f"({pair.second.split})",
                "file": name,
                "kind": command,
                "caption": f"likeness {pair.likeness:.3f}, {pair.fit_in_words}",
            }
        )
    write_json(folder / "index.json", index)


def _damaged(path: Path) -> DataError:
    return damaged(path, "it is not the one that the run wrote")
