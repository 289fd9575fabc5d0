"""Exports in two graphs: one prefix for several kits, in float32 and in int8."""

import dataclasses
import shutil

import pytest
import torch

from moekit.export.record import open_export
from moekit.export.split import graphs
from moekit.export.split.given import open_given
from moekit.export.split.graphs import SplitGraphs
from moekit.export.split.opening import open_compute
from moekit.export.together import compute_exports
from moekit.files import read_json
from moekit.runs.run import Run
from moekit.sealed import write_sealed
from moekit.tasks.score import SCORE
from moekit.testing import refused

pytest.importorskip("openvino", reason="needs the extra `export`")
pytestmark = pytest.mark.usefixtures("recorded_once")
NAME = "openvino-split"


@pytest.fixture
def make_kit(make_predictor, randomise):
    """A kit with specialists in the middle of three blocks; its head reads the first and last."""

    def make(seed, **changes):
        predictor = make_predictor(**{"head_blocks": (0, 2), **changes})
        randomise(predictor.kit, seed=seed, by=0.1)
        return predictor

    return make


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the runs of `two` are kept between tests."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def two(kept, write, make_kit, make_run, tmp_path, recorded_once, monkeypatch):
    """Two kits, and copies of their runs with split exports of their own, which are made once.

    Each records its prefix: that these are equal is for the tests to find.
    """
    kits = {"one": make_kit(1, views=2), "other": make_kit(2)}
    runs = {}
    for name, kit in kits.items():
        if not (kept / name).exists():
            with monkeypatch.context() as patch:
                patch.setattr(recorded_once, "always", True)
                run, _ = write(kit, NAME, run=make_run(kit, name), split=True)
            shutil.move(run.folder, kept / name)
        shutil.copytree(kept / name, tmp_path / name)
        runs[name] = Run(tmp_path / name)
    return kits, runs


def folder_of(run, name=NAME):
    return run.folder / "export" / name


def bits(computed):
    return {name: value.numpy().tobytes() for name, value in computed.kit.items()}


