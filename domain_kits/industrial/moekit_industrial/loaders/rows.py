"""What the readers of folders and tables hand over: images of a product with their places."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from moekit import DataError
from moekit.builtin.loaders import is_negative_name

GOOD = "good"
"""The `defect` of images without one."""

_GOOD_NAMES = frozenset(
    {
        *("defect_free", "defectfree", "faultless", "flawless", "no_defect", "no_defects"),
        *("nodefect", "non_defective", "not_defective", "pass", "passed", "undamaged"),
    }
)


def is_good(kind: str) -> bool:
    """Whether the name of a folder or a label says that parts are good: ok, Good, normal, ..."""
    name = "_".join(kind.strip().lower().replace("-", " ").split())
    return is_negative_name(name) or name in _GOOD_NAMES


def good_notes(kinds: Iterable[str], *, usual: str = GOOD) -> tuple[str, ...]:
    """A sentence on the folders that were taken for good parts by other names than usual.

    Args:
        kinds: Paths of folders of good parts.
        usual: The name that they have in this layout.
    """
    other = sorted({kind for kind in kinds if PurePosixPath(kind).name != usual})
    if not other:
        return ()
    return (f"taken for good parts, by the names of the folders: {', '.join(other)}",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One image.

    Attributes:
        image: Where it lies.
        id: Its id in the data set.
        split: As the source says.
        defect: The kind of defect; `GOOD` if there is none.
        masks: Files whose union shows the defect; empty if nobody has drawn it.
        group: As of a sample.
    """

    image: Path
    id: str
    split: str
    defect: str
    masks: tuple[Path, ...] = ()
    group: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """The images of one product.

    Attributes:
        name: Subtype of its samples.
        folder: Where it lies; an index.csv in it names groups.
        prefix: What the ids of its images begin with: nothing, or its name and a slash.
        rows: Its images, in any order.
        rest: Other images found in its folder, by id, with the reason why they are not used.
        how: How it was read, if it was in another way than usual.
        notes: What was taken for granted, a sentence each.
    """

    name: str
    folder: Path
    prefix: str
    rows: tuple[Row, ...]
    rest: tuple[tuple[str, str], ...] = ()
    how: str = ""
    notes: tuple[str, ...] = ()


def ask_anomalib(make: Callable[[], Any], *, folder: Path, fix: str) -> list[dict[str, Any]]:
    """The lines of a table that anomalib makes of a folder.

    Args:
        make: Returns its pandas table, with the columns image_path, split and label_index at the
            least.
        folder: What an error names.
        fix: What an error advises.

    Raises:
        DataError: anomalib refuses the folder, or would wait for ever for a pipe in it.
    """
    refuse_special(folder)
    try:
        records: list[dict[str, Any]] = make().to_dict("records")
    except Exception as error:  # it raises what pandas, sklearn and the readers of images raise
        raise DataError(
            f"anomalib cannot read the folder ({plain(error)})",
            whose=str(folder),
            fix=fix,
            code="data/unreadable",
        ) from error
    return records


def refuse_special(folder: Path) -> None:
    """Refuses a folder that holds a pipe, a socket or a device: its reader would wait for them.

    Raises:
        DataError: It does.
    """
    for here, _, names in os.walk(folder):
        for name in names:
            path = Path(here, name)
            try:
                mode = path.stat().st_mode
            except OSError:  # a link to nothing; the reader says what it thinks of it
                continue
            if not stat.S_ISREG(mode):
                raise DataError(
                    f"{path.relative_to(folder)} is a device or a pipe, not a file",
                    whose=str(folder),
                    fix="take it out of the folder",
                    code="data/not-a-file",
                )


def plain(error: Exception) -> str:
    """The message of an exception on one line of at most 200 letters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
