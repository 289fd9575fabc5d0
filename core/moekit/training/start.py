"""The run that an adaptation begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moekit.errors import UsageError
from moekit.plugins.resolve import FIRST_TASK
from moekit.runs.run import Run

_ALIKE = (
    *("kit", "task", "changes", "frames", "negatives_only"),
    *("backbone_sha256", "computes", "top_k"),
)
"""What a run must share with the one that it begins with."""


def weights_to_begin_with(start: Run, request: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of a run's weights, which a new run of the same kind begins with.

    Args:
        start: The finished run.
        request: What is asked of the new one.

    Raises:
        UsageError: The run is of another kit, task or backbone, or reads pictures in another way.
    """
    record = start.read_finished()
    known = {"task": FIRST_TASK, **record["request"]}
    other = [name for name in _ALIKE if known.get(name) != request[name]]
    other += ["number of bits (--bits)"] if start.bits() != request["recipe"]["bits"] else []
    members = request["recipe"]["head_members"]
    other += ["number of head members"] if start.recipe().head_members != members else []
    if other:
        raise UsageError(
            f"the run was made with another {', '.join(other)}",
            whose=str(start.folder),
            fix="begin with a run of the same kit on the same backbone, or leave out --from",
            code="usage/other-run",
        )
    weights: dict[str, str] = record["weights"]
    return weights