class Counted:
    """A prefix that counts what it is asked."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        return self.prefix(images)


@pytest.fixture
def opened(two):
    """The exports of `two`, with one prefix that counts its calls."""
    computes = {name: open_compute(open_export(run, NAME), SCORE) for name, run in two[1].items()}
    assert computes["one"].prefix is computes["other"].prefix, "it is loaded once"
    counted = Counted(computes["one"].prefix)
    for one in computes.values():
        one.prefix = counted
    return computes


def test_prefixes_of_two_kits_are_one_and_the_parts_are_compared(two):
    _, runs = two
    records = [read_json(folder_of(run) / "export.json") for run in runs.values()]
    files = [
        {path.name: path.read_bytes() for path in folder_of(run).glob("prefix.*")}
        for run in runs.values()
    ]
    assert files[0] == files[1]
    assert set(files[0]) == {"prefix.xml", "prefix.bin"}
    prefixes = [one["split"]["prefix"] for one in records]
    assert prefixes[0] == prefixes[1]
    assert (prefixes[0]["blocks"], prefixes[0]["top_k"]) == (2, 16)
    assert prefixes[0]["outputs"] == ["block_0", "block_1", "normal_1"]
    assert [one["split"]["views"] for one in records] == [[0, 1], [0]]
    for one in records:
        parts = one["parity"]["parts"]
        assert set(parts["prefix"]["fields"]) == set(prefixes[0]["outputs"])
        assert parts["own"]["fields"]["score_B"]["greatest"] <= 1e-4
        assert one["parity"]["fields"]["score_B"]["greatest"] <= 1e-4


def test_each_kit_answers_by_a_shared_pass_as_it_does_by_itself(two, opened, preprocess, generator):
    kits, _ = two
    images = torch.randn(3, *preprocess.shape, generator=generator)
    together = compute_exports(opened, images, {})
    assert opened["one"].prefix.calls == 2, "the first view is computed once for both"
    for name, one in opened.items():
        assert bits(together[name]) == bits(one(images))
        wanted = kits[name](images).kit["logit_B"].sigmoid()
        found = together[name].kit["logit_B"].sigmoid()
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    scores = [one.kit["logit_B"] for one in together.values()]
    assert (scores[0] - scores[1]).abs().min() > 1e-3


def test_a_kit_that_fails_takes_no_other_with_it(opened, preprocess, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("of the tests")

    monkeypatch.setattr(opened["one"], "_session", fail)
    failed = {}
    found = compute_exports(opened, torch.zeros(1, *preprocess.shape), failed)
    assert set(found) == {"other"}
    assert failed["one"].code == "plugin/run-failed"


def test_a_damaged_prefix_is_refused(two):
    _, runs = two
    path = folder_of(runs["one"]) / "prefix.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with refused("weights/wrong-hash"):
        open_export(runs["one"], NAME)
    record = folder_of(runs["other"]) / "export.json"
    content = read_json(record)
    content["split"]["prefix"]["sha256"] = "0" * 64
    write_sealed(record, content)
    with refused("data/damaged-run", match="prefix"):
        open_export(runs["other"], NAME)
    with refused("data/no-export") as error:
        open_export(runs["one"], "onnx-split")
    assert "--format onnx --split" in error.value.fix


def test_a_prefix_that_does_not_fit_is_refused(two, make_kit, make_predictor, preprocess):
    _, runs = two
    folder = folder_of(runs["one"])
    record = read_json(folder / "export.json")
    fitting = {
        "format_": "openvino",
        "precision": "fp32",
        "computes": record["computes"],
        "shape": preprocess.shape,
    }
    _, prefix = open_given(folder, make_kit(3), **fitting)
    assert prefix.blocks == 2
    late = dataclasses.replace(make_predictor.slot, block=2)
    open_given(folder, make_kit(3, slots=(late,)), **fitting)
    others = {
        "format": {"format_": "onnx"},
        "precision": {"precision": "int8"},
        "backbone": {"computes": "0"},
        "input": {"shape": (3, 40, 40)},
    }
    for match, change in others.items():
        with refused("usage/other-prefix", match=match):
            open_given(folder, make_kit(3), **{**fitting, **change})
    early = dataclasses.replace(make_predictor.slot, block=0)
    with refused("usage/other-prefix", match="after 2 blocks"):
        open_given(folder, make_kit(3, slots=(early,)), **fitting)
    record["split"]["prefix"]["outputs"].remove("block_0")
    write_sealed(folder / "export.json", record)
    with refused("usage/other-prefix", match="reads block_0"):
        open_given(folder, make_kit(3), **fitting)
    write_sealed(folder / "export.json", {**record, "split": None})
    with refused("usage/other-prefix", match="one graph"):
        open_given(folder, make_kit(3), **fitting)


def test_a_prefix_outside_the_tolerance_leaves_nothing(two, write, make_run, monkeypatch):
    kits, runs = two
    kit = kits["other"]
    monkeypatch.setattr(graphs, "TOLERANCE", -1.0)
    run = make_run(kit)
    with refused("error/graph-differs", match="prefix"):
        write(kit, NAME, run=run, split=True, prefix=folder_of(runs["one"]))
    assert list((run.folder / "export").iterdir()) == []


def test_kits_in_int8_share_the_prefix_of_the_first(
    two, write, make_kit, make_run, preprocess, generator
):
    pytest.importorskip("nncf", reason="needs the extra `export`")
    kits, _ = two
    name, records, runs = "openvino-int8-split", [], []
    how = {"int8": True, "split": True, "max_loss": 1.0, "allow_slower": True}
    for number, kit in enumerate(kits.values()):
        prefix = folder_of(runs[0], name) if runs else None
        made = write(kit, name, run=make_run(kit, f"run-{number}"), prefix=prefix, **how)
        runs.append(made[0])
        records.append(made[1])
    first, second = (one["split"]["prefix"] for one in records)
    assert first == second
    assert first["precision"] == "int8"
    assert first["calibration"]["split"] == "train"
    for run, record in zip(runs, records, strict=True):
        for graph in ("prefix.xml", "model.xml"):
            assert 'element_type="i8"' in (folder_of(run, name) / graph).read_text(), graph
        told = record["quantisation"]
        assert told["accuracy"]["n"] == 20
        assert told["drift"]["parts"]["prefix"]["fields"]["block_1"]["greatest"] > 1e-3
        assert record["parity"]["parts"]["prefix"]["fields"]["block_1"]["greatest"] < 1e-4
    computes = {
        str(number): open_compute(open_export(run, name), SCORE) for number, run in enumerate(runs)
    }
    assert computes["0"].prefix is computes["1"].prefix
    images = torch.randn(2, *preprocess.shape, generator=generator)
    together = compute_exports(computes, images, {})
    for number, kit in enumerate(kits.values()):
        one = together[str(number)]
        assert bits(one) == bits(computes[str(number)](images))
        drift = (one.kit["logit_B"].sigmoid() - kit(images).kit["logit_B"].sigmoid()).abs()
        assert 0 < drift.max() < 0.2


def test_onnx_has_both_graphs_too(make_kit, preprocess, generator, tmp_path):
    kit = make_kit(1, views=2)
    images = torch.randn(23, *preprocess.shape, generator=generator)
    made = SplitGraphs(
        *(kit, preprocess), format_="onnx", int8=False, kit="small", out=tmp_path, computes="-"
    )
    assert made.write(tmp_path) == ["score", "logit", "map"]
    assert set(made.parity(images)["parts"]) == {"prefix", "own"}
    facts = made.save("of the tests")
    assert facts["split"]["prefix"]["files"] == ("prefix.onnx",)
    assert {path.name for path in tmp_path.iterdir()} == {"prefix.onnx", "model.onnx"}
