"""Annotated pictures, of whatever format, made into a data set.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit import DataError, Dataset, Sample, Skipped
from moekit.builtin.loaders import keep_shots, shots_of
from moekit.data import PARTIAL, complete_splits, is_partial
from moekit_detection.loaders.masks import tell_elsewhere, with_masks
from moekit_detection.loaders.repairs import Repairs, Shape, once, sound
from moekit_detection.loaders.upright import Header, all_upright, read_header
from moekit_detection.masks.runs import NOTHING, Masks
from moekit_detection.records import OBJECTS, Objects

_THREADS = 4
_COUNTED = 100
"""Objects of a picture beyond which COCO's figures cannot find all."""
OPTIONS = ("test", "shots", PARTIAL)
"""Options that all loaders share, for `parse_source`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as it is annotated.

    Attributes:
        id: Of the sample.
        path: Of the file.
        shapes: Its objects.
        size: (H, W) that the annotations are of; None if they do not say.
        split: Its split, or None.
        group: Its group, or None.
        truth: What else its truth holds, such as its number in a file of results.
        header: Of its file, if it is read already.
    """

    id: str
    path: Path
    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None
    split: str | None = None
    group: str | None = None
    truth: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    header: Header | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """What a format knows of its set.

    Attributes:
        name: Of the set.
        classes: (C) names, in the order of the labels.
        source: Where the data come from.
        licence: Their terms.
        notes: What was taken for granted already.
        skipped: Pictures that are left out already.
    """

    name: str
    classes: tuple[str, ...]
    source: str
    licence: str = "unknown"
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """The header of each picture, several at a time."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(read_header, paths))


def dataset_of(
    pictures: Sequence[Picture],
    about: About,
    repairs: Repairs,
    *,
    seed: int,
    options: Mapping[str, str],
) -> Dataset:
    """A split data set of annotated pictures.

    Boxes are cut at the sides of their pictures; those without an area are dropped; pictures that
    cannot be read, or have another size than their annotations say, are left out. All of that is
    counted in the notes. A picture without objects stays.

    Args:
        pictures: As annotated.
        about: The set.
        repairs: What was repaired already, which goes on here.
        seed: Of the splits that are not given.
        options: `test=val` takes the given split val for test, and makes val from train; `shots=K`
            keeps K training pictures of each class, and K of none; `partial=yes` takes a part of a
            larger set as it is.

    Raises:
        DataError: No picture is left, there is no object at all, or the splits cannot be used.
    """
    unread = [picture.path for picture in pictures if picture.header is None]
    read = iter(read_headers(unread))
    headers = [picture.header or next(read) for picture in pictures]
    samples: list[Sample] = []
    skipped = list(about.skipped)
    for picture, header in zip(pictures, headers, strict=True):
        made = _sample(picture, header, repairs)
        if isinstance(made, Sample):
            samples.append(made)
        else:
            skipped.append(made)
    partial = is_partial(options)
    _check(samples, skipped, about, partial=partial)
    dataset = Dataset(
        name=about.name,
        samples=tuple(_renamed(samples, options)),
        classes=about.classes,
        licence=about.licence,
        source=about.source,
        skipped=tuple(skipped),
        has_negative=False,
        notes=(*about.notes, *repairs.notes(), *_in_words(samples, about.classes)),
    )
    done = complete_splits(dataset, seed=seed, every_class=False, partial=partial)
    shots = shots_of(options)
    return done if shots is None else keep_shots(done, shots, seed=seed)


def _sample(picture: Picture, header: Header, repairs: Repairs) -> Sample | Skipped:
    def left_out(reason: str) -> Skipped:
        return Skipped(id=picture.id, reason=reason, split=picture.split)

    if header.size is None:
        return left_out(header.fault)
    shapes = all_upright(picture.shapes, header, picture.size)
    if shapes is None:
        assert picture.size is not None
        said, has = ((w, h) for h, w in (picture.size, header.size))
        return left_out(
            f"its annotations are of a picture of {said[0]} x {said[1]} pixels, it has "
            f"{has[0]} x {has[1]}"
        )
    _tell_turn(picture, header, repairs)
    if picture.size is None:
        repairs.add("no size", picture.id)
    shapes = with_masks(shapes, header, picture.size, repairs)
    tell_elsewhere(shapes, header.size, repairs)
    fine = [sound(shape, header.size, repairs) for shape in shapes]
    kept = once([shape for shape in fine if shape is not None], repairs)
    objects = Objects.of(
        [shape.box for shape in kept],
        [shape.label for shape in kept],
        crowd_G=[shape.crowd for shape in kept],
        area_G=[_area(shape) for shape in kept],
        masks=_masks(kept, header.size),
    )
    return Sample(
        id=picture.id,
        path=picture.path,
        label=_commonest(objects),
        labels=tuple(sorted(set(objects.label_G.tolist()))),
        split=picture.split,
        group=picture.group,
        truth={**objects.as_truth(), **picture.truth},
    )


def _masks(shapes: Sequence[Shape], size: tuple[int, int]) -> Masks | None:
    """The masks of a picture's objects, empty if there is none to use; None if none has one."""
    if all(shape.mask is None for shape in shapes):
        return None
    return Masks.of(size, [NOTHING if one.mask is None else one.mask for one in shapes])


