"""The stored answers of another run, judged and compared with those of the run."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from moekit import Recipe, Registry, hookimpl
from moekit.cli.evaluate import show_result
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.evaluation.given import evaluate_given
from moekit.runs.run import Run
from moekit.sealed import write_sealed
from moekit.tasks.classify import CLASSIFY
from moekit.tasks.classify.store import load_tallies
from moekit.tasks.score import SCORE
from moekit.testing import refused
from moekit.testing.reference import (
    DISTRIBUTION,
    REFERENCE_KIT,
    add_reference,
    run_kit,
    small_backbone,
)
from tests import small_parts

COLOURS = dataclasses.replace(small_parts.COLOURS, recipe=Recipe(views=1, near_duplicate_pairs=0))
HUES = dataclasses.replace(COLOURS, name="hues", head_blocks=(1,))
SCORES = dataclasses.replace(REFERENCE_KIT, name="scores", slots=())


class _Hooks:
    @hookimpl
    def moekit_kits(self):
        return [COLOURS, HUES, SCORES]


@pytest.fixture(scope="module")
def registry():
    made = add_reference(Registry())
    made.register(_Hooks(), distribution=f"{DISTRIBUTION}-kits")
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory, registry):
    """A set, and two runs of different kits on it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "example").mkdir()
    dataset = CLASSIFY.example(folder / "example")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(folder / "cache"))
        for kit in (COLOURS, HUES):
            run_kit(kit, dataset, folder / kit.name, registry)
    return dataset, folder / "colours", folder / "hues"


def judged(registry, dataset, run, given, **changes):
    job = EvaluateJob(kit=COLOURS, dataset=dataset, run=Run(run), **changes)
    return evaluate_given(job, given, registry=registry)


def result_of(run):
    return json.loads((run / "result.json").read_text())


def without_samples(dataset, count, *, split="test"):
    lost = {one.id for one in dataset.split(split)[:count]}
    return dataset.with_samples(one for one in dataset.samples if one.id not in lost), lost


def test_two_runs_are_compared_on_the_same_images(registry, runs, capsys):
    dataset, own, other = runs
    before = {name: (own / name).read_bytes() for name in ("result.json", "predictions.csv")}
    result = judged(registry, dataset, own, other)
    assert result["n"] == len(dataset.split("test"))
    figures = {name: one for name, one in result["metrics"].items() if one["value"] is not None}
    assert {"balanced_accuracy", "top1", "macro_auroc"} <= set(figures)
    for name, entry in figures.items():
        assert entry["value"] == pytest.approx(result_of(other)["metrics"][name]["value"])
        mine = result["baseline"]["metrics"][name]["value"]
        assert mine == pytest.approx(result_of(own)["metrics"][name]["value"])
        gap = result["comparison"]["metrics"][name]["difference"]
        assert gap == pytest.approx(entry["value"] - mine)
    assert result["baseline"]["name"] == "the run colours"
    assert result["comparison"]["verdict"]["better"] in ("given", "run", None)
    assert result["point_of"] == "from"
    assert result["from_run"]["missing"] == []
    assert result["compared_with"] == {
        "run": "the run colours",
        "model": "specialist",
        "missing": [],
    }
    assert {name: (own / name).read_bytes() for name in before} == before
    kept = load_tallies(own / result["folder"], "predictions")
    for tally, run in zip(kept, (other, own), strict=True):
        stored = load_tallies(run, "predictions")[0]
        np.testing.assert_array_equal(tally.probability_NC, stored.probability_NC)
    show_result(result)
    told = capsys.readouterr().out
    assert "hues less the run colours: " in told
    assert "specialist" not in told.partition("hues less")[2]


def test_a_run_is_as_good_as_itself(registry, runs):
    dataset, own, _ = runs
    result = judged(registry, dataset, own, own)
    assert {one["difference"] for one in result["comparison"]["metrics"].values()} <= {0.0, None}
    assert result["comparison"]["verdict"]["better"] is None


def test_the_validation_split_is_stored_by_adapt(registry, runs, tmp_path):
    dataset, own, other = runs
    for run in (own, other):
        shutil.copytree(run, tmp_path / run.name)
        (tmp_path / run.name / "result.json").unlink()
    result = judged(registry, dataset, tmp_path / own.name, tmp_path / other.name, split="val")
    assert result["n"] == len(dataset.split("val"))
    assert result["comparison"]["metrics"]


