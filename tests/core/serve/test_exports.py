"""Runs served by their exports: the same answers, with the hash of the graph."""

import contextlib

import pytest

from moekit.cli.main import main
from moekit.export.record import graph_sha256
from moekit.files import sha256
from moekit.serve.opening import open_runs
from moekit.serve.options import ServeOptions
from moekit.serve.receipts import read_served
from moekit.serve.schema import AnswerReply, KitsReply
from moekit.serve.verify import verify_answers
from moekit.testing import refused

pytest.importorskip("openvino", reason="the extra export is not installed")
NAMES = ("all", "again")


def own_graph(folder):
    """The hash of a graph and its weights."""
    files = {name: sha256(folder / name) for name in ("model.bin", "model.xml")}
    return graph_sha256(files, files)


@pytest.fixture(scope="module")
def export(folder, runs):
    """Exports a run by the command."""

    def call(name, *options):
        with pytest.raises(SystemExit) as stop:
            main(
                [
                    *("export", "industrial", "--run", str(runs[name]), "--form", "none"),
                    *("--data", f"folder={folder / 'parts'}", "--format", "openvino"),
                    *("--weights", str(folder / "weights.safetensors"), *map(str, options)),
                ]
            )
        assert stop.value.code == 0

    return call


@pytest.fixture(scope="module")
def exported(export, runs):
    """A run with an export, which is served by two names."""
    export("all")
    return dict.fromkeys(NAMES, runs["all"])


@pytest.fixture(scope="module")
def by_graphs(exported):
    """The exports, as the server uses them; one image a pass."""
    options = ServeOptions(batch_size=1)
    with contextlib.closing(open_runs(exported, options=options, backend="openvino")) as made:
        yield made


@pytest.fixture
def image(picture):
    return picture(5, odd=True)


def test_exports_answer_as_the_runs_do_and_name_their_graphs(
    serve, by_graphs, service, image, exported
):
    served = serve(by_graphs, batch_size=1)
    reply = served.ask(image)
    assert reply.status_code == 200, reply.text
    AnswerReply.model_validate(reply.json())
    found = reply.json()["images"][0]["answers"]
    wanted = serve(service).ask(image, kits=["all"]).json()["images"][0]["answers"]["all"]
    assert list(found) == list(NAMES)
    for name, one in found.items():
        assert one["values"]["score"] == pytest.approx(wanted["values"]["score"], abs=1e-4)
        assert one["receipt"]["export_sha256"] == own_graph(exported[name] / "export" / "openvino")
        assert wanted["receipt"]["export_sha256"] is None
        assert "openvino" in one["receipt"]["computed"]["versions"]
    kits = served.client.get("/v1/kits").json()
    KitsReply.model_validate(kits)
    assert [one["settings"]["backend"] for one in kits["kits"]] == ["openvino"] * 2


def test_an_answer_of_an_export_is_verified_by_the_export(
    serve, by_graphs, image, exported, small, tmp_path
):
    path = tmp_path / "reply.json"
    path.write_text(serve(by_graphs, batch_size=1).ask(image).text)
    served, folders = read_served(path), [exported["all"]]
    found, _ = verify_answers(served, image, folders, backend="openvino")
    assert [(one.name, one.bitwise, one.others) for one in found] == [
        (name, True, {}) for name in NAMES
    ]
    with refused("error/other-export", match="export_sha256"):
        verify_answers(served, image, folders, backbone=small)


def test_an_export_that_fails_takes_no_other_with_it(serve, by_graphs, image, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("of the tests")

    compute = by_graphs._runtime._answerers["again"].compute
    monkeypatch.setattr(compute, "_session", fail)
    entry = serve(by_graphs, batch_size=1).ask(image).json()["images"][0]
    assert set(entry["answers"]) == {"all"}
    assert entry["failed"]["again"]["code"] == "plugin/run-failed"
    assert serve(by_graphs, batch_size=1).ask(image, kits=["again"]).status_code == 500


def test_what_an_export_cannot_follow_is_refused(exported, runs, tmp_path):
    options = ServeOptions()
    with refused("usage/option-conflict", match="memory"):
        open_runs(exported, options=options, backend="openvino", most_kits=2)
    with refused("usage/option-conflict"):
        open_runs(exported, options=options, backend="openvino", form="none")
    with refused("data/no-export"):
        open_runs({"few": runs["few"]}, options=options, backend="onnx")


@pytest.fixture(scope="module")
def split(export, runs):
    """Two runs with split exports, the second on the prefix of the first."""
    export("all", "--split")
    export("other", "--prefix", runs["all"] / "export" / "openvino-split")
    return {name: runs[name] for name in ("all", "other")}


def test_split_exports_answer_by_one_pass_as_each_does_alone(serve, split, service, image):
    options = ServeOptions(batch_size=1)
    with contextlib.closing(open_runs(split, options=options, backend="openvino-split")) as made:
        computes = [one.compute for one in made._runtime._answerers.values()]
        assert computes[0].prefix is computes[1].prefix
        passes, prefix = [], computes[0].prefix

        def counted(images):
            passes.append(len(images))
            return prefix(images)

        for one in computes:
            one.prefix = counted
        served = serve(made, batch_size=1)
        found = served.ask(image).json()["images"][0]["answers"]
        views = len(passes)
        alone = [served.ask(image, kits=[name]).json()["images"][0]["answers"] for name in split]
        assert len(passes) == 3 * views, "together they have the passes of one"
        kits = served.client.get("/v1/kits").json()
    KitsReply.model_validate(kits)
    assert [one["prefix"]["shared_with"] for one in kits["kits"]] == [["other"], ["all"]]
    for one in alone:
        for name, answer in one.items():
            assert answer["values"] == found[name]["values"]
    by_torch = serve(service).ask(image, kits=[*split]).json()["images"][0]["answers"]
    for name, one in found.items():
        wanted = by_torch[name]["values"]["score"]
        assert one["values"]["score"] == pytest.approx(wanted, abs=1e-4)
    whole = found["all"]["receipt"]["export_sha256"]
    assert whole == own_graph(split["all"] / "export" / "openvino-split")
