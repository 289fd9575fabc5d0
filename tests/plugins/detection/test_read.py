"""Results of others, in COCO's format, are judged as answers."""

import json

import pytest

from moekit.testing import refused
from moekit_detection.judging.read import read_results
from moekit_detection.judging.tally import DetectTally
from tests.plugins.detection.coco_cases import CONTEXT, drawn_pairs, samples_of


def fixed(pairs):
    """A tally of given pictures."""
    return DetectTally.of(samples_of(pairs), CONTEXT, pairs)


def write(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    return path


def results(pairs, image, kind):
    return [
        {"image_id": image(place), "category_id": kind(label), "bbox": box, "score": score}
        for place, (found, _) in enumerate(pairs)
        for box, label, score in zip(
            found.box_G4.tolist(), found.label_G.tolist(), found.score_G.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize(
    "image",
    [
        lambda place: 100 + place,
        lambda place: f"lot/{place:02}.png",
        lambda place: f"{place:02}.png",
        lambda place: f"{place:02}",
    ],
)
def test_results_of_a_peer_are_judged_as_answers(tmp_path, image):
    pairs = drawn_pairs(8)
    path = write(tmp_path, results(pairs, image, lambda label: (3, 5, 7, 9)[label]))
    tally = read_results(path, samples_of(pairs), CONTEXT)
    assert tally.matches == fixed(pairs).matches


def test_a_whole_file_is_known_by_its_names(tmp_path):
    pairs = drawn_pairs(8)
    names = CONTEXT.classes[::-1]
    content = {
        "images": [{"id": 7 + n, "file_name": f"{n:02}.png"} for n in range(len(pairs))],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
        "annotations": results(
            pairs, lambda place: 7 + place, lambda label: names.index(CONTEXT.classes[label])
        ),
    }
    tally = read_results(write(tmp_path, content), samples_of(pairs), CONTEXT)
    assert tally.matches == fixed(pairs).matches
    content["categories"][0]["name"] = "screw"
    with refused("data/unknown-class", match="no class screw"):
        read_results(write(tmp_path, content), samples_of(pairs), CONTEXT)
    content["images"][0]["file_name"] = "some.png"
    with refused("data/unknown-id", match=r"some\.png"):
        read_results(write(tmp_path, content), samples_of(pairs), CONTEXT)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"image_id": 1}, "data/unknown-id"),
        ({"image_id": None}, "data/unknown-id"),
        ({"category_id": 4}, "data/unknown-class"),
        ({"bbox": [1, 2, 3]}, "data/bad-box"),
        ({"bbox": [1, 2, -3, 4]}, "data/bad-box"),
        ({"bbox": [1, 2, 3, "4"]}, "data/bad-box"),
        ({"score": 1.5}, "data/bad-score"),
        ({"score": None}, "data/bad-score"),
    ],
)
def test_a_result_that_is_none_is_refused_by_its_number(tmp_path, change, code):
    pairs = drawn_pairs(8)
    content = results(pairs, lambda place: 100 + place, lambda label: (3, 5, 7, 9)[label])
    content[2] |= change
    with refused(code, match="result 2"):
        read_results(write(tmp_path, content), samples_of(pairs), CONTEXT)


def test_files_that_hold_no_results_are_refused(tmp_path):
    samples = samples_of(drawn_pairs(8))
    with refused("data/not-found"):
        read_results(tmp_path / "none.json", samples, CONTEXT)
    for content in ({"images": []}, "text", [1], [{"image_id": 100}]):
        with refused("data/wrong-layout", match=r"results\.json"):
            read_results(write(tmp_path, content), samples, CONTEXT)
    path = tmp_path / "results.json"
    path.write_text('[{"score": NaN}]')
    with refused("data/bad-json"):
        read_results(path, samples, CONTEXT)
