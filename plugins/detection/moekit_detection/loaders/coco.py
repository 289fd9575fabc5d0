"""The loader `coco=PATH[?options]`: boxes in COCO's format, a JSON file for each split or for all.

Lin et al. 2014, arXiv:1405.0312; the format is described at cocodataset.org/#format-data.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moekit import DataError, Dataset, DatasetSpec
from moekit.data import parse_source, split_name, unlisted_notes
from moekit.files import to_json
from moekit_detection.example import drawn_splits
from moekit_detection.loaders.coco_files import (
    categories_of,
    files_of_splits,
    find_picture,
    folders_of,
    id_of,
    is_number,
    is_whole,
    licences_of,
    path_inside,
    read_coco,
    unread_keys,
    wrong_file,
)
from moekit_detection.loaders.masks import box_of_runs
from moekit_detection.loaders.pictures import OPTIONS, About, Picture, dataset_of
from moekit_detection.loaders.repairs import Repairs, Shape

_OPTIONS = (*OPTIONS, "images", "annotations", "group")
_NAMED = 3


def load_coco(path: Path | None, seed: int) -> Dataset:
    """Reads pictures with boxes in COCO's format.

    Masks, as polygons or run lengths, are kept for the task `instances`.

    PATH is a JSON file, whose pictures are split by seed unless each entry has a `split`; or a
    folder with a file for each split: `instances_train.json`, `annotations/instances_val2017.json`
    or `train/_annotations.coco.json`. Pictures are looked for by `file_name` next to the JSON file,
    in `images/`, in a folder of the split's name, and next to the folder of the JSON file. An entry
    of a picture may have a `group`. A box that is missing is made from the polygons.

    Options: `images=FOLDER`; `annotations=NAME` for files `NAME_SPLIT.json` if there are several
    kinds; `group=KEY`, the key of a picture's entry that names its group; `test=val`; `shots=K`.

    Args:
        path: Folder or file, with options.
        seed: Of the splits that are not given.

    Raises:
        DataError: There is no such file, it is none in COCO's format, an id or a name comes twice
            if that leaves open what is meant, an annotation is of an unknown category, or
            nothing can be used.
    """
    source, options = parse_source(
        path, known=_OPTIONS, missing="name a COCO JSON file, or a folder with instances_train.json"
    )
    root = source if source.is_dir() else source.parent
    files = files_of_splits(source, options.get("annotations", ""))
    repairs = Repairs()
    held = [(split, file, read_coco(file)) for split, file in files.items()]
    kinds = categories_of([(file, content) for _, file, content in held])
    pictures: list[Picture] = []
    for split, file, content in held:
        folders = folders_of(file, root, split, options)
        given = (split or "") or None
        pictures += _pictures(content, file, folders, root, given, kinds, repairs, options)
    _check_splits(pictures, source)
    about = About(
        name=root.resolve().name,
        classes=tuple(kinds.values()),
        source=f"COCO annotations: {', '.join(file.name for file in files.values())}",
        licence=licences_of(content for _, _, content in held),
        notes=(*unlisted_notes(picture.path for picture in pictures), *unread_keys(held)),
    )
    return dataset_of(pictures, about, repairs, seed=seed, options=options)


def _pictures(
    content: Mapping[str, Any],
    file: Path,
    folders: Sequence[Path],
    root: Path,
    split: str | None,
    kinds: Mapping[Any, str],
    repairs: Repairs,
    options: Mapping[str, str],
) -> list[Picture]:
    labels = {number: label for label, number in enumerate(kinds)}
    shapes: dict[Any, list[Shape]] = {}
    for entry in content["images"]:
        number = entry.get("id")
        if not isinstance(number, int | str) or isinstance(number, bool):
            raise wrong_file(file, f"an image has the id {number!r}", code="data/wrong-layout")
        if number in shapes:
            raise wrong_file(file, f"two images have the id {number!r}", code="data/duplicate-id")
        shapes[number] = []
    _check_kinds(content["annotations"], labels, file)
    seen: set[Any] = set()
    for place, entry in enumerate(content["annotations"]):
        name = f"annotation {entry.get('id', place)!r} of {file.name}"
        own = shapes.get(_plain(entry.get("image_id")))
        if own is None:
            repairs.add("no picture", name)
            continue
        number = _plain(entry.get("id"))
        if number is not None and number in seen:
            repairs.add("same id", name)
        seen.add(number)
        shape = _shape(entry, labels[entry["category_id"]], name, repairs)
        if shape is not None:
            own.append(shape)
    find = functools.partial(find_picture, folders=folders)
    key = options.get("group", "group")
    made = []
    for entry in content["images"]:
        text = entry.get("file_name")
        if not isinstance(text, str) or not text.strip():
            raise wrong_file(
                file, f"the image {entry['id']!r} has no file_name", code="data/wrong-layout"
            )
        where = find(path_inside(text, file))
        made.append(
            Picture(
                id=id_of(where, text, root),
                path=where,
                shapes=tuple(shapes[entry["id"]]),
                size=_size(entry),
                split=_split(entry, file, split, repairs),
                group=_text(entry.get(key)),
                truth={"image_id": entry["id"], "category_ids": tuple(kinds)},
            )
        )
    if "group" in options and not any(picture.group for picture in made):
        raise DataError(
            f"no image of {file.name} has the key {key!r}",
            whose="the option 'group'",
            fix="name a key of the entries of images",
            code="data/bad-option",
        )
    return made


def _check_kinds(
    entries: Iterable[Mapping[str, Any]], labels: Mapping[Any, int], file: Path
) -> None:
    unknown: dict[str, int] = {}
    for entry in entries:
        number = entry.get("category_id")
        if not is_whole(number) or number not in labels:
            unknown[repr(number)] = unknown.get(repr(number), 0) + 1
    if unknown:
        told = ", ".join(f"{one} ({count} times)" for one, count in list(unknown.items())[:_NAMED])
        raise DataError(
            f"annotations are of categories that are not listed: {told}",
            whose=str(file),
            fix=f"list them among the categories ({len(labels)} are), or correct category_id",
            code="data/unknown-class",
        )


def _shape(entry: Mapping[str, Any], label: int, name: str, repairs: Repairs) -> Shape | None:
    box = entry.get("bbox")
    if not box:
        box = _around(entry.get("segmentation"))
        repairs.add("no box" if box is None else "polygon", name)
        if box is None:
            return None
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        repairs.add("not a number", name)
        return None
    area = entry.get("area")
    if area is not None and not is_number(area):
        area = float("nan")
    x, y, width, height = map(float, box)
    return Shape(
        box=(x, y, width, height),
        label=label,
        crowd=_is_crowd(entry.get("iscrowd"), name, repairs),
        area=None if area is None else float(area),
        name=name,
        outline=entry.get("segmentation"),
    )


def _is_crowd(value: Any, name: str, repairs: Repairs) -> bool:
    if value not in (None, "", 0, 1, "0", "1"):
        repairs.add("crowd", name)
    return value in (1, "1")


def _around(polygons: Any) -> list[float] | None:
    """The box around polygons of x, y, x, y, ..., or run lengths; None of anything else."""
    if isinstance(polygons, dict):
        return box_of_runs(polygons)
    if not isinstance(polygons, list) or not polygons:
        return None
    try:
        points = np.concatenate(
            [np.asarray(one, dtype=np.float64).reshape(-1, 2) for one in polygons]
        )
    except (TypeError, ValueError):
        return None
    if not len(points) or not np.isfinite(points).all():
        return None
    low, high = points.min(0), points.max(0)
    return [*low.tolist(), *(high - low).tolist()]


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height", 0), entry.get("width", 0)
    if not is_number(height) or not is_number(width) or min(height, width) <= 0:
        return None
    return round(height), round(width)


def _split(
    entry: Mapping[str, Any], file: Path, of_file: str | None, repairs: Repairs
) -> str | None:
    given = entry.get("split")
    if given is None:
        return of_file
    split = split_name(str(given))
    if of_file is not None:
        if split != of_file:
            repairs.add("other split", f"image {entry['id']!r} of {file.name}")
        return of_file
    if split is None:
        raise wrong_file(file, f"an image is in the split {given!r}", code="data/unknown-split")
    return split


def _check_splits(pictures: Sequence[Picture], source: Path) -> None:
    lacking = [one.id for one in pictures if one.split is None]
    if lacking and len(lacking) < len(pictures):
        raise DataError(
            f"{len(lacking)} pictures have no split, such as {lacking[0]}; the others have one",
            whose=str(source),
            fix="give each entry of images a split, or none",
            code="data/half-filled",
        )
    grouped = [one for one in pictures if one.group is not None]
    if grouped and len(grouped) < len(pictures):
        raise DataError(
            f"{len(pictures) - len(grouped)} pictures have no group; the others have one",
            whose=str(source),
            fix="give each entry of images a group, or none",
            code="data/half-filled",
        )


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _plain(value: Any) -> Any:
    """A value that can be a key; None of any other."""
    return value if isinstance(value, int | str) else None


def write_example(folder: Path) -> Path:
    """Writes 16 small pictures of a square and a disc each, split, as COCO files."""
    (folder / "images").mkdir()
    for split, drawn in drawn_splits():
        images, annotations = [], []
        for stem, pixels, objects in drawn:
            number = int(stem)
            Image.fromarray(pixels).save(folder / "images" / f"{stem}.png")
            images.append(
                {
                    "id": number,
                    "file_name": f"{stem}.png",
                    "height": pixels.shape[0],
                    "width": pixels.shape[1],
                }
            )
            annotations += [
                {
                    "id": 10 * number + place,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
                for place, (box, label) in enumerate(
                    zip(objects.box_G4.tolist(), objects.label_G.tolist(), strict=True)
                )
            ]
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}],
        }
        (folder / f"instances_{split}.json").write_text(to_json(content), encoding="utf-8")
    return folder


COCO = DatasetSpec(
    name="coco",
    load=load_coco,
    summary="boxes in COCO's format: a JSON file for each split, or one for all",
    takes_path="required",
    licence="yours",
    example=write_example,
)
