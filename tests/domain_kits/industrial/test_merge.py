"""Runs of two plants on solar cells of their own, merged without these, judged on a third's."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from moekit import Registry
from moekit.export.program import KitProgram
from moekit.files import sha256
from moekit.jobs.adapt import adapt_kit
from moekit.jobs.evaluate import evaluate_run
from moekit.jobs.merge import merge_runs
from moekit.jobs.predict import predict_inputs
from moekit.plugins.resolve import kit_of_run
from moekit.report.report import render_report
from moekit.runs import Run
from moekit.runtime.load import load_predictor
from moekit.sealed import write_sealed
from moekit.testing import refused
from tests.domain_kits.conftest import QUICK

CLASSES = {"0.0": "good", "1.0": "cracked"}
TAKEN = {
    "a": {"good": 24, "cracked": 24},
    "b": {"good": 30, "cracked": 12},
    "held/train": {"good": 4, "cracked": 4},
    "held/val": {"good": 24, "cracked": 24},
    "held/test": {"good": 12, "cracked": 12},
}
"""Cells of each site; those of one have another share of cracked ones."""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with the cells of both sites and with those that are held out."""
    source = Path(str(files("elpv_dataset"))) / "data"
    home = tmp_path_factory.mktemp("places")
    known = {name: [] for name in CLASSES.values()}
    for line in (source / "labels.csv").read_text().splitlines():
        picture, probability, _ = line.split()
        if probability in CLASSES:
            known[CLASSES[probability]].append(source / picture)
    for place, counts in TAKEN.items():
        for name, count in counts.items():
            target = home / place / name
            target.mkdir(parents=True)
            for picture in known[name][:count]:
                shutil.copy(picture, target)
            del known[name][:count]
    return home


def adapted(places, site, folder, *, seed=0, **recipe):
    adapt_kit(
        "industrial",
        data=f"folder={places / site}",
        run_folder=folder,
        seed=seed,
        recipe={**QUICK, "image_size": 84, "epochs": 3, "baseline_epochs": 3, **recipe},
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )
    return folder


@pytest.fixture(scope="module")
def sent(places, tmp_path_factory):
    """What each site sends, and no more."""
    home, made = tmp_path_factory.mktemp("sent"), tmp_path_factory.mktemp("made")
    for site, recipe in (("a", {}), ("b", {"learning_rate": 2e-3})):
        run = adapted(places, site, made / site, **recipe)
        (home / site).mkdir()
        for name in ("run.json", "kit.safetensors", "baseline.safetensors"):
            shutil.copy(run / name, home / site)
    return home


def merged(sent, places, out, *, sites=("a", "b"), **options):
    return merge_runs(
        [sent / site for site in sites],
        data=f"folder={places / 'held'}",
        out=out,
        on_progress=lambda *_: None,
        **options,
    )


@pytest.fixture(scope="module", params=["average", "route"])
def whole(request, sent, places, tmp_path_factory):
    """A merged run, and how it was judged."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    return out, merged(sent, places, out, by=request.param)


@pytest.fixture
def edited(sent, tmp_path):
    """The sites' runs, to be changed: a function that edits the record of one."""
    for site in ("a", "b"):
        shutil.copytree(sent / site, tmp_path / "sent" / site)

    def edit(site, change):
        path = tmp_path / "sent" / site / "run.json"
        record = json.loads(path.read_text())
        change(record)
        write_sealed(path, record)
        return tmp_path / "sent"

    return edit


def test_a_merged_run_is_judged_beside_each_of_its_runs_and_says_what_they_sent(whole, places):
    _, judged = whole
    assert judged["accepted"] is True
    assert judged["kept"]
    assert set(judged["values"]) == {"a", "b", "merged"}
    assert judged["n"] == 48
    assert set(judged["differences"]) == {"a", "b"}
    assert judged["best"] in ("a", "b")
    images = [one["images"] for one in judged["sites"]]
    assert [one["weight"] for one in judged["sites"]] == [one / sum(images) for one in images]
    for one in judged["sites"]:
        assert 0.005 < one["share_of_backbone"] < 0.1
        assert one["bytes"] > 4 * one["parameters"]
    assert any("b was trained otherwise than a: learning_rate" in one for one in judged["notes"])


