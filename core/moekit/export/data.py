"""Whether the data that an export is made from are those that its run learned from."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from moekit.data.content import Contents
from moekit.data.fingerprint import fingerprint, refuse_changes
from moekit.data.samples import Dataset
from moekit.runs.run import Run

_logger = logging.getLogger(__name__)


def check_data(
    run: Run,
    dataset: Dataset,
    splits: Sequence[str],
    *,
    on_progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Compares splits with the fingerprints in run.json.

    Args:
        run: A finished run. One of an earlier version has none; a warning says so.
        dataset: Split data.
        splits: Those that are used.
        on_progress: Called with a description, the files that are hashed and their total.

    Returns:
        The fingerprint of each split as it is now.

    Raises:
        DataError: A split is another one.
    """
    contents = Contents()
    now = {
        split: fingerprint(
            dataset.split(split),
            contents,
            on_progress=functools.partial(on_progress, f"hashing the files, {split}"),
        )
        for split in splits
    }
    known = run.read_finished()["request"].get("data")
    if known is None:
        _logger.warning(
            "%s does not say what its data were, since an earlier version wrote it: whether they "
            "have changed is not known",
            run.record,
        )
    else:
        refuse_changes(
            known,
            now,
            whose=dataset.name,
            fix="restore the data that the run was adapted on, or adapt again; the point is "
            "chosen on the validation split",
        )
    return now
