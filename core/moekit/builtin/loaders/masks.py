"""The loader `masks=PATH[?options]`: images with a class for each pixel."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from moekit.builtin.loaders.class_list import (
    LISTS,
    ClassList,
    inline_class_list,
    read_class_list,
)
from moekit.builtin.loaders.masks_told import check_masks
from moekit.builtin.loaders.rows import (
    check_filled,
    check_once,
    path_in,
    read_header,
    read_rows,
    split_in,
    unread_columns,
)
from moekit.contract.datasets import DatasetSpec
from moekit.data.checks import check_ids
from moekit.data.class_masks import read_classes
from moekit.data.images import find_images, read_size, relative_id
from moekit.data.options import PARTIAL, composed, is_partial, parse_source, whole_number
from moekit.data.samples import Dataset, Sample, Skipped, split_notes
from moekit.data.splits import complete_splits
from moekit.data.suffixes import JPEG_SUFFIXES
from moekit.data.survey import survey_folder
from moekit.data.unlisted import unlisted_notes
from moekit.errors import DataError, ImageError
from moekit.tasks.segment.example import CLASSES, draw_example

IMAGES, MASKS, INDEX = "images", "masks", "index.csv"
OPTIONS = ("classes", "ignore", "group", "subtype", "split", "where", PARTIAL)
_THREADS = 4
_EXAMPLES = 16
_LARGEST = 10**9 - 1
"""The greatest number of a mask that is taken; those in files have five digits at most."""


def load_masks(path: Path | None, seed: int) -> Dataset:
    """Reads images with masks and splits them, unless the data bring their own splits.

    Two layouts are read. `PATH/images` and `PATH/masks` hold files of the same name except for the
    ending, in the same folders. Or a table, `PATH/index.csv` or PATH itself, has the columns image
    and mask, or id for `images/ID.*` and `masks/ID.*`; split, group and subtype are optional. The
    list of classes is `classes.csv` or `classes.txt` (see `read_class_list`).

    Options: `classes=FILE` or `classes=NAME,NAME,...`; `ignore=NUMBER`, a number that does not
    count; `group=COLUMN`, `subtype=COLUMN` and `split=COLUMN` of a table; `where=COLUMN:VALUE` for
    some of its lines; `partial=yes` for a part of a larger set, whose splits stay as they are.

    Every mask is decoded once. An image without a mask, a mask without an image, one of another
    size and one with a number or colour that is not listed are left out, each with its reason.

    Args:
        path: Folder or table, with options.
        seed: Of the split.

    Raises:
        DataError: There is no list of classes, nothing to read, an id is there twice, or a group
            lies in two splits.
    """
    source, options = parse_source(
        path, known=OPTIONS, missing="name a folder with images/ and masks/, or an index.csv"
    )
    folder = source.parent if source.is_file() else source
    table = source if source.is_file() else source / INDEX
    classes = _classes(folder, options)
    pairs = (
        _from_table(table, options)
        if table.is_file() and _names_images(table)
        else _from_folders(folder)
    )
    if not pairs.samples and not pairs.skipped:
        raise DataError(
            "there is no image with a mask",
            whose=str(source),
            fix=f"put images into {IMAGES}/ and masks of the same names into {MASKS}/",
            code="data/no-mask",
        )
    checked, wrong = _checked(pairs.samples, classes)
    dataset = Dataset(
        name=folder.resolve().name,
        samples=checked,
        classes=classes.names,
        source=f"{len(pairs.samples)} images with masks",
        skipped=(*pairs.skipped, *wrong),
        notes=pairs.notes,
    )
    if not checked:
        raise DataError(
            f"none of the {len(wrong)} masks can be used; the first: {wrong[0].id}: "
            f"{wrong[0].reason}"
            if wrong
            else "no image has a mask",
            whose=str(source),
            fix="correct the masks or the list of classes",
            code="data/no-mask",
        )
    partial = is_partial(options)
    return complete_splits(dataset, seed=seed, every_class=False, partial=partial)


def write_example(folder: Path) -> Path:
    """Writes 16 small pictures with masks of three classes, as conformance checks need them."""
    for name in (IMAGES, MASKS):
        (folder / name).mkdir()
    for number in range(_EXAMPLES):
        picture, class_HW = draw_example(number)
        Image.fromarray(picture).save(folder / IMAGES / f"{number:02}.png")
        Image.fromarray(class_HW).save(folder / MASKS / f"{number:02}.png")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return folder


MASK_FOLDER = DatasetSpec(
    name="masks",
    load=load_masks,
    summary="images with a class for each pixel: images/ and masks/, or an index.csv",
    takes_path="required",
    licence="yours",
    example=write_example,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Images with masks as they are listed, and those that lack one or the other."""

    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()