def test_images_that_the_other_run_has_not_answered_are_counted_and_named(registry, runs, tmp_path):
    dataset, own, other = runs
    shutil.copytree(other, tmp_path / "less")
    fewer, lost = without_samples(dataset, 2)
    evaluate(
        EvaluateJob(kit=HUES, dataset=fewer, run=Run(tmp_path / "less")),
        backbone=small_backbone(),
        registry=registry,
        on_progress=lambda *_: None,
    )
    result = judged(registry, dataset, own, tmp_path / "less")
    total = len(dataset.split("test"))
    assert result["n"] == total - 2
    assert set(result["from_run"]["missing"]) == lost
    (note,) = (one for one in result["notes"] if one.startswith("the run less has no answer"))
    assert f"to 2 of {total} images" in note
    assert all(name in note for name in lost)
    # The other way round it is the run itself that has not answered them.
    swapped = evaluate_given(
        EvaluateJob(kit=HUES, dataset=dataset, run=Run(tmp_path / "less")), own, registry=registry
    )
    assert swapped["n"] == total - 2
    assert set(swapped["compared_with"]["missing"]) == lost
    assert any(one.startswith("the run less has no answer to 2 of") for one in swapped["notes"])


def test_a_run_without_answers_of_its_own_is_not_compared_and_says_why(registry, runs, tmp_path):
    dataset, own, other = runs
    shutil.copytree(own, tmp_path / "bare")
    (tmp_path / "bare" / "result.json").unlink()
    result = judged(registry, dataset, tmp_path / "bare", other)
    assert result["baseline"] is result["comparison"] is None
    assert result["compared_with"]["run"] is None
    assert result["compared_with"]["why"] in result["notes"]
    assert "stored no answers" in result["compared_with"]["why"]


def renamed(dataset):
    return dataclasses.replace(dataset, classes=tuple(f"{one}s" for one in dataset.classes))


def relabelled(dataset):
    test = dataset.split("test")
    swapped = {test[0].id: test[-1].label, test[-1].id: test[0].label}
    assert len(set(swapped.values())) == 2
    return dataset.with_samples(
        dataclasses.replace(one, label=swapped.get(one.id, one.label)) for one in dataset.samples
    )


def repainted(dataset):
    """The first test image holds what a training image does."""
    first, other = dataset.split("test")[0], dataset.split("train")[0]
    return dataset.with_samples(
        dataclasses.replace(one, path=other.path) if one is first else one
        for one in dataset.samples
    )


@pytest.mark.parametrize(
    ("change", "split", "code"),
    [
        (renamed, "test", "data/other-classes"),
        (relabelled, "test", "data/changed"),
        (repainted, "test", "data/changed"),
        (lambda dataset: without_samples(dataset, 1)[0], "test", "data/other-split"),
        (lambda dataset: dataset, "train", "data/other-split"),
    ],
)
def test_answers_of_other_data_are_refused(registry, runs, change, split, code):
    dataset, own, other = runs
    with refused(code):
        judged(registry, change(dataset), own, other, split=split)


def test_answers_that_are_gone_changed_or_of_another_task_are_refused(registry, runs, tmp_path):
    dataset, own, other = runs
    shutil.copytree(other, tmp_path / "broken")
    table = tmp_path / "broken" / "predictions.csv"
    table.write_text(table.read_text().replace("0.", "0.0", 1))
    with refused("data/changed-file", match=r"predictions\.csv"):
        judged(registry, dataset, own, tmp_path / "broken")
    table.unlink()
    with refused("data/no-tallies"):
        judged(registry, dataset, own, tmp_path / "broken")
    (tmp_path / "broken" / "result.json").unlink()
    with refused("data/no-result"):
        judged(registry, dataset, own, tmp_path / "broken")
    record = json.loads((tmp_path / "broken" / "run.json").read_text())
    record["request"]["task"] = "moekit/score"
    write_sealed(tmp_path / "broken" / "run.json", record)
    with refused("data/other-task"):
        judged(registry, dataset, own, tmp_path / "broken")


def test_scores_of_two_runs_have_the_paired_test_of_their_areas(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "example").mkdir()
    dataset = SCORE.example(tmp_path / "example")
    run_kit(SCORES, dataset, tmp_path / "one", registry)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    job = EvaluateJob(
        kit=SCORES, dataset=dataset, run=Run(tmp_path / "one"), rule="max-false-alarm=0.1"
    )
    result = evaluate_given(job, tmp_path / "two", registry=registry)
    assert result["comparison"]["delong_p"] == 1
    assert result["threshold"]["rule"] == "max-false-alarm=0.1"
    assert result["point_in_words"][0] == "the run two is judged by its own point"
