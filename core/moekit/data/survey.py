"""All that lies below a folder of pictures: what is read, what is not, and what is there twice."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from moekit.data.images import relative_id, sort_below
from moekit.data.samples import Skipped
from moekit.data.suffixes import is_image_name, why_unread
from moekit.data.walk import walk_files
from moekit.errors import DataError
from moekit.outputs import outputs_note


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """What lies below a folder.

    Attributes:
        folder: The folder.
        images: The picture files that are read, as `find_images` gives them.
        unread: The picture files that are not read, each with the reason, in the same order.
        linked: Folders that were met again by another name, with the name by which their files are
            read. Paths below the folder. A link to a folder around it is none of them.
        outputs: Folders that moekit wrote, which are passed over, by their paths below the folder,
            with what each is.
    """

    folder: Path
    images: tuple[Path, ...]
    unread: Mapping[Path, str]
    linked: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...] = ()

    @property
    def pictures(self) -> list[Path]:
        """All picture files, read or not, in the order of `find_images`."""
        if not self.unread:
            return list(self.images)
        paths = [str(path) for path in (*self.images, *self.unread)]
        return [Path(path) for path in sort_below(self.folder, paths)]

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The picture files that are not read, as a data set names them."""
        return tuple(
            Skipped(id=relative_id(path, self.folder), reason=reason)
            for path, reason in self.unread.items()
        )

    def check_linked(self, place: Callable[[PurePosixPath], object], *, whose: str) -> list[str]:
        """Refuses folders that are the same folder and would say different things of their files.

        Args:
            place: What a folder says of its files, such as their class, by its path below the
                folder.
            whose: What an error names.

        Returns:
            A sentence on each of the others, whose files are read once, and one on the folders that
            moekit wrote.

        Raises:
            DataError: One folder stands in two places.
        """
        notes = list(outputs_note(self.outputs))
        for again, first in self.linked:
            if place(PurePosixPath(again)) != place(PurePosixPath(first)):
                raise DataError(
                    f"{again} and {first} are one folder (a link), so the same files lie in both",
                    whose=whose,
                    fix="put other files into one of them, or remove the link",
                    code="data/same-folder",
                )
            notes.append(f"{again} is the folder {first} (a link); its files are read once")
        return notes


def survey_folder(folder: Path) -> Survey:
    """Looks through a folder once.

    Raises:
        DataError: The folder, or one below it, is missing or cannot be listed.
    """
    images: list[str] = []
    unread: dict[str, str] = {}
    linked: list[tuple[str, str]] = []
    outputs: list[tuple[str, str]] = []

    def output(here: str, kind: str) -> None:
        outputs.append((_below(here, folder), kind))

    def again(here: str, first: str) -> None:
        linked.append((_below(here, folder), _below(first, folder)))

    for path, reason in _pictures(folder, again, output):
        if reason is None:
            images.append(path)
        else:
            unread[path] = reason
    return Survey(
        folder=folder,
        images=tuple(map(Path, sort_below(folder, images))),
        unread={Path(path): unread[path] for path in sort_below(folder, list(unread))},
        linked=tuple(sorted(linked)),
        outputs=tuple(sorted(outputs)),
    )


def picture_paths(folder: Path, *, outputs: list[tuple[str, str]] | None = None) -> list[str]:
    """The paths of `Survey.pictures` as text, at a small part of its cost.

    Args:
        folder: The folder.
        outputs: Takes what `Survey.outputs` holds, but with whole paths.

    Raises:
        DataError: The folder, or one below it, is missing or cannot be listed.
    """
    found = [] if outputs is None else outputs

    def output(here: str, kind: str) -> None:
        found.append((here, kind))

    return sort_below(folder, [path for path, _ in _pictures(folder, output=output)])


def _pictures(
    folder: Path,
    again: Callable[[str, str], None] | None = None,
    output: Callable[[str, str], None] | None = None,
) -> Iterator[tuple[str, str | None]]:
    """Each picture file, unsorted, and why it is not read; None if it is read."""
    for here, name in walk_files(folder, again=again, output=output):
        path = os.path.join(here, name)  # noqa: PTH118
        if is_image_name(name):
            yield path, None
        elif (reason := why_unread(Path(path))) is not None:
            yield path, reason


def none_usable(skipped: Sequence[Skipped], *, of: str = "images") -> str:
    """Words on a set of which nothing is left, with the first reason."""
    if not skipped:
        return f"there are no {of}"
    return (
        f"none of the {len(skipped)} {of} can be used, such as {skipped[0].id}: {skipped[0].reason}"
    )


def _below(here: str, folder: Path) -> str:
    return Path(os.path.relpath(here, folder)).as_posix()