def _classes(folder: Path, options: Mapping[str, str]) -> ClassList:
    text = options.get("ignore")
    ignore = None if text is None else whole_number(text, most=_LARGEST)
    if text is not None and ignore is None:
        raise DataError(
            f"{text[:60]!r} is no number of a mask",
            whose="the option 'ignore'",
            fix="give one number",
            code="data/bad-option",
        )
    given = options.get("classes")
    if given is not None:
        for file in (folder / given, Path(given)):
            if "," not in given and file.is_file():
                return read_class_list(file, ignore=ignore)
        return inline_class_list(given, ignore=ignore)
    for name in LISTS:
        if (folder / name).is_file():
            return read_class_list(folder / name, ignore=ignore)
    raise DataError(
        f"there is no list of classes ({' or '.join(LISTS)})",
        whose=str(folder),
        fix="add classes.csv with the header number,name and lines such as 0,good and 255,bad; "
        "or write ?classes=NAME,NAME,... after the path, the names of the values 0, 1, ...",
        code="data/class-list",
    )


def _names_images(table: Path) -> bool:
    """Whether a table has a column that names images; else it is somebody's notes."""
    return bool(set(read_header(table)) & {"image", "id"})


def _from_folders(folder: Path) -> _Pairs:
    skipped: list[Skipped] = []
    notes: list[str] = []
    images, masks = (
        _by_stem(folder / name, folder, skipped, notes) if (folder / name).is_dir() else {}
        for name in (IMAGES, MASKS)
    )
    samples = [
        Sample(id=relative_id(image, folder), path=image, label=0, mask=masks[stem])
        for stem, image in images.items()
        if stem in masks
    ]
    skipped += [
        Skipped(id=relative_id(image, folder), reason=f"there is no mask of this name in {MASKS}/")
        for stem, image in images.items()
        if stem not in masks
    ]
    skipped += [
        Skipped(id=relative_id(mask, folder), reason=f"there is no image of this name in {IMAGES}/")
        for stem, mask in masks.items()
        if stem not in images
    ]
    return _Pairs(samples=tuple(samples), skipped=tuple(skipped), notes=tuple(notes))


def _by_stem(part: Path, folder: Path, skipped: list[Skipped], notes: list[str]) -> dict[str, Path]:
    """Files by their path below a folder, without the ending; adds what is not read, and links.

    A JPEG among the masks that lies next to another file of its name is a preview.
    """
    survey = survey_folder(part)
    skipped += [
        Skipped(id=relative_id(path, folder), reason=reason)
        for path, reason in survey.unread.items()
    ]
    linked = survey.check_linked(lambda _: None, whose=str(part))
    notes += [f"{part.name}: {note}" for note in linked]
    found: dict[str, Path] = {}
    for path in sorted(survey.images, key=lambda path: path.suffix.lower() in JPEG_SUFFIXES):
        stem = str(PurePosixPath(relative_id(path, part)).with_suffix(""))
        if stem in found and part.name == MASKS and path.suffix.lower() in JPEG_SUFFIXES:
            reason = f"a JPEG is no mask; {found[stem].name} is used"
            skipped.append(Skipped(id=relative_id(path, folder), reason=reason))
        elif stem in found:
            raise DataError(
                f"{relative_id(found[stem], folder)} and {relative_id(path, folder)} have one name",
                whose=str(part),
                fix="keep one of them, or give each its own name",
                code="data/duplicate-id",
            )
        else:
            found[stem] = path
    return dict(sorted(found.items(), key=lambda item: relative_id(item[1], part)))


