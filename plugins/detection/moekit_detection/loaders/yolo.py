"""The loader `yolo=PATH[?options]`: a text file of boxes for each picture, as YOLO's tools write.

A line is `class cx cy width height`, shares of the picture's sides from 0 to 1; or `class x y x y
...`, an outline. The format is described at docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]
from PIL import Image

from moekit import DataError, Dataset, DatasetSpec
from moekit.data import (
    Survey,
    none_usable,
    parse_source,
    path_as_stored,
    relative_id,
    split_name,
    survey_folder,
)
from moekit.files import read_plain
from moekit_detection.example import drawn_splits
from moekit_detection.loaders.pictures import OPTIONS, About, Picture, dataset_of, read_headers
from moekit_detection.loaders.repairs import Repairs, Shape

IMAGES, LABELS = "images", "labels"
_OPTIONS = (*OPTIONS, "classes")
_LISTS = ("classes.txt", "obj.names", "labels/classes.txt")
_CONFIGS = ("data.yaml", "data.yml", "dataset.yaml")
_SLACK = 0.01
"""How far beyond 0 and 1 a share may lie, as roundings make it."""


def load_yolo(path: Path | None, seed: int) -> Dataset:
    """Reads pictures with boxes from text files.

    PATH is a folder, or its `data.yaml`. Label files lie where the pictures do, with `images` of
    their path replaced by `labels` and the ending `.txt`; or next to the picture. A folder above a
    picture that is called as a split gives its split. Names of the classes come from the `names` of
    `data.yaml`, from `classes.txt` or `obj.names`, or from the option.

    Options: `classes=NAME,NAME,...`; `test=val`; `shots=K`.

    Args:
        path: Folder or file, with options.
        seed: Of the splits that are not given.

    Raises:
        DataError: There is no picture, label file or list of classes; a line is none of the two
            kinds, has a class that is not listed, or numbers that are no shares.
    """
    source, options = parse_source(
        path, known=_OPTIONS, missing="name the folder with images/ and labels/, or its data.yaml"
    )
    root = source if source.is_dir() else source.parent
    classes = _classes(root, source, options)
    survey = survey_folder(root)
    repairs = Repairs()
    used: set[Path] = set()
    pictures = []
    headers = read_headers(survey.images)
    for file, header in zip(survey.images, headers, strict=True):
        labels = _label_file(file, root)
        name = relative_id(file, root)
        shapes: tuple[Shape, ...] = ()
        if labels is None:
            repairs.add("no label file", name)
        else:
            if labels in used:
                repairs.add("shared label file", name)
            used.add(labels)
            shapes = _shapes(labels, header.size, len(classes), repairs)
        pictures.append(
            Picture(
                id=name,
                path=file,
                shapes=shapes,
                size=header.size,
                split=_split(name),
                header=header,
            )
        )
    _check(pictures, used, root, repairs, survey)
    about = About(
        name=root.resolve().name,
        classes=classes,
        source=f"YOLO labels of {len(used)} pictures",
        skipped=survey.skipped,
    )
    return dataset_of(pictures, about, repairs, seed=seed, options=options)


def _classes(root: Path, source: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    given = options.get("classes")
    if given is not None:
        return _named(given.split(","), "the option 'classes'")
    configs = [source] if source.is_file() else [root / name for name in _CONFIGS]
    for file in configs:
        if file.is_file():
            return _named(_names_of(file), str(file))
    for name in _LISTS:
        if (root / name).is_file():
            return _named(_text(root / name).splitlines(), str(root / name))
    raise DataError(
        "there is no list of classes (data.yaml, classes.txt or obj.names)",
        whose=str(root),
        fix="add classes.txt with a name a line, or write ?classes=NAME,NAME after the path",
        code="data/class-list",
    )


def _names_of(file: Path) -> list[str]:
    """The `names` of a data.yaml: a list, or names by numbers from 0 on.

    They are taken as they are written: `NO` is a name and not false. Nothing is built of what else
    the file holds.
    """
    try:
        root = yaml.compose(_text(file), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise _unreadable(file, str(error) or "its values lie too deep") from error
    if not isinstance(root, yaml.MappingNode):
        raise _unreadable(file, "it holds no names of values")
    entries = [(key.value, value) for key, value in root.value if key.value in ("names", "nc")]
    found = dict(entries)
    if len(found) < len(entries):
        raise _contradiction(file, "it holds `names` or `nc` twice")
    names = _texts(found.get("names"))
    if names is None:
        raise DataError(
            "it has no `names`: neither a list, nor names by 0, 1, 2 and so on",
            whose=str(file),
            fix="add them, or write ?classes=NAME,NAME after the path",
            code="data/class-list",
        )
    count = found["nc"].value if "nc" in found else None
    if count is not None and count != str(len(names)):
        raise _contradiction(file, f"`nc` is {str(count)[:20]}, and it has {len(names)} `names`")
    return names


def _texts(node: Any) -> list[str] | None:
    """The texts of a list of YAML, or of a mapping by numbers from 0 on; None of anything else."""
    if isinstance(node, yaml.MappingNode):
        by_number = {
            key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)
        }  # a number that is there twice leaves another one out
        found = [by_number.get(str(number)) for number in range(len(node.value))]
    elif isinstance(node, yaml.SequenceNode):
        found = node.value
    else:
        return None
    texts = [one.value for one in found if isinstance(one, yaml.ScalarNode)]
    return texts if len(texts) == len(found) else None


def _unreadable(file: Path, why: str) -> DataError:
    return DataError(
        f"it cannot be read as YAML ({why})",
        whose=str(file),
        fix="correct it, or write ?classes=NAME,NAME after the path",
        code="data/unreadable",
    )


def _contradiction(file: Path, what: str) -> DataError:
    return DataError(
        what,
        whose=str(file),
        fix="write each once, and the number of names as `nc`",
        code="data/contradiction",
    )


def _named(names: Sequence[str], whose: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in names)
    while found and not found[-1]:
        found = found[:-1]
    if not found or not all(found) or len(set(found)) < len(found):
        raise DataError(
            "the list of classes is empty, has an empty name, or one twice",
            whose=whose,
            fix="give each class a name of its own, in the order of their numbers",
            code="data/class-list",
        )
    return found


def _text(file: Path) -> str:
    try:
        return read_plain(file).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"it cannot be read as text ({error})",
            whose=str(file),
            fix="save it as UTF-8",
            code="data/unreadable",
        ) from error


def _label_file(file: Path, root: Path) -> Path | None:
    """The label file of a picture, or None."""
    below = file.relative_to(root)
    places = [place for place, part in enumerate(below.parts[:-1]) if part == IMAGES]
    candidates = [below]
    if places:
        parts = list(below.parts)
        parts[places[-1]] = LABELS
        candidates.insert(0, Path(*parts))
    paths = (path_as_stored(root, PurePosixPath(one.with_suffix(".txt"))) for one in candidates)
    # False for a name that no file can have, for which Path.is_file raises.
    return next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113


def _split(name: str) -> str | None:
    """The split that a folder above a picture is called by."""
    found = [split for part in PurePosixPath(name).parts[:-1] if (split := split_name(part))]
    return found[-1] if found else None


def _shapes(
    labels: Path, size: tuple[int, int] | None, classes: int, repairs: Repairs
) -> tuple[Shape, ...]:
    height, width = size or (1, 1)  # of a picture that is left out
    scale = np.array([width, height])
    shapes = []
    for number, line in enumerate(_text(labels).splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        name, outline = f"{labels.name}, line {number}", None
        label, values = _numbers(cells, labels, number, classes)
        if not all(map(math.isfinite, values)):
            repairs.add("not a number", name)
            continue
        if len(values) > 4:
            repairs.add("polygon", name)
            points = np.reshape(values, (-1, 2))
            low, high = points.min(0), points.max(0)
            outline = [(points * scale).reshape(-1).tolist()]
        else:
            middle, sides = np.reshape(values, (2, 2))
            low, high = middle - sides / 2, middle + sides / 2
        pixels = np.concatenate([low, high - low]) * np.tile(scale, 2)
        x, y, width, height = pixels.tolist()
        shapes.append(Shape(box=(x, y, width, height), label=label, name=name, outline=outline))
    return tuple(shapes)


def _numbers(
    cells: Sequence[str], labels: Path, number: int, classes: int
) -> tuple[int, list[float]]:
    """The class and the shares of a line."""
    try:
        values = [float(cell) for cell in cells]
    except ValueError as error:
        raise _fault(labels, number, f"{error}", code="data/bad-line") from error
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        what = f"it has {len(values)} numbers, neither 5 nor a class and at least 3 points"
        raise _fault(labels, number, what, code="data/row-length")
    label = values[0]
    if not math.isfinite(label) or label != int(label):
        raise _fault(labels, number, f"the class is {cells[0]}", code="data/bad-line")
    if not 0 <= label < classes:
        what = f"the class {int(label)} is not listed; there are {classes}, from 0 on"
        raise _fault(labels, number, what, code="data/unknown-class")
    known = [value for value in values[1:] if math.isfinite(value)]
    if any(not -_SLACK <= value <= 1 + _SLACK for value in known):
        odd = max(known, key=abs)
        raise _fault(
            labels,
            number,
            f"{odd:g} is no share from 0 to 1 of the picture's side",
            code="data/not-shares",
        )
    return int(label), values[1:]


def _fault(labels: Path, number: int, what: str, *, code: str) -> DataError:
    return DataError(
        f"the line cannot be used: {what}",
        whose=f"{labels}, line {number}",
        fix="write `class cx cy width height`, shares of the picture's sides; pixels are divided "
        "by the width and the height",
        code=code,
    )


def _check(
    pictures: Sequence[Picture], used: set[Path], root: Path, repairs: Repairs, survey: Survey
) -> None:
    if not pictures or not used:
        what = none_usable(survey.skipped, of="pictures")
        raise DataError(
            "there is no label file of a picture" if pictures else what,
            whose=str(root),
            fix=f"put pictures into {IMAGES}/ and label files of the same names into {LABELS}/",
            code="data/wrong-layout",
        )
    folders = {file.parent for file in used}
    known = used | {_label_file(file, root) for file in survey.unread}
    for file in sorted(one for folder in folders for one in folder.glob("*.txt")):
        if file not in known and file.name not in {Path(name).name for name in _LISTS}:
            repairs.add("lone label file", file.name)
    lacking = [one.id for one in pictures if one.split is None]
    if lacking and len(lacking) < len(pictures):
        raise DataError(
            f"{len(lacking)} pictures lie in no folder of a split, such as {lacking[0]}; the "
            "others do",
            whose=str(root),
            fix="put all into train/, val/ and test/, or none",
            code="data/half-filled",
        )


def write_example(folder: Path) -> Path:
    """Writes 16 small pictures of a square and a disc each, split, with label files."""
    for split, drawn in drawn_splits():
        for part in (IMAGES, LABELS):
            (folder / part / split).mkdir(parents=True)
        for name, pixels, objects in drawn:
            Image.fromarray(pixels).save(folder / IMAGES / split / f"{name}.png")
            size = np.tile(pixels.shape[1::-1], 2)
            middle = objects.box_G4[:, :2] + objects.box_G4[:, 2:] / 2
            shares = np.concatenate([middle, objects.box_G4[:, 2:]], 1) / size
            lines = [
                " ".join([str(label), *(f"{share:.6f}" for share in row)])
                for label, row in zip(objects.label_G.tolist(), shares.tolist(), strict=True)
            ]
            (folder / LABELS / split / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text("names:\n  0: square\n  1: disc\n", encoding="utf-8")
    return folder


YOLO = DatasetSpec(
    name="yolo",
    load=load_yolo,
    summary="boxes as YOLO's tools write them: a text file of shares for each picture",
    takes_path="required",
    licence="yours",
    example=write_example,
)
