"""Answers of a peer: where their results lie; runs of several labels, which have no paired test."""

import dataclasses
import json
import os

import numpy as np
import pytest

from moekit import Registry
from moekit.evaluation.evaluate import EvaluateJob
from moekit.evaluation.given import evaluate_given
from moekit.evaluation.needs import usable_metrics
from moekit.report.report import render_report
from moekit.runs.run import Run
from moekit.tasks.classify import CLASSIFY
from moekit.tasks.classify.tally import ClassTally
from moekit.tasks.score import SCORE
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused
from moekit.testing.reference import REFERENCE_KIT, run_kit
from tests.small_parts import COLOURS


def made(folder, *, several=False):
    """A set, and the folder of a run on it."""
    (folder / "example").mkdir()
    dataset = CLASSIFY.example(folder / "example")
    if several:
        samples = tuple(
            dataclasses.replace(one, labels=(one.label,), label=one.label)
            for one in dataset.samples
        )
        dataset = dataclasses.replace(dataset, samples=samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(folder / "cache"))
        run_kit(COLOURS, dataset, folder / "run", Registry())
    return dataset, folder / "run"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return made(tmp_path_factory.mktemp("given"))


def answers(dataset, path, *, split="test", between=",", wrong=0):
    """A peer's table, of which the first lines are wrong."""
    rows = [f"id{between}label"]
    for number, one in enumerate(dataset.split(split)):
        label = (one.label + (number < wrong)) % len(dataset.classes)
        rows.append(f"{one.id}{between}{dataset.classes[label]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows))
    return path


def judged(dataset, run, given, *, split="test"):
    job = EvaluateJob(kit=COLOURS, dataset=dataset, run=Run(run), split=split)
    return evaluate_given(job, given, registry=Registry())


def top1(result):
    return result["metrics"]["top1"]["value"]


def test_each_answers_have_a_folder_of_their_own(trained, tmp_path):
    dataset, run = trained
    before = {name: (run / name).read_bytes() for name in ("result.json", "run.json")}
    one = judged(dataset, run, answers(dataset, tmp_path / "net.v1/predictions.csv").parent)
    two = judged(
        dataset, run, answers(dataset, tmp_path / "net.v2/predictions.csv", wrong=3).parent
    )
    again = judged(dataset, run, answers(dataset, tmp_path / "b/net.v1", wrong=6))
    val = judged(dataset, run, answers(dataset, tmp_path / "c/net.v1", split="val"), split="val")
    found = [one, two, again, val]
    folders = [result["folder"] for result in found]
    assert len(set(folders)) == 4
    assert folders[:2] == ["given/net.v1", "given/net.v2"]
    for result in found:
        kept = json.loads((run / result["folder"] / "result.json").read_text())
        assert top1(kept) == top1(result)
    assert top1(one) == 1
    assert top1(two) > top1(again)
    repeated = judged(dataset, run, tmp_path / "net.v1")
    assert repeated["folder"] == "given/net.v1"
    assert {name: (run / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("given", [".", ".."])
def test_a_folder_that_is_named_by_dots_has_its_own_name(trained, tmp_path, given):
    dataset, run = trained
    before = (run / "result.json").read_bytes()
    answers(dataset, tmp_path / f"peer{len(given)}/predictions.csv")
    inside = tmp_path / f"peer{len(given)}" / ("sub" if given == ".." else "")
    inside.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(inside)
        result = judged(dataset, run, type(run)(given))
    assert result["folder"] == f"given/peer{len(given)}"
    assert (run / "result.json").read_bytes() == before
    assert not os.path.lexists(run / "given" / "predictions.csv")


def test_a_table_may_be_separated_by_semicolons(trained, tmp_path):
    dataset, run = trained
    assert top1(judged(dataset, run, answers(dataset, tmp_path / "a.csv", between=";"))) == 1


def test_what_a_peer_does_not_say_is_named_in_words_of_the_field(trained, tmp_path):
    dataset, run = trained
    result = judged(dataset, run, answers(dataset, tmp_path / "words.csv"))
    fields = {name for metric in CLASSIFY.metrics for name in Registry().metric(metric).needs}
    told = [note for note in result["notes"] if "not computed" in note]
    assert {note.split()[0] for note in told} >= {"mean_average_precision", "unseen_auroc"}
    assert not [note for note in told for name in fields if name in note]
    assert any("open-set score" in note for note in told)
    # The most probable class has no threshold that could be another's.
    assert not [one for one in result["point_in_words"] if "judged by" in one]


def test_a_field_without_words_is_named_without_its_shape():
    lost = dataclasses.replace(Registry().metric("top1"), needs=("area_of_parts_NC",))
    tally = ClassTally(ids=(), classes=(), probability_NC=np.zeros((0, 0)))
    assert usable_metrics([lost], tally, None)[1] == [
        "top1 not computed: there is no area of parts"
    ]


def test_a_run_of_several_labels_has_a_report_and_a_model_is_chosen_for_it(tmp_path):
    _, run = made(tmp_path, several=True)
    result = json.loads((run / "result.json").read_text())
    assert "ci95" not in result["comparison"]
    page = render_report(run).read_text(encoding="utf-8")
    assert "mean_average_precision" in page
    used = json.loads((run / "run.json").read_text())["use"]
    assert used["metric"] == "mean_average_precision"


@pytest.mark.parametrize("name", ["none of these", "unreadable"])
def test_a_class_must_not_be_called_as_what_is_no_class(tmp_path, name):
    dataset = CLASSIFY.example(tmp_path)
    renamed = dataclasses.replace(dataset, classes=(name, *dataset.classes[1:]))
    with refused("data/reserved-class", match=name):
        CLASSIFY.learn.check(renamed)


def test_scores_of_a_peer_are_judged_too(tmp_path):
    (tmp_path / "example").mkdir()
    dataset = SCORE.example(tmp_path / "example")
    kit = dataclasses.replace(REFERENCE_KIT, slots=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
        run_kit(kit, dataset, tmp_path / "run", Registry())
    samples = dataset.split("test")
    path = tmp_path / "peer.csv"
    path.write_text(
        "id,score\n" + "\n".join(f"{one.id},{0.1 + 0.8 * one.label}" for one in samples)
    )
    job = EvaluateJob(kit=kit, dataset=dataset, run=Run(tmp_path / "run"), split="test")
    result = evaluate_given(job, path, registry=Registry())
    assert result["metrics"]["auroc"]["value"] == 1
    assert result["point_of"] == "run"
    assert result["point_in_words"][0].startswith("the answers of peer.csv are judged by the run's")
    assert f"threshold {result['threshold']['value']:.4f}" in result["point_in_words"][1]
    kept = Predictions.read_csv(tmp_path / "run" / result["folder"] / "predictions.csv")
    assert kept.ids == tuple(one.id for one in samples)
    for broken, code in (("id,score\nno,1", "data/unknown-id"), ("id,p\n", "data/bad-header")):
        path.write_text(broken)
        with refused(code):
            evaluate_given(job, path, registry=Registry())
