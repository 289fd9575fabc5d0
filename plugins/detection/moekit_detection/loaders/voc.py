"""The loader `voc=PATH[?options]`: boxes as XML files, as of the PASCAL VOC challenge.

Everingham et al. 2010, International Journal of Computer Vision 88:303-338. Its corners count
pixels from 1, and the last one belongs to the box: a box from 1 to 10 is 10 pixels wide.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from PIL import Image

from moekit import DataError, Dataset, DatasetSpec, Skipped
from moekit.data import (
    composed,
    is_image_name,
    parse_source,
    relative_id,
    split_name,
    survey_folder,
    walk_files,
)
from moekit.files import parse_xml, read_plain
from moekit_detection.example import drawn_splits
from moekit_detection.loaders.pictures import OPTIONS, About, Picture, dataset_of
from moekit_detection.loaders.repairs import Repairs, Shape

ANNOTATIONS, PICTURES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"
_USUAL = (PICTURES, "images")
"""Folders in which pictures are looked for first."""
_OPTIONS = (*OPTIONS, "classes", "difficult", "origin")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ROOT = "annotation"
_YES = ("1", "true", "yes")


class _Object(NamedTuple):
    """One object as it is written."""

    class_name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    name: str


class _Annotated(NamedTuple):
    """One XML file."""

    path: Path
    size: tuple[int, int] | None
    objects: tuple[_Object, ...]


def load_voc(path: Path | None, seed: int) -> Dataset:
    """Reads pictures with boxes from XML files.

    PATH is a folder with `Annotations/*.xml`; pictures of the same name lie in `JPEGImages/`, in
    `images/` or anywhere below. Lists of names in `ImageSets/Main/train.txt`, `val.txt`,
    `test.txt` and `trainval.txt` give the splits; what is in no list is left out, as is a picture
    without an XML file. If any corner of
    the set is 0, pixels are counted from 0 and the last one does not belong to the box.

    Options: `classes=NAME,NAME,...` in place of all names in the order of the alphabet;
    `difficult=crowd` (neither missed nor false, which is the default), `keep` or `drop`;
    `origin=1` or `origin=0` says how pixels are counted; `test=val`; `shots=K`.

    Args:
        path: Folder, with options.
        seed: Of the splits that are not given.

    Raises:
        DataError: There is no XML file, one is damaged or lacks a name or a corner, or an object
            is of a class that is not listed.
    """
    root, options = parse_source(
        path, known=_OPTIONS, missing=f"name the folder with {ANNOTATIONS}/ and {PICTURES}/"
    )
    difficult = _choice(options, "difficult", ("crowd", "keep", "drop"))
    folder = root / ANNOTATIONS if (root / ANNOTATIONS).is_dir() else root
    files = sorted(
        Path(here, name) for here, name in walk_files(folder) if name.lower().endswith(".xml")
    )
    if not files:
        raise DataError(
            "there is no XML file of annotations",
            whose=str(root),
            fix=f"name the folder with {ANNOTATIONS}/ and {PICTURES}/",
            code="data/wrong-layout",
        )
    held = [_read(file) for file in files]
    classes = _classes(held, options)
    from_one, notes = _origin(held, options)
    repairs = Repairs()
    splits = _splits(root)
    survey = survey_folder(root)
    found = _by_stem(root, survey.images)
    unread = {_stem(file): reason for file, reason in survey.unread.items()}
    pictures: list[Picture] = []
    skipped: list[Skipped] = []
    for one in held:
        stem = _stem(one.path)
        split = splits.get(stem)
        if splits and split is None:
            skipped.append(Skipped(id=stem, reason=f"it is in no list of {SETS}/"))
        elif stem not in found:
            reason = unread.get(stem, "there is no picture of its name")
            skipped.append(Skipped(id=stem, reason=reason, split=split))
        else:
            shapes = [_shape(each, classes, from_one, difficult, repairs) for each in one.objects]
            pictures.append(
                Picture(
                    id=relative_id(found[stem], root),
                    path=found[stem],
                    shapes=tuple(shape for shape in shapes if shape is not None),
                    size=one.size,
                    split=split,
                )
            )
    known = {_stem(one.path) for one in held}
    skipped += [
        Skipped(id=name, reason="it is listed, and there is no XML file of its name", split=split)
        for name, split in sorted(splits.items())
        if name not in known
    ]
    skipped += [
        Skipped(id=relative_id(path, root), reason="there is no XML file of its name")
        for stem, path in sorted(found.items())
        if stem not in known and stem not in splits
    ]
    about = About(
        name=root.resolve().name,
        classes=classes,
        source=f"VOC annotations of {len(held)} pictures",
        notes=notes,
        skipped=tuple(skipped),
    )
    return dataset_of(pictures, about, repairs, seed=seed, options=options)


def _by_stem(root: Path, images: Sequence[Path]) -> dict[str, Path]:
    """Pictures by their names without the ending; those of the usual folders go before others."""

    def rank(file: Path) -> int:
        first = file.relative_to(root).parts[0]
        return _USUAL.index(first) if first in _USUAL else len(_USUAL)

    found: dict[str, Path] = {}
    for file in sorted(images, key=rank):
        found.setdefault(_stem(file), file)
    return found


def _stem(file: Path) -> str:
    """The name of a file without the ending, in one Unicode form; see `path_as_stored`."""
    return composed(file.stem)


def _choice(options: Mapping[str, str], name: str, known: Sequence[str]) -> str:
    given = options.get(name, known[0])
    if given not in known:
        raise DataError(
            f"{given!r} is none of {', '.join(known)}",
            whose=f"the option {name!r}",
            fix="write one of them",
            code="data/bad-option",
        )
    return given


def _read(file: Path) -> _Annotated:
    try:
        tree = parse_xml(read_plain(file))
    except (OSError, ValueError) as error:
        raise _fault(file, f"it cannot be read as XML ({error})", code="data/unreadable") from error
    if tree.tag.lower() != _ROOT:
        what = f"its root is {tree.tag[:40]!r}, not {_ROOT!r}"
        raise _fault(file, what, code="data/wrong-layout")
    _check_single(tree, ("size",), file, "the file")
    objects = tuple(
        _object(entry, file, place) for place, entry in enumerate(tree.findall("object"), start=1)
    )
    return _Annotated(path=file, size=_size(tree), objects=objects)


def _object(entry: ElementTree.Element, file: Path, place: int) -> _Object:
    _check_single(entry, ("name", "bndbox", "difficult"), file, f"object {place}")
    class_name = (entry.findtext("name") or "").strip()
    if not class_name:
        raise _fault(file, f"object {place} has no name", code="data/wrong-layout")
    box = entry.find("bndbox")
    if box is not None:
        _check_single(box, _CORNERS, file, f"the box of object {place}")
    values = []
    for corner in _CORNERS:
        text = None if box is None else box.findtext(corner)
        try:
            values.append(float(text or ""))
        except ValueError as error:
            what = f"object {place} ({class_name}) has the {corner} {text!r}"
            raise _fault(file, what, code="data/bad-box") from error
    return _Object(
        class_name=class_name,
        corners=(values[0], values[1], values[2], values[3]),
        difficult=(entry.findtext("difficult") or "0").strip().lower() in _YES,
        name=f"object {place} of {file.name}",
    )


def _check_single(entry: ElementTree.Element, names: Sequence[str], file: Path, whose: str) -> None:
    """Refuses what stands twice where the format has it once: which of them is meant?"""
    twice = next((name for name in names if len(entry.findall(name)) > 1), None)
    if twice is not None:
        raise _fault(file, f"{whose} has {twice} twice", code="data/contradiction")


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        height, width = (int(tree.findtext(f"size/{side}") or 0) for side in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if min(height, width) > 0 else None


def _classes(held: Sequence[_Annotated], options: Mapping[str, str]) -> tuple[str, ...]:
    first_of = {each.class_name: one.path for one in reversed(held) for each in one.objects}
    given = options.get("classes")
    if given is None:
        return tuple(sorted(first_of)) or ("object",)
    names = tuple(name.strip() for name in given.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise DataError(
            "a name is empty, or comes twice",
            whose="the option 'classes'",
            fix="write each class once",
            code="data/class-list",
        )
    unknown = sorted(set(first_of) - set(names))
    if unknown:
        raise _fault(
            first_of[unknown[0]],
            f"an object is of the class {unknown[0]!r}, which is not listed "
            f"({len(unknown)} such classes)",
            code="data/unknown-class",
        )
    return names


def _origin(held: Sequence[_Annotated], options: Mapping[str, str]) -> tuple[bool, tuple[str, ...]]:
    """Whether pixels are counted from 1, and a sentence on it if it was found by the data."""
    if "origin" in options:
        return _choice(options, "origin", ("1", "0")) == "1", ()
    zeros = [each for one in held for each in one.objects if min(each.corners[:2]) == 0]
    if not zeros:
        return True, ()
    return False, (
        f"{zeros[0].name} begins at 0, so pixels are counted from 0 in all files; if it is a slip "
        "and they are counted from 1, write ?origin=1",
    )


def _shape(
    each: _Object, classes: Sequence[str], from_one: bool, difficult: str, repairs: Repairs
) -> Shape | None:
    if each.difficult and difficult == "drop":
        return None
    if each.difficult and difficult == "crowd":
        repairs.add("difficult", each.name)
    left, top, right, bottom = each.corners
    left, top = (left - 1, top - 1) if from_one else (left, top)
    return Shape(
        box=(left, top, right - left, bottom - top),
        label=classes.index(each.class_name),
        crowd=each.difficult and difficult == "crowd",
        name=each.name,
    )


def _splits(root: Path) -> dict[str, str]:
    """The split of each name that is listed; empty without lists."""
    folder = root / SETS
    listed: dict[str, str] = {}
    lists = {file.stem: file for file in folder.glob("*.txt")} if folder.is_dir() else {}
    given = {name: file for name, file in lists.items() if split_name(name)}
    if "trainval" in lists and "train" not in given:
        given["train"] = lists["trainval"]
    for stem, file in sorted(given.items()):
        split = split_name(stem)
        assert split is not None
        for line in _lines_of(file):
            if not line.strip():
                continue
            name = _listed_name(line)
            if listed.setdefault(name, split) != split:
                raise _fault(
                    file, f"{name} is listed in {listed[name]} too", code="data/leaking-group"
                )
    return listed


def _listed_name(line: str) -> str:
    """The name that a line lists, which some tools write with the ending of the picture."""
    name = line.split()[0]
    return composed(PurePath(name).stem if is_image_name(name) else name)


def _lines_of(file: Path) -> list[str]:
    try:
        text = read_plain(file).decode("utf-8-sig", errors="replace")
    except OSError as error:
        what = f"the list cannot be read ({error.strerror or error})"
        raise _fault(file, what, code="data/unreadable") from error
    if "\0" in text:
        raise _fault(file, "the list is not in UTF-8", code="data/unreadable")
    return text.splitlines()


def _fault(file: Path, what: str, *, code: str) -> DataError:
    return DataError(
        what,
        whose=str(file),
        fix="correct that file, or write it again from the tool that made it",
        code=code,
    )


def write_example(folder: Path) -> Path:
    """Writes 16 small pictures of a square and a disc each, with XML files and lists of splits."""
    for part in (ANNOTATIONS, PICTURES, SETS):
        (folder / part).mkdir(parents=True)
    for split, drawn in drawn_splits():
        for stem, pixels, objects in drawn:
            Image.fromarray(pixels).save(folder / PICTURES / f"{stem}.png")
            told = ""
            for (x, y, width, height), label in zip(
                objects.box_G4.astype(int).tolist(), objects.label_G.tolist(), strict=True
            ):
                values = (x + 1, y + 1, x + width, y + height)
                told += f"<object><name>{('square', 'disc')[label]}</name><bndbox>"
                told += "".join(
                    f"<{one}>{value}</{one}>" for one, value in zip(_CORNERS, values, strict=True)
                )
                told += "</bndbox></object>"
            size = f"<width>{pixels.shape[1]}</width><height>{pixels.shape[0]}</height>"
            text = f"<annotation><size>{size}</size>{told}</annotation>\n"
            (folder / ANNOTATIONS / f"{stem}.xml").write_text(text, encoding="utf-8")
        names = [stem for stem, _, _ in drawn]
        (folder / SETS / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return folder


VOC = DatasetSpec(
    name="voc",
    load=load_voc,
    summary="boxes as XML files, as of PASCAL VOC: Annotations/ and JPEGImages/",
    takes_path="required",
    licence="yours",
    example=write_example,
)
