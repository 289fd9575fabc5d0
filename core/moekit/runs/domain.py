"""What a run folder holds to say whether a picture is of its kind.

```
RUN/
  domain.safetensors  the mean and the spread of the training pictures' features
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from moekit.errors import DataError
from moekit.files import sha256, write_tensors
from moekit.runs.run import Run
from moekit.runs.schema import damaged

DOMAIN = "domain"
"""The field of run.json, and the name of the file."""


def write_domain(run: Run, arrays: Mapping[str, np.ndarray]) -> str:
    """Keeps arrays; returns the file's SHA-256."""
    path = run.weights(DOMAIN)
    write_tensors(
        path, {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in arrays.items()}
    )
    return sha256(path)


def read_domain(run: Run) -> tuple[Mapping[str, Any], dict[str, np.ndarray]] | None:
    """What run.json says and the arrays; None if the run has none.

    Raises:
        DataError: The file is damaged, or is not the one that the run wrote.
    """
    known = run.read().get(DOMAIN) or {}
    if "sha256" not in known:
        return None
    path = run.weights(DOMAIN)
    try:
        if sha256(path) != known["sha256"]:
            raise _damaged(run)
        return known, {name: value.numpy() for name, value in load_file(path).items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(run) from error


def has_domain(run: Run) -> bool:
    """Whether a finished run says what its pictures look like.

    Raises:
        DataError: The folder holds no finished run.
    """
    return "sha256" in (run.read_finished().get(DOMAIN) or {})


def _damaged(run: Run) -> DataError:
    return damaged(run.weights(DOMAIN), "it is not the one that the run wrote")