def _area(shape: Shape) -> float:
    """The area as annotated; that of the mask or, without one, of the box if nobody said."""
    if shape.area is not None:
        return shape.area
    if shape.mask is not None:
        return float((shape.mask[:, 1] - shape.mask[:, 0]).sum())
    return shape.box[2] * shape.box[3]


def _tell_turn(picture: Picture, header: Header, repairs: Repairs) -> None:
    """Counts a picture that is stored turned, unless its annotations are surely upright."""
    assert header.size is not None
    tells = header.turned and header.size[0] != header.size[1]
    if tells and picture.size == header.size[::-1]:
        repairs.add("turned", picture.id)
    elif header.orientation != 1 and not (tells and picture.size == header.size):
        repairs.add("mirrored", picture.id)


def _commonest(objects: Objects) -> int:
    """The class of most objects, by which splits are stratified; 0 if there are none."""
    counts = collections.Counter(objects.label_G.tolist())
    return max(sorted(counts), key=lambda label: counts[label], default=0)


def _check(
    samples: Sequence[Sample], skipped: Sequence[Skipped], about: About, *, partial: bool
) -> None:
    if not samples:
        first = f"; the first: {skipped[0].id}: {skipped[0].reason}" if skipped else ""
        raise DataError(
            f"none of {len(skipped)} pictures can be used{first}",
            whose=about.name,
            fix="check where the pictures lie, and that they are those that were annotated",
            code="data/no-pictures",
        )
    if not partial and not any(sample.labels for sample in samples):
        raise DataError(
            f"none of {len(samples)} pictures has an object",
            whose=about.name,
            fix="check that the annotations belong to the pictures; the notes say what was dropped",
            code="data/no-objects",
        )


def _renamed(samples: Sequence[Sample], options: Mapping[str, str]) -> list[Sample]:
    """The samples with the given split val called test, if an option says so."""
    asked = options.get("test")
    if asked is None:
        return list(samples)
    given = {sample.split for sample in samples}
    if asked != "val" or given != {"train", "val"}:
        listed = ", ".join(sorted(map(str, given)))
        raise DataError(
            f"it cannot be used: the splits are {listed}",
            whose="the option 'test'",
            fix="write ?test=val for data with the splits train and val",
            code="data/bad-option",
        )
    return [
        dataclasses.replace(one, split="test" if one.split == "val" else one.split)
        for one in samples
    ]


def _in_words(samples: Sequence[Sample], classes: Sequence[str]) -> tuple[str, ...]:
    """Sentences on pictures without objects, crowded ones, and classes that nobody has drawn."""
    held = {one.id: (one.truth or {})[OBJECTS] for one in samples}
    counts = {name: len(objects["label"]) for name, objects in held.items()}
    empty = [name for name, count in counts.items() if not count]
    crowded = [name for name, count in counts.items() if count > _COUNTED]
    present = {label for one in samples for label in one.all_labels}
    absent = [name for label, name in enumerate(classes) if label not in present]
    notes = [
        f"the picture with most objects, {max(counts, key=lambda one: counts[one])}, has "
        f"{max(counts.values())}"
    ]
    if empty:
        notes.append(
            f"{'1 picture has' if len(empty) == 1 else f'{len(empty)} pictures have'} no object, "
            f"such as {empty[0]}"
        )
    if crowded:
        notes.append(
            f"{'1 picture has' if len(crowded) == 1 else f'{len(crowded)} pictures have'} more "
            f"than {_COUNTED} objects, of which no more are found, such as {crowded[0]}"
        )
    masked = {name: sum(map(bool, one.get("mask", ()))) for name, one in held.items()}
    bare = {name: count - masked[name] for name, count in counts.items() if count > masked[name]}
    if any(masked.values()) and bare:
        notes.append(
            f"{sum(bare.values())} objects have no mask that can be used, such as in "
            f"{next(iter(bare))}; the task instances takes them as crowds: neither missed nor false"
        )
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        notes.append(f"no picture shows {', '.join(absent[:5])}{more}")
    return tuple(notes)
