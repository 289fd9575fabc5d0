"""Found and true masks for tests of judging, and what pycocotools makes of them."""

import contextlib
import dataclasses
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from moekit import Sample
from moekit_detection.instances.tally import Judged, tally_of
from moekit_detection.judging.average import figures_of, mean_of
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import Objects
from tests.plugins.detection.coco_cases import CONTEXT, NAMES, samples_of

SIZE = (150, 180)


def blob(generator, *, side=None):
    """One random mask: an ellipse, a cross or a frame, with some pixels flipped."""
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    middle = generator.uniform((0, 0), SIZE)
    half = np.exp(generator.uniform(np.log(2), np.log(70), 2)) if side is None else side
    down, across = np.abs(rows - middle[0]) / half[0], np.abs(columns - middle[1]) / half[1]
    kind = generator.integers(0, 3)
    if kind == 0:
        inside = down**2 + across**2 < 1
    elif kind == 1:
        inside = (np.minimum(down, across) < 0.4) & (np.maximum(down, across) < 1)
    else:
        inside = (np.maximum(down, across) < 1) & (np.maximum(down, across) > 0.3)
    return inside


def drawn_masks(seed, *, images=8, classes=4, most=7):
    """Random pictures as pairs with masks: shifted copies, noise, ties, crowds, empty pictures."""
    generator = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        count = int(generator.integers(0, most))
        true = [blob(generator) for _ in range(count)]
        label = generator.integers(0, classes, count).tolist()
        crowd = generator.random(count) < 0.15
        if count > 1:  # equal overlaps
            true[1], label[1] = true[0], label[0]
        found, kinds = [], []
        for mask, kind in zip(true, label, strict=True):
            for _ in range(int(generator.integers(0, 4))):
                found.append(np.roll(mask, generator.integers(-4, 5, 2).tolist(), (0, 1)))
                wrong = generator.random() < 0.2
                kinds.append(int(generator.integers(0, classes)) if wrong else kind)
        for _ in range(int(generator.integers(0, 6))):
            found.append(blob(generator) & (generator.random() > 0.1))  # some are empty
            kinds.append(int(generator.integers(0, classes)))
        masks = Masks.of(SIZE, [runs_of(one) for one in true])
        pixels = Masks.of(SIZE, [runs_of(one) for one in found])
        box = pixels.box_G4 + generator.normal(0, 1.5, (len(found), 4))
        box[:, 2:] = np.maximum(box[:, 2:], 1)
        pairs.append(
            (
                Objects.of(
                    box, kinds, score_G=np.round(generator.random(len(found)), 1), masks=pixels
                ),
                Objects.of(
                    masks.box_G4,
                    label,
                    crowd_G=crowd,
                    area_G=masks.area_G * generator.uniform(0.8, 1.2, count),
                    masks=masks,
                ),
            )
        )
    return pairs


def masked_samples(pairs):
    """Samples with the truth of pairs; their files are not there."""
    return [
        dataclasses.replace(sample, truth={**(sample.truth or {}), **true.as_truth()})
        for sample, (_, true) in zip(samples_of(pairs), pairs, strict=True)
    ]


def as_coco(pairs, numbers):
    """The truth as a COCO data set, and what was found as COCO results with masks and boxes.

    Args:
        pairs: With masks.
        numbers: Category ids of the classes.
    """
    images, annotations, results = [], [], []
    for number, (found, true) in enumerate(pairs):
        image = 100 + number
        height, width = true.masks.size
        images.append({"id": image, "width": width, "height": height, "file_name": f"{number}.png"})
        for place in range(len(true)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": numbers[int(true.label_G[place])],
                    "bbox": true.box_G4[place].tolist(),
                    "area": float(true.area_G[place]),
                    "iscrowd": int(true.crowd_G[place]),
                    "segmentation": rle(true.masks, place),
                }
            )
        results += [
            {
                "image_id": image,
                "category_id": numbers[int(found.label_G[place])],
                "bbox": found.box_G4[place].tolist(),
                "score": float(found.score_G[place]),
                "segmentation": rle(found.masks, place),
            }
            for place in range(len(found))
        ]
    categories = [{"id": number, "name": f"kind {number}"} for number in numbers]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def rle(masks, place):
    """A mask as COCO's compressed run lengths."""
    return {"size": list(masks.size), "counts": masks.text(place)}


def coco_figures(truth, results, kind):
    """The twelve figures of pycocotools by their names; nan if it says -1.

    Args:
        truth: A COCO data set.
        results: With masks and boxes; by masks, the boxes are left out, since pycocotools would
            take their areas for those of the masks.
        kind: `segm` or `bbox`.
    """
    left_out = "bbox" if kind == "segm" else "segmentation"
    given = [{key: one[key] for key in one if key != left_out} for one in results]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(given), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    stats = np.where(judged.stats < 0, np.nan, judged.stats)
    return dict(zip(NAMES, stats.tolist(), strict=True))


def figures(matches):
    """The same twelve figures by the plugin's own code."""
    found = figures_of(matches, np.ones(matches.images, dtype=np.int64))
    values = (
        *(found.ap_AC[0], found.ap50_AC[0], found.ap75_C, *found.ap_AC[1:4]),
        *(*found.cut_recall_MC, *found.recall_AC[1:4]),
    )
    return dict(zip(NAMES, map(mean_of, values), strict=True))


def tally(pairs, samples: list[Sample] | None = None, context=CONTEXT):
    """The tally of pairs with masks."""
    samples = masked_samples(pairs) if samples is None else samples
    return tally_of(samples, context, [Judged.of(found, true) for found, true in pairs])
