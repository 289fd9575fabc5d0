"""run.json and result.json that were edited or cut: an error with file and field, no traceback."""

import contextlib
import copy
import json
import random

import pytest

from moekit import DataError
from moekit.runs.run import Run
from moekit.runs.schema import read_record, read_result
from moekit.testing import refused

RECORD = {
    "schema": 1,
    "done": True,
    "request": {
        "kit": "industrial",
        "task": "moekit/score",
        "classes": ["good", "odd"],
        "frame": {"height": 56, "width": 56, "fit": "squash"},
        "tiling": None,
        "changes": {"experts": [], "gate": None},
        "dataset": "parts",
        "frames": 1,
        "negatives_only": False,
        "seed": 0,
        "recipe": {"image_size": 56},
        "backbone_sha256": "0" * 64,
        "computes": "dense",
        "top_k": 16,
    },
    "weights": {"kit_sha256": "0" * 64, "baseline_sha256": None},
    "arithmetic": "fp32",
    "backbone": {"architecture": "vit", "origin": "file"},
    "plugins": [],
    "skipped": [{"id": "a", "reason": "b"}],
}
RESULT = {
    "kit": "industrial",
    "dataset": "parts",
    "split": "test",
    "n": 3,
    "metrics": {"auroc": {"value": 0.9, "ci95": [0.8, 1.0], "higher_is_better": True}},
    "baseline": None,
    "skipped": [],
    "notes": ["x"],
    "classes": ["good", "odd"],
}
HOSTILE = [None, [], {}, "x", -1, 1.5, True, [1], {"a": 1}, float("nan")]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(content, field, value):
    content = copy.deepcopy(content)
    *way, last = field.split(".")
    part = content
    for name in way:
        part = part[name]
    part[last] = value
    return content


def test_a_whole_record_is_read_as_it_is(tmp_path):
    assert read_record(write(tmp_path / "run.json", RECORD)) == RECORD
    assert read_result(write(tmp_path / "result.json", RESULT)) == RESULT


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("done", "yes"),
        ("request", []),
        ("request.kit", 3),
        ("request.seed", "7"),
        ("request.frame.height", 0),
        ("request.frame.width", 98_000),
        ("request.frame", {"height": 1, "width": 1, "depth": 1}),
        ("request.recipe.image_size", "large"),
        ("request.recipe", {"nonesuch": 1}),
        ("request.changes", {"other": 1}),
        ("request.classes", "good"),
        ("weights", [1]),
        ("backbone.architecture", None),
        ("skipped", [{"id": 1}]),
    ],
)
def test_a_field_of_another_type_is_named(field, value, tmp_path):
    path = write(tmp_path / "run.json", changed(RECORD, field, value))
    with refused("data/damaged-run", match=field.replace(".", r"\.")) as caught:
        Run(tmp_path).read()
    assert caught.value.whose == str(path)
    assert caught.value.exit_code == 4


def test_a_field_that_is_gone_is_named_when_it_is_asked_for(tmp_path):
    record = copy.deepcopy(RECORD)
    del record["request"]["seed"], record["weights"]
    write(tmp_path / "run.json", record)
    read = Run(tmp_path).read_finished()
    with refused("data/damaged-run", match=r"request\.seed"):
        read["request"]["seed"]
    with refused("data/damaged-run", match="weights"):
        read["weights"]
    assert read["request"].get("seed") is None
    assert type(copy.deepcopy(read)) is dict


def test_a_record_of_an_early_version_stays_readable(tmp_path):
    request = {"kit": "industrial", "seed": 0, "recipe": {"image_size": 224}, "samples": 3}
    write(tmp_path / "run.json", {"schema": 1, "done": True, "request": request})
    run = Run(tmp_path)
    assert run.read_finished()["request"]["kit"] == "industrial"
    assert (run.frames(), run.classes()) == (1, ("negative", "positive"))
    assert run.frame().height == 224


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metrics", []),
        ("metrics.auroc.value", "high"),
        ("metrics.auroc.ci95", [0.1]),
        ("metrics.auroc", {}),
        ("n", -1),
        ("notes", "x"),
        ("skipped", [3]),
    ],
)
def test_a_field_of_a_result_is_named(field, value, tmp_path):
    path = write(tmp_path / "result.json", changed(RESULT, field, value))
    with refused("data/damaged-run", match=field.replace(".", r"\.")):
        read_result(path)


def test_a_number_that_is_none_is_no_json(tmp_path):
    path = write(tmp_path / "result.json", changed(RESULT, "metrics.auroc.value", float("nan")))
    with refused("data/bad-json", match="NaN"):
        read_result(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"x"', "[" * 100_000, "\ufeff{}"])
def test_what_is_no_record_at_all_is_named(text, tmp_path):
    for name, read in (("run.json", read_record), ("result.json", read_result)):
        path = write(tmp_path / name, text)
        with pytest.raises(Exception, match=r"\[data/") as caught:
            read(path)
        assert caught.value.whose == str(path)


def test_no_cut_and_no_change_of_a_field_is_a_traceback(tmp_path):
    """600 records with one field changed or cut: each is read or refused by name."""
    draw = random.Random(0)
    for _ in range(300):
        for name, content in (("run.json", RECORD), ("result.json", RESULT)):
            broken = copy.deepcopy(content)
            part = broken
            while True:
                key = draw.choice(list(part))
                if not isinstance(part[key], dict) or not part[key] or draw.random() < 0.4:
                    break
                part = part[key]
            if draw.random() < 0.3:
                del part[key]
            else:
                part[key] = draw.choice(HOSTILE)
            text = json.dumps(broken)
            path = write(tmp_path / name, text[: draw.choice([len(text), len(text) // 2])])
            with contextlib.suppress(DataError):
                (read_record if name == "run.json" else read_result)(path)