def _from_table(table: Path, options: Mapping[str, str]) -> _Pairs:
    chosen = {name: options.get(name, name).lower() for name in ("group", "subtype", "split")}
    column, _, wanted = options.get("where", "").partition(":")
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    splits: list[str] = []
    files: list[Path] = []
    lines: dict[str, int] = {}
    beside = functools.cache(_beside)
    for line, row in read_rows(table, needed=(), known=("image", "mask", "id", *chosen)):
        _check_columns(row, [options[name].lower() for name in chosen if name in options], table)
        if column:
            _check_columns(row, [column.lower()], table)
            if row[column.lower()] != wanted:
                continue
        image, mask = _files(row, table, line, beside)
        files += [path for path in (image, mask) if path is not None]
        name = relative_id(image, table.parent)
        given = row.get(chosen["split"], "")
        split = split_in(table, line, given) if given else None
        splits.append(given)
        if mask is None:
            skipped.append(Skipped(id=name, reason="no mask is listed for it", split=split))
            continue
        check_once(name, line, lines, table)
        samples.append(
            Sample(
                id=name,
                path=image,
                label=0,
                mask=mask,
                split=split,
                group=row.get(chosen["group"]) or None,
                subtype=row.get(chosen["subtype"]) or None,
            )
        )
    check_filled(samples, table)
    told = check_masks(samples, table)
    known = {"image", "mask", "id", *chosen.values(), column.lower()}
    return _Pairs(
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        skipped=tuple(skipped),
        notes=(
            *split_notes(splits),
            *unread_columns(read_header(table), known),
            *told,
            *(() if column else unlisted_notes(files)),
        ),
    )


def _check_columns(row: Mapping[str, str], needed: Sequence[str], table: Path) -> None:
    missing = [name for name in needed if name not in row]
    if missing or not ("image" in row or "id" in row):
        raise DataError(
            f"the table has no column {missing[0] if missing else 'image'!r}",
            whose=f"{table}, line 1",
            fix=f"it has {', '.join(row)}",
            code="data/bad-header",
        )


def _files(
    row: Mapping[str, str], table: Path, line: int, beside: Callable[[Path], Mapping[str, Path]]
) -> tuple[Path, Path | None]:
    if "image" in row:
        mask = row.get("mask")
        return path_in(table, line, row["image"]), path_in(table, line, mask) if mask else None
    image, mask_path = (path_in(table, line, f"{part}/{row['id']}") for part in (IMAGES, MASKS))
    return (
        beside(image.parent).get(composed(image.name), image),
        beside(mask_path.parent).get(composed(mask_path.name), mask_path),
    )


def _beside(folder: Path) -> Mapping[str, Path]:
    """Image files of a folder by their names without the ending."""
    if not folder.is_dir():
        return {}
    return {composed(path.stem): path for path in find_images(folder) if path.parent == folder}


def _checked(
    samples: Sequence[Sample], classes: ClassList
) -> tuple[tuple[Sample, ...], tuple[Skipped, ...]]:
    """Samples with the classes that their masks hold, and those whose masks contradict something.

    The label is the commonest class but the first; splits are stratified by it.
    """
    check_ids(Dataset(name="masks", samples=tuple(samples), classes=classes.names))
    good: list[Sample] = []
    wrong: list[Skipped] = []
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda sample: _pixels(sample, classes), samples)
        for sample, pixels in zip(samples, found, strict=True):
            if isinstance(pixels, str):
                wrong.append(Skipped(id=sample.id, reason=pixels, split=sample.split))
                continue
            present = np.flatnonzero(pixels)
            front = np.concatenate([[0], pixels[1:]])
            good.append(
                dataclasses.replace(
                    sample,
                    label=int(front.argmax()) if front.any() else 0,
                    labels=tuple(present.tolist()),
                    mask_table=classes.table,
                )
            )
    return tuple(good), tuple(wrong)


def _pixels(sample: Sample, classes: ClassList) -> np.ndarray | str:
    """(C,) pixels of each class of a sample's mask, or why it cannot be used."""
    if sample.mask is None:
        return "it has no mask"
    try:
        size = read_size(sample.path)
    except ImageError as error:
        return error.what
    try:
        class_HW = read_classes(sample.mask, size, classes.table, image=sample.path)
    except ImageError as error:
        return f"{sample.mask.name}: {error.what}"
    pixels = np.bincount(class_HW[class_HW >= 0], minlength=len(classes.names))
    return pixels if pixels.any() else f"{sample.mask.name}: no pixel of the mask counts"
