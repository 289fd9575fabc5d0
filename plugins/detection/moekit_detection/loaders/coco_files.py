"""Files in COCO's format, their pictures and their categories, before annotations are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from moekit import DataError
from moekit.data import path_as_stored, relative_id, split_name
from moekit.files import parse_json, read_plain

_FIX = "write it again from the tool that made it; a COCO file has images, annotations, categories"
_LARGEST = 1e300
_KEYS = {"info", "licenses", "images", "annotations", "categories", "type"}
_NAMED = 5


def files_of_splits(source: Path, asked: str) -> dict[str, Path]:
    """The file of each split; of one file for all under the name "".

    Args:
        source: A file or a folder.
        asked: NAME of files NAME_SPLIT.json; empty for any.

    Raises:
        DataError: There is none, or a split has several.
    """
    if source.is_file():
        return {"": source}
    found: dict[str, list[Path]] = {}
    candidates = [*source.glob("*.json"), *source.glob("annotations/*.json")]
    for file in sorted(candidates):
        kind, _, last = file.stem.rpartition("_")
        split = split_name(last.rstrip("0123456789"))
        if split and (not asked or kind == asked):
            found.setdefault(split, []).append(file)
    if not asked:
        for file in sorted(source.glob("*/_annotations.coco.json")):
            split = split_name(file.parent.name)
            if split:
                found.setdefault(split, []).append(file)
        found = {split: _preferred(files) for split, files in found.items()}
    several = [files for files in found.values() if len(files) > 1]
    if several:
        raise DataError(
            f"{several[0][0].name} and {several[0][1].name} are files of one split",
            whose=str(source),
            fix="write ?annotations=NAME for the files NAME_SPLIT.json, or name one file",
            code="data/contradiction",
        )
    if not found:
        raise DataError(
            "there is no COCO file of a split, such as instances_train.json",
            whose=str(source),
            fix="name the folder with such files, or one JSON file",
            code="data/wrong-layout",
        )
    return {split: files[0] for split, files in sorted(found.items())}


def _preferred(files: list[Path]) -> list[Path]:
    """Of several files of a split those that are called instances_SPLIT.json, as COCO's own are."""
    own = [file for file in files if file.stem.rpartition("_")[0] == "instances"]
    return own or files


def read_coco(file: Path) -> dict[str, Any]:
    """The content of a file, which has the three lists.

    Raises:
        DataError: It is no JSON, has a key twice, or lacks one of them.
    """
    try:
        content = parse_json(read_plain(file).decode("utf-8-sig"), finite=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"it cannot be read as JSON ({error})",
            whose=str(file),
            fix=_FIX,
            code="data/bad-json",
        ) from error
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(part), list) and all(isinstance(one, dict) for one in content[part])
        for part in parts
    ):
        raise wrong_file(
            file, "it lacks a list of images, annotations or categories", code="data/wrong-layout"
        )
    return content


def unread_keys(held: Iterable[tuple[str, Path, Mapping[str, Any]]]) -> tuple[str, ...]:
    """A note for each file that holds more than the format has."""
    return tuple(
        f"keys of {file.name} that are not read: {', '.join(sorted(unread)[:_NAMED])}"
        for _, file, content in held
        for unread in [content.keys() - _KEYS]
        if unread
    )


def categories_of(held: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[Any, str]:
    """Names by category ids, in the order of the ids.

    Raises:
        DataError: An id or a name comes twice, or files of one set differ.
    """
    names: dict[Any, str] = {}
    for file, content in held:
        own: dict[Any, str] = {}
        for entry in content["categories"]:
            number, name = entry.get("id"), entry.get("name")
            if not is_whole(number) or not isinstance(name, str) or not name.strip():
                raise wrong_file(
                    file,
                    f"a category has the id {number!r} and the name {name!r}",
                    code="data/wrong-layout",
                )
            if number in own:
                raise wrong_file(
                    file, f"two categories have the id {number}", code="data/duplicate-id"
                )
            own[number] = name.strip()
        if names and own != names:
            raise DataError(
                "its categories are others than those of the other splits",
                whose=str(file),
                fix="write all files with the same categories",
                code="data/contradiction",
            )
        names = own
        if not names:
            raise wrong_file(file, "it has no category", code="data/class-list")
        twice = sorted({name for name in own.values() if list(own.values()).count(name) > 1})
        if twice:
            raise wrong_file(
                file, f"two categories are called {twice[0]!r}", code="data/class-list"
            )
    return {number: names[number] for number in sorted(names)}


def folders_of(file: Path, root: Path, split: str, options: Mapping[str, str]) -> list[Path]:
    """Where pictures are looked for, in that order.

    Raises:
        DataError: The option `images` names no folder.
    """
    asked = options.get("images")
    if asked is not None:
        given = root / asked if os.path.isdir(root / asked) else Path(asked)  # noqa: PTH112
        if not os.path.isdir(given):  # noqa: PTH112 - false for a name that no folder can have
            raise DataError(
                f"there is no folder {asked!r}",
                whose="the option 'images'",
                fix="name the folder of the pictures, from the data's own on or in full",
                code="data/not-found",
            )
        return [given]
    name = file.stem.rpartition("_")[2]
    folders = [file.parent]
    for base in dict.fromkeys((file.parent, root)):
        folders += [base / one for one in ("images", split, name, f"images/{split}") if one]
    return list(dict.fromkeys(folders))


def path_inside(text: str, file: Path) -> PurePosixPath:
    """The path of a picture below a folder.

    Raises:
        DataError: It leaves the folder.
    """
    name = PurePosixPath(text.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise wrong_file(file, f"the path {text!r} leaves the folder", code="data/bad-path")
    return name


def find_picture(name: PurePosixPath, folders: Sequence[Path]) -> Path:
    """Where a picture lies; in the first of the folders if it is nowhere, so that it is named."""
    for folder in folders:
        path = path_as_stored(folder, name)
        if os.path.isfile(path):  # noqa: PTH113 - false for a name that no file can have
            return path
    return folders[0] / name


def id_of(path: Path, text: str, root: Path) -> str:
    """The id of a picture: its path below the set's folder, or as it is written if it is not."""
    return relative_id(path, root) if path.is_relative_to(root) else text


def licences_of(held: Iterable[Mapping[str, Any]]) -> str:
    """The names of the licences that files list; "unknown" if they list none."""
    names = {
        str(one["name"])
        for content in held
        if isinstance(content.get("licenses"), list)
        for one in content["licenses"]
        if isinstance(one, dict) and one.get("name")
    }
    return "; ".join(sorted(names)) or "unknown"


def is_whole(value: Any) -> bool:
    """Whether a value of JSON is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and -_LARGEST < value < _LARGEST


def wrong_file(file: Path, what: str, *, code: str) -> DataError:
    """The error of a file."""
    return DataError(what, whose=str(file), fix=_FIX, code=code)
