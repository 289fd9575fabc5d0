"""Runs that differ in `top_k` and views share one backbone, and answer as each does alone."""

import numpy as np
import pytest
import torch

from moekit import ImageError, Runtime
from moekit.bench.kits import run_calls
from moekit.data.images import read_image
from moekit.prediction.predict import predict
from moekit.runs.run import Run
from moekit.runtime.load import load_answerer
from moekit.testing import refused


@pytest.fixture
def runs(tmp_path, finished_run, recipe):
    """Two runs of one kit: few experts and one view, all experts and three views."""
    finished_run(tmp_path / "few", top_k=2)
    averaged = recipe.model_copy(update={"scoring_views": 3})
    finished_run(tmp_path / "views", recipe=averaged)
    return {name: tmp_path / name for name in ("few", "views")}


def scores(runtime, name, cells):
    paths = [sample.path for sample in cells.samples[:6]]
    return [answer.score for answer in runtime.answer(paths, kit=name)]


def test_two_runs_answer_together_as_each_does_alone(runs, known, small_backbone, cells):
    together = Runtime(small_backbone, registry=known)
    before = small_backbone.top_k
    for name, folder in runs.items():
        together.load(folder, name=name)
    assert small_backbone.top_k == before, "loading a run changes nothing for others"
    found = {name: scores(together, name, cells) for name in (*runs, *reversed(runs))}
    for name, folder in runs.items():
        alone = Runtime(small_backbone, registry=known)
        alone.load(folder, name=name)
        assert scores(alone, name, cells) == found[name]
    assert found["few"] != found["views"]


def test_the_runtime_answers_what_predict_writes(runs, known, kit, small_backbone, cells, tmp_path):
    runtime = Runtime(small_backbone, registry=known)
    runtime.load(runs["views"], name="views")
    _, answerer = load_answerer(Run(runs["views"]), kit, backbone=small_backbone, registry=known)
    rows = predict(
        [(sample.id, sample.path) for sample in cells.samples[:6]],
        answerer=answerer,
        provenance={},
        out=tmp_path / "out",
        batch_size=6,
        on_progress=lambda *_: None,
    )
    assert [row["score"] for row in rows] == scores(runtime, "views", cells)


def test_views_are_averaged_and_few_experts_are_used(runs, known, small_backbone, cells):
    runtime = Runtime(small_backbone, registry=known)
    for name, folder in runs.items():
        runtime.load(folder, name=name)
    images = torch.zeros(1, 3, 32, 32)
    assert runtime.predict(images, kit="few")["logit_B"].shape == (1,)
    with refused("usage/name-taken"):
        runtime.load(runs["few"], name="few")
    runtime.detach("few")
    assert runtime.kits == ("views",)


def test_runs_answer_in_one_request_as_each_does_alone(runs, known, small_backbone, cells):
    runtime = Runtime(small_backbone, registry=known)
    runtime.load(runs["few"], name="few experts")
    paths = [sample.path for sample in cells.samples[:6]]
    found = runtime.answer(paths, kits=["few experts", runs["views"]])
    assert list(found) == ["few experts", "views"]
    for name, answers in found.items():
        assert [answer.score for answer in answers] == scores(runtime, name, cells)
    again = runtime.answer(paths[:1], kits=[Run(runs["views"]), runs["few"]])
    assert list(again) == ["views", "few experts"], "a run that is attached is not loaded again"
    passes = [(one.view, one.top_k) for one in runtime.plan(["few experts", "views"]).passes]
    assert passes == [(0, 2), (0, 16), (1, 16), (2, 16)]


def test_pictures_in_memory_are_answered_as_their_files_and_what_is_no_picture_is_refused(
    runs, known, small_backbone, cells, tmp_path
):
    runtime = Runtime(small_backbone, registry=known)
    runtime.load(runs["few"], name="few")
    paths = [sample.path for sample in cells.samples[:3]]
    read = [read_image(path) for path in paths]
    arrays = [np.asarray(read[0]), torch.from_numpy(np.array(read[1])).permute(2, 0, 1), read[2]]
    of_files = [answer.score for answer in runtime.answer(paths, kit="few")]
    assert [answer.score for answer in runtime.answer(arrays, kits=["few"])["few"]] == of_files
    for wrong in (np.zeros((4, 4, 3)), torch.zeros(4, 4, dtype=torch.uint8)[None, None], "a.png"):
        with refused("usage/no-picture"):
            runtime.answer([wrong], kits=["few"])
    with refused("usage/no-kit"):
        runtime.answer([], kits=[])
    with refused("usage/not-attached"):
        runtime.plan(["nonesuch"])
    with refused("usage/one-of-two"):
        runtime.answer([])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.png"):
        runtime.answer([broken], kits=["few"])


def test_more_kits_than_fit_into_memory_answer_as_all_do(runs, known, small_backbone, cells):
    runtime = Runtime(small_backbone, registry=known, most_kits=2)
    names = {"a": "few", "b": "views", "c": "few"}
    for name, folder in names.items():
        runtime.load(runs[folder], name=name)
    paths = [sample.path for sample in cells.samples[:6]]
    runtime.preload(["a"])
    found = runtime.answer(paths, kits=list(names))
    answered = {name: [answer.score for answer in found[name]] for name in found}
    assert answered == {name: scores(runtime, name, cells) for name in names}
    calls, expected = run_calls(list(runs.values()), (1, 3), runtime=runtime)
    assert list(calls) == list(expected) == ["one kit", "1 kits", "3 kits"]
    assert list(calls["3 kits"](0)) == ["few-0", "views-1", "few-2"]
    assert expected["3 kits"] > expected["1 kits"] == 1
    (runs["views"] / "kit.safetensors").unlink()
    runtime.answer(paths[:1], kits=["a", "c"])
    found = runtime.answer(paths, kits=["b", "c"])
    assert list(found) == ["c"]
    with refused("weights/damaged"):
        found["b"]
