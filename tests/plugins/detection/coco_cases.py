"""Found and true objects for tests of judging, and what pycocotools makes of them."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from moekit import Frame, Sample, TaskContext
from moekit_detection.judging.average import figures_of, mean_of
from moekit_detection.judging.matches import Matches
from moekit_detection.judging.tally import DetectTally
from moekit_detection.records import Objects

NAMES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""The twelve figures of `COCOeval.summarize`, in its order."""


def drawn_pairs(seed, *, images=12, classes=4, ties=True, crowds=True, most=9):
    """Random pictures: found objects near true ones, wrong classes, doubles, noise, crowds."""
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        count = int(generator.integers(0, most))
        side = np.exp(generator.uniform(np.log(5), np.log(220), (count, 2)))
        true = np.concatenate([generator.uniform(0, 400, (count, 2)), side], 1)
        label = generator.integers(0, classes, count)
        crowd = generator.random(count) < (0.15 if crowds else 0)
        area = side.prod(1) * generator.uniform(0.6, 1, count)
        near = np.repeat(np.arange(count), generator.integers(0, 4, count))
        box = true[near] + generator.normal(0, 0.12, (len(near), 4)) * np.tile(side[near], 2)
        kind = np.where(
            generator.random(len(near)) < 0.2, generator.integers(0, classes), label[near]
        )
        noise = int(generator.integers(0, 15))
        box = np.concatenate([box, generator.uniform(1, 200, (noise, 4))])
        kind = np.concatenate([kind, generator.integers(0, classes, noise)])
        box[:, 2:] = np.maximum(box[:, 2:], 1)
        score = generator.random(len(box))
        if ties:
            score = np.round(score, 1)
            if len(true) > 1:  # equal overlaps
                true[1] = true[0]
                label[1] = label[0]
        pairs.append(
            (
                Objects.of(box, kind, score_G=score),
                Objects.of(true, label, crowd_G=crowd, area_G=area),
            )
        )
    return pairs


def as_coco(pairs, classes):
    """The truth as a COCO data set, and what was found as COCO results."""
    images, annotations, results = [], [], []
    for number, (found, true) in enumerate(pairs, start=1):
        images.append({"id": number, "width": 640, "height": 640, "file_name": f"{number}.jpg"})
        for box, label, crowd, area in zip(
            true.box_G4.tolist(), true.label_G.tolist(), true.crowd_G, true.area_G, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
        for box, label, score in zip(
            found.box_G4.tolist(), found.label_G.tolist(), found.score_G.tolist(), strict=True
        ):
            results.append(
                {"image_id": number, "category_id": label + 1, "bbox": box, "score": score}
            )
    categories = [{"id": label + 1, "name": f"kind {label}"} for label in range(classes)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def pycocotools_figures(truth, results):
    """The twelve figures by their names, nan if pycocotools says -1, and its evaluation."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    stats = np.where(judged.stats < 0, np.nan, judged.stats)
    return dict(zip(NAMES, stats.tolist(), strict=True)), judged


def noisy_answers(path, seed, *, most=None):
    """Boxes of a COCO file, moved, doubled, of other classes and left out, as if they were found.

    Args:
        path: The file.
        seed: Of the noise.
        most: Pictures that are taken; all if None.

    Returns:
        Pairs in the order of the image ids, the truth of those pictures, and COCO results.
    """
    truth = json.loads(path.read_text())
    images = sorted(truth["images"][:most], key=lambda image: image["id"])
    kinds = {one["id"]: label for label, one in enumerate(truth["categories"])}
    numbers = list(kinds)
    generator = np.random.default_rng(seed)
    results, pairs, annotations = [], [], []
    for image in images:
        true = [one for one in truth["annotations"] if one["image_id"] == image["id"]]
        annotations += true
        boxes = np.array([one["bbox"] for one in true], dtype=np.float64).reshape(-1, 4)
        labels = np.array([kinds[one["category_id"]] for one in true], dtype=np.int64)
        near = np.repeat(np.arange(len(true)), generator.integers(0, 3, len(true)))
        found = boxes[near] + generator.normal(0, 0.1, (len(near), 4)) * np.tile(boxes[near, 2:], 2)
        found[:, 2:] = np.maximum(found[:, 2:], 1)
        other = generator.integers(0, len(kinds), len(near))
        label = np.where(generator.random(len(near)) < 0.1, other, labels[near])
        score = np.round(generator.random(len(near)), 2)
        results += [
            {"image_id": image["id"], "category_id": numbers[kind], "bbox": box, "score": value}
            for kind, box, value in zip(label, found.tolist(), score.tolist(), strict=True)
        ]
        truth_here = Objects.of(
            boxes,
            labels,
            crowd_G=[one["iscrowd"] for one in true],
            area_G=[one["area"] for one in true],
        )
        pairs.append((Objects.of(found, label, score_G=score), truth_here))
    return pairs, {**truth, "images": images, "annotations": annotations}, results


def figures(pairs, classes, weights=None):
    """The same twelve figures by the plugin's own code."""
    weights = np.ones(len(pairs), dtype=np.int64) if weights is None else weights
    found = figures_of(Matches.of(pairs, classes), weights)
    values = (
        *(found.ap_AC[0], found.ap50_AC[0], found.ap75_C, *found.ap_AC[1:4]),
        *(*found.cut_recall_MC, *found.recall_AC[1:4]),
    )
    return dict(zip(NAMES, map(mean_of, values), strict=True))


def drawn_tally(seed, **options):
    """The tally of drawn pictures of four classes, in groups of two."""
    pairs = drawn_pairs(seed, **options)
    return DetectTally.of(samples_of(pairs), CONTEXT, pairs)


def samples_of(pairs):
    """Samples with the truth of pairs; their files are not there."""
    return [
        Sample(
            id=f"lot/{number:02}.png",
            path=Path(f"{number:02}.png"),
            label=0,
            group=f"lot {number // 2}",
            truth={
                **true.as_truth(),
                "image_id": 100 + number,
                "category_ids": (3, 5, 7, 9),
            },
        )
        for number, (_, true) in enumerate(pairs)
    ]


CONTEXT = TaskContext(
    classes=("nut", "bolt", "ring", "pin"), vocabulary={}, frame=Frame(height=28, width=28)
)
