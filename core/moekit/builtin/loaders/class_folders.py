"""What the names of folders say of the images in them: a class, or a split and a class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from moekit.data.images import relative_id
from moekit.data.samples import SPLITS, split_name, split_notes
from moekit.data.survey import Survey
from moekit.errors import DataError
from moekit.text import few, many


class Place(NamedTuple):
    """Where an image lies.

    Attributes:
        split: Its split; None if the folders name none.
        name: Its class.
    """

    split: str | None
    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassLayout:
    """How the folders below a folder are meant.

    Attributes:
        splits: The split of each folder that was taken for one; empty if they are classes.
        notes: What was taken for granted.
    """

    splits: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """Which folders were taken for splits, for messages; empty if none was."""
        if not self.splits:
            return ""
        names = ", ".join(sorted(self.splits))
        return f" (taken for splits: {names}, since images lie two folders deep there)"

    def place(self, folder: PurePosixPath) -> object:
        """What a folder says of the images in it."""
        parts = folder.parts
        if not self.splits:
            return parts[:1]
        return self.splits.get(parts[0], parts[0]), parts[1:2]

    def place_of(self, image: PurePosixPath) -> Place | str:
        """The place of an image by its path below the folder, or why it has none."""
        parts = image.parts
        if not self.splits:
            return Place(None, parts[0]) if len(parts) > 1 else _OUTSIDE
        if parts[0] not in self.splits:
            return _OUTSIDE if len(parts) == 1 else "it lies outside the splits"
        if len(parts) < 3:
            return f"it lies in the split {parts[0]}, outside the class sub-folders"
        return Place(self.splits[parts[0]], parts[1])


_UNSURE = frozenset({"training", "trainval", "testing", "eval", "evaluation", "holdout"})
"""Names of folders that are no splits here, and probably meant so."""
_SHOWN = 5
"""Folders that a note names."""
_OUTSIDE = "it lies outside the class sub-folders"


def find_layout(survey: Survey) -> ClassLayout:
    """Tells classes from splits: splits are folders of such names with images two folders deep.

    Raises:
        DataError: All folders have names of splits and hold no class sub-folders, two folders mean
            one split, or one is called nearly as a split.
    """
    depths: dict[str, int] = {}
    for image in survey.images:
        parts = PurePosixPath(relative_id(image, survey.folder)).parts
        if len(parts) > 1:
            depths[parts[0]] = max(depths.get(parts[0], 0), len(parts))
    named = {name: split for name in depths if (split := split_name(name)) is not None}
    unsure = [name for name in depths if name.lower() in _UNSURE and depths[name] > 2]
    if unsure and len(named) + len(unsure) == len(depths):
        raise DataError(
            f"the folder {unsure[0]!r} seems to be a split, and is none of {', '.join(SPLITS)}",
            whose=str(survey.folder),
            fix="call it train, val or test",
            code="data/unknown-split",
        )
    if not any(depths[name] > 2 for name in named):
        if named and len(named) == len(depths):
            raise DataError(
                f"the folders {', '.join(sorted(named))} are splits and hold no class sub-folders",
                whose=str(survey.folder),
                fix="put the images into SPLIT/CLASS/IMAGE, or add a labels.csv with the columns "
                "path,label,split",
                code="data/no-image",
            )
        return ClassLayout(splits={}, notes=tuple(_taken_for_class(name) for name in sorted(named)))
    if len(set(named.values())) < len(named):
        raise DataError(
            f"several of the folders {', '.join(sorted(named))} mean the same split",
            whose=str(survey.folder),
            fix="keep one folder a split: train, val and test",
            code="data/unknown-split",
        )
    return ClassLayout(splits=named, notes=split_notes(named))


def empty_notes(survey: Survey, layout: ClassLayout) -> tuple[str, ...]:
    """A sentence on the folders in the place of a class that hold no picture, if there are any.

    Args:
        survey: What lies below the folder.
        layout: How its folders are meant.
    """
    depth = 2 if layout.splits else 1
    told = [PurePosixPath(name) for name, _ in (*survey.linked, *survey.outputs)]
    pictures = [PurePosixPath(relative_id(path, survey.folder)) for path in survey.pictures]
    known = {path.parts[:number] for path in (*told, *pictures) for number in (1, depth)}
    homes = [survey.folder, *(survey.folder / name for name in sorted(layout.splits))]
    empty = [
        name
        for home in homes
        if home.is_dir()
        for one in sorted(home.iterdir())
        if one.is_dir() and not one.name.startswith(".")
        if PurePosixPath(name := relative_id(one, survey.folder)).parts not in known
    ]
    if not empty:
        return ()
    words = many(len(empty), "folder holds", "folders hold")
    none = "is no class" if len(empty) == 1 else "are no classes"
    return (f"{words} no picture and {none} here: {few(empty, _SHOWN)}",)


def _taken_for_class(name: str) -> str:
    return f"the folder {name} is taken for a class, since images lie directly in it"
