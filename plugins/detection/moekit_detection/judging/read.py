"""Results that a peer wrote, in COCO's format, judged as answers.

Shapes: G objects of a picture.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from moekit import DataError, Sample, TaskContext
from moekit.files import read_json
from moekit_detection.judging.tally import DetectTally
from moekit_detection.records import Objects, objects_of

_NAMED = 3
_FIX = (
    "write a list of {image_id, category_id, bbox: [x, y, width, height], score}, or the file of "
    "`moekit predict`"
)


def read_results(path: Path, samples: Sequence[Sample], context: TaskContext) -> DetectTally:
    """Reads found objects of a split and matches them with the truth.

    Two forms are read. A list of results: `image_id` is that of the data, or the name of the file
    with or without its ending; `category_id` is that of the data. Or a whole file with `images`,
    `categories` and `annotations` that have a `score`: images are known by `file_name`, categories
    by their names. A picture without a result has no found object.

    Args:
        path: A JSON file.
        samples: Of the split, with truth.
        context: Of the run.

    Raises:
        DataError: It cannot be read, or a result is of an unknown picture or class, or has a box or
            score that is none.
    """
    pairs = [
        (
            Objects.of(
                [box_of(one, path) for one in found],
                [one.label for one in found],
                score_G=[one.score for one in found],
            ),
            objects_of(sample),
        )
        for found, sample in zip(results_of(path, samples, context), samples, strict=True)
    ]
    return DetectTally.of(samples, context, pairs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """A result whose picture, class and score are known.

    Attributes:
        place: Its number in the file, for errors.
        label: Its class.
        score: From 0 to 1.
        content: As it is written.
    """

    place: int
    label: int
    score: float
    content: Mapping[str, Any]


def results_of(
    path: Path, samples: Sequence[Sample], context: TaskContext, *, needs: str = "bbox"
) -> list[list[Result]]:
    """The results of a file, sample by sample; see `read_results`.

    Args:
        path: The file.
        samples: Of the split.
        context: Of the run.
        needs: A key that each result must have.

    Raises:
        DataError: As of `read_results`.
    """
    if not path.is_file():
        raise DataError(
            "there is no such file of results",
            whose=str(path),
            fix=f"name a JSON file: {_FIX}",
            code="data/not-found",
        )
    content = read_json(path)
    if isinstance(content, dict):
        results, pictures, labels = _of_whole(content, path, samples, context)
    else:
        results, pictures, labels = content, _pictures(samples), _labels(samples, context)
    if not isinstance(results, list):
        raise wrong_results(path, "it holds no list of results", code="data/wrong-layout")
    held: list[list[Result]] = [[] for _ in samples]
    for place, result in enumerate(results):
        picture, found = _result(result, place, path, pictures, labels, needs)
        held[picture].append(found)
    return held


def _of_whole(
    content: Mapping[str, Any], path: Path, samples: Sequence[Sample], context: TaskContext
) -> tuple[Any, dict[Any, int], dict[Any, int]]:
    """The results of a whole file, the picture of each image id, and the label of each category."""
    parts = [content.get(name) for name in ("images", "categories", "annotations")]
    if not all(isinstance(part, list) for part in parts):
        raise wrong_results(
            path, "it lacks images, categories or annotations", code="data/wrong-layout"
        )
    images, categories, results = parts
    try:
        names = {one["id"]: str(one["file_name"]) for one in images or ()}
        class_of = {one["id"]: str(one["name"]) for one in categories or ()}
    except (KeyError, TypeError) as error:
        raise wrong_results(
            path, f"an image or a category lacks {error}", code="data/wrong-layout"
        ) from error
    known = _pictures(samples)
    pictures = {}
    for number, name in names.items():
        place = known.get(name, known.get(_stem(name)))
        if place is not None:
            pictures[number] = place
    strange = [name for number, name in names.items() if number not in pictures]
    if strange:
        raise wrong_results(
            path,
            f"{len(strange)} of its images are none of the split, such as {_few(strange)}",
            code="data/unknown-id",
        )
    odd = sorted(set(class_of.values()) - set(context.classes))
    if odd:
        raise wrong_results(path, f"the run has no class {_few(odd)}", code="data/unknown-class")
    return (
        results,
        pictures,
        {number: context.classes.index(one) for number, one in class_of.items()},
    )


def _pictures(samples: Sequence[Sample]) -> dict[Any, int]:
    """Positions of samples by all that names them without doubt."""
    known: dict[Any, int] = {}
    twice: set[Any] = set()
    for place, sample in enumerate(samples):
        number = (sample.truth or {}).get("image_id")
        name = PurePosixPath(sample.id).name
        for key in {sample.id, _stem(sample.id), name, _stem(name), number} - {None}:
            if key in known:
                twice.add(key)
            known[key] = place
    return {key: place for key, place in known.items() if key not in twice}


def _labels(samples: Sequence[Sample], context: TaskContext) -> dict[Any, int]:
    """Labels by the category ids of the data; by 1, 2, ... if these have none."""
    for sample in samples:
        held = (sample.truth or {}).get("category_ids")
        if held is not None:
            return {number: label for label, number in enumerate(held)}
    return {label + 1: label for label in range(len(context.classes))}


def _result(
    result: Any,
    place: int,
    path: Path,
    pictures: Mapping[Any, int],
    labels: Mapping[Any, int],
    needs: str,
) -> tuple[int, Result]:
    if not isinstance(result, dict):
        raise wrong_results(
            path, f"result {place} is a {type(result).__name__}", code="data/wrong-layout"
        )
    missing = [name for name in ("image_id", "category_id", needs, "score") if name not in result]
    if missing:
        raise wrong_results(path, f"result {place} has no {missing[0]}", code="data/wrong-layout")
    image, category = result["image_id"], result["category_id"]
    if not isinstance(image, int | str) or image not in pictures:
        raise wrong_results(
            path,
            f"result {place} is of the picture {image!r}, not in the split",
            code="data/unknown-id",
        )
    if not isinstance(category, int) or category not in labels:
        raise wrong_results(
            path,
            f"result {place} is of the category {category!r}; there are {_few(map(str, labels))}",
            code="data/unknown-class",
        )
    score = result["score"]
    if not _is_number(score) or not 0 <= score <= 1:
        raise wrong_results(
            path, f"result {place} has the score {score!r}, not from 0 to 1", code="data/bad-score"
        )
    found = Result(place=place, label=labels[category], score=float(score), content=result)
    return pictures[image], found


def box_of(result: Result, path: Path) -> list[float]:
    """The box of a result.

    Raises:
        DataError: It is none.
    """
    box = result.content["bbox"]
    fine = isinstance(box, list) and len(box) == 4 and all(_is_number(one) for one in box)
    if not fine or min(box[2:]) < 0:
        raise wrong_results(path, f"result {result.place} has the box {box!r}", code="data/bad-box")
    return list(map(float, box))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _few(names: Any) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def wrong_results(path: Path, what: str, *, code: str) -> DataError:
    """The error of a file of results."""
    return DataError(what, whose=str(path), fix=_FIX, code=code)