def test_all_commands_take_a_merged_run(whole, places, tmp_path):
    run, _ = whole
    result = evaluate_run(
        "industrial",
        data=f"folder={places / 'held'}",
        run_folder=run,
        on_progress=lambda *_: None,
    )
    assert result["n"] == 24
    assert result["metrics"]["auroc"]["value"] > 0.5
    assert render_report(run).stat().st_size > 10_000
    cell = next((places / "held/test/cracked").glob("*.png"))
    found = predict_inputs(
        "industrial",
        inputs=[cell],
        run_folder=run,
        out=tmp_path / "out",
        on_progress=lambda *_: None,
    )
    assert found["n"] == 1
    assert found["unreadable"] == 0


@torch.inference_mode()
def test_the_graph_of_a_merged_run_gives_the_same(whole, backbone):
    folder, _ = whole
    run, registry = Run(folder), Registry()
    spec = kit_of_run(registry, "industrial", run.read_finished())
    predictor = load_predictor(
        run, spec, backbone=backbone, registry=registry, with_baseline=False, precision="fp32"
    )
    images = torch.randn(2, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    program = KitProgram.of(predictor, (3, 84, 84))
    graph = torch.export.export(program, (images,)).module()
    found = dict(zip([field.name for field in program.fields], graph(images), strict=True))
    for name, value in predictor(images).kit.items():
        torch.testing.assert_close(found[name].to(value.dtype), value, atol=1e-4, rtol=1e-4)


def test_the_record_of_a_merged_run_names_what_went_into_it(whole, sent):
    run, _ = whole
    record = json.loads((run / "run.json").read_text())
    known = [sha256(sent / site / "kit.safetensors") for site in ("a", "b")]
    assert [one["kit_sha256"] for one in record["request"]["merged"]["sites"]] == known
    assert [one["weights"]["kit_sha256"] for one in record["merged"]["sites"]] == known
    assert all(one["data"]["train"]["images"] for one in record["merged"]["sites"])
    runs = [part for part in record["licences"]["parts"] if part["what"] == "run"]
    assert len(runs) == 2
    assert all(part["made_from"] for part in runs)
    assert record["rule"]["name"]
    assert record["point"]["in_words"]
    assert list(record["request"]["data"]) == ["val"]


def test_averaged_weights_are_the_mean_by_images(sent, places, tmp_path):
    judged = merged(sent, places, tmp_path / "run")
    first, second = (load_file(sent / site / "kit.safetensors") for site in ("a", "b"))
    share = judged["sites"][0]["weight"]
    for name, value in load_file(tmp_path / "run" / "kit.safetensors").items():
        mean = share * first[name].double() + (1 - share) * second[name].double()
        mean = mean if value.is_floating_point() else mean.round()
        torch.testing.assert_close(value.double(), mean, atol=1e-6, rtol=1e-6)


def test_all_specialists_and_router_rows_lie_side_by_side(sent, places, tmp_path):
    merged(sent, places, tmp_path / "run", by="route")
    first, second = (load_file(sent / site / "kit.safetensors") for site in ("a", "b"))
    both = load_file(tmp_path / "run" / "kit.safetensors")
    rows = {name: value for name, value in both.items() if name.endswith("weight_ED")}
    assert rows
    for name, value in rows.items():
        one, other = first[name], second[name]
        expected = torch.cat([one[:2], other[:2], one[2:], other[2:]])
        assert torch.equal(value, expected)


def test_runs_side_by_side_may_have_begun_differently_but_have_no_mean(places, sent, tmp_path):
    adapted(places, "b", tmp_path / "sent" / "c", seed=7)
    shutil.copytree(sent / "a", tmp_path / "sent" / "a")
    with refused("data/unfit-run", match="another seed.*one --seed or --from.*--by route"):
        merged(tmp_path / "sent", places, tmp_path / "no", sites=("a", "c"))
    assert merged(tmp_path / "sent", places, tmp_path / "yes", sites=("a", "c"), by="route")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("backbone_sha256", "0" * 64, "another backbone"),
        ("top_k", 8, "another"),
        ("classes", ["good", "bad"], "list of classes"),
        ("frame", {"height": 112, "width": 112, "fit": "squash"}, "image size"),
        ("changes", {"experts": [], "gate": None, "sites": 2}, "side by side"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(field, value, told, edited, places, tmp_path):
    home = edited("b", lambda record: record["request"].update({field: value}))
    with refused("data/unfit-run", match=rf"1 of 2 runs.*b: .*{told}"):
        merged(home, places, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_another_way_of_reading_tokens_is_refused(edited, places, tmp_path):
    home = edited("b", lambda record: record["request"]["recipe"].update(token_share=0.3))
    with refused("data/unfit-run", match="b: .*token share"):
        merged(home, places, tmp_path / "run")


def test_a_broken_run_is_refused_by_name_or_left_out(edited, sent, places, tmp_path):
    home = edited("b", lambda record: None)
    weights = load_file(home / "b" / "kit.safetensors")
    weights["head.score.weight" if "head.score.weight" in weights else next(iter(weights))][:] = (
        torch.nan
    )
    save_file(weights, home / "b" / "kit.safetensors")
    edited("b", lambda record: record["weights"].update(kit_sha256=digest(home)))
    with refused("data/unfit-run", match="b: .*not finite"):
        merged(home, places, tmp_path / "run")
    (home / "c").mkdir()
    adapted(places, "b", home / "d")
    judged = merged(home, places, tmp_path / "run", sites=("c", "a", "b", "d"), leave_out=True)
    assert [one["name"] for one in judged["left_out"]] == ["c", "b"]
    assert [one["name"] for one in judged["sites"]] == ["a", "d"]


def digest(home):
    return sha256(home / "b" / "kit.safetensors")


def test_the_same_weights_do_not_count_twice(sent, places, tmp_path):
    shutil.copytree(sent / "a", tmp_path / "a")
    with refused("data/unfit-run", match="same weights as a"):
        merge_runs(
            [sent / "a", tmp_path / "a"],
            data=f"folder={places / 'held'}",
            out=tmp_path / "run",
            on_progress=lambda *_: None,
        )


def spoilt(home, site):
    """A run whose head answers the opposite."""
    for part in ("kit", "baseline"):
        path = home / site / f"{part}.safetensors"
        weights = load_file(path)
        for name in weights:
            if name.startswith("head.score."):
                weights[name] = -40 * weights[name]
        save_file(weights, path)


def test_a_merged_run_that_is_proven_worse_is_not_kept_unless_asked(
    moekit, edited, places, tmp_path
):
    home = edited("b", lambda record: None)
    spoilt(home, "b")
    edited(
        "b",
        lambda record: record["weights"].update(
            {f"{part}_sha256": sha256(home / "b" / f"{part}.safetensors") for part in PARTS}
        ),
    )
    out = tmp_path / "run"
    asked = ("merge", home / "a", home / "b", "--data", f"folder={places / 'held'}", "--out", out)
    outcome = moekit(*asked)
    assert outcome.code == 1, outcome.err
    assert "proven worse than a" in outcome.err
    assert "merged less b: +" in outcome.err
    assert "MB" in outcome.out
    assert (out / "merge.json").exists()
    assert not (out / "run.json").exists()
    again = moekit(*asked, "--accept-anyway", "--json")
    assert again.code == 0
    assert again.json["accepted"] is False
    assert json.loads((out / "run.json").read_text())["merged"]["kept"]


PARTS = ("kit", "baseline")


def test_a_run_whose_answers_are_no_numbers_is_named(edited, places, tmp_path):
    home = edited("b", lambda record: None)
    path = home / "b" / "kit.safetensors"
    weights = load_file(path)
    weights["head.norm.running_var"][:] = -1.0
    save_file(weights, path)
    edited("b", lambda record: record["weights"].update(kit_sha256=digest(home)))
    with refused("data/unfit-run", match="the run b gave impossible answers"):
        merged(home, places, tmp_path / "run")


def test_a_folder_with_a_run_is_not_taken(whole, sent, places):
    run, _ = whole
    with refused("usage/exists"):
        merged(sent, places, run)


def test_one_run_is_not_merged(sent, places, tmp_path):
    with refused("usage/one-run"):
        merged(sent, places, tmp_path / "run", sites=("a",))
