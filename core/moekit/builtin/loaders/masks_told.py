"""What the masks of a table say of themselves: none is its image, and each is of one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moekit.data.samples import Sample
from moekit.errors import DataError
from moekit.text import many


def check_masks(samples: Sequence[Sample], table: Path) -> tuple[str, ...]:
    """A sentence on masks that several images share, if there are any.

    Args:
        samples: Those that the table names.
        table: The file.

    Raises:
        DataError: The mask of an image is that image.
    """
    same = [sample for sample in samples if sample.mask == sample.path]
    if same:
        raise DataError(
            f"{many(len(same), 'image is its own mask', 'images are their own masks')}, such as "
            f"{same[0].id}",
            whose=str(table),
            fix="name the masks in the column mask, or leave its cells empty",
            code="data/contradiction",
        )
    first: dict[Path, Sample] = {}
    shared = [
        sample
        for sample in samples
        if sample.mask is not None and first.setdefault(sample.mask, sample) is not sample
    ]
    if not shared:
        return ()
    assert shared[0].mask is not None
    return (
        f"{many(len(shared), 'image has', 'images have')} the mask of another image, such as "
        f"{shared[0].id} that of {first[shared[0].mask].id}",
    )
