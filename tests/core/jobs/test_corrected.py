"""Learning from corrections, whether the new run replaces the old one, and what to look at next."""

import csv
import io
import json

import numpy as np
import pytest

from moekit.cli.main import main
from moekit.corrections.labels import ClassLabel
from moekit.corrections.store import Correction, Store
from moekit.corrections.terms import Terms
from moekit.data.joined import joined
from moekit.data.samples import Dataset, Sample
from moekit.jobs.next_images import Looked, gains_of
from moekit.jobs.replacing import REPLACES, STAYS, _decided
from moekit.runs.run import Run
from moekit.serve.corrections.review import ReviewList
from moekit.tasks.score.metrics import METRICS
from moekit.testing import refused
from tests.small_parts import ARCHITECTURE, SIDE, png, write_parts


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Weights, images, a run that learned from them, and corrections of other images."""
    home = tmp_path_factory.mktemp("corrected")
    write_parts(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(home / "cache"))
        command(
            *("adapt", "industrial", "--data", f"folder={home / 'parts'}", "--image-size", SIDE),
            *("--out", home / "first", "--epochs", 1, "--views", 1, "--precision", "fp32"),
            *("--architecture", ARCHITECTURE, *weights(home)),
        )
        record = Run(home / "first").read()
        terms = Terms(
            kit=record["request"]["kit"],
            task="score",
            classes=tuple(record["request"]["classes"]),
            form="class",
            loader="moekit/folder",
        )
        store = Store(home / "corrections" / "first", terms)
        for number in range(100, 130):
            label = ClassLabel(form="class", classes=["bars" if number % 2 else "good"])
            content = png(number, odd=number % 2)
            store.add(Correction(content=content, size=(SIDE, SIDE), label=label))
        yield home


def weights(home):
    return "--weights", home / "weights.safetensors", "--form", "none"


def command(*words, code=0):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == code


@pytest.fixture(scope="module")
def second(home):
    command(
        *("adapt", "industrial", "--from", home / "first", "--out", home / "second"),
        *("--data", f"corrections={home / 'corrections'}"),
        *("--also-data", f"folder={home / 'parts'}", *weights(home)),
    )
    return Run(home / "second").read()


def test_corrections_are_learned_from_as_the_earlier_run_was_made(home, second):
    first = Run(home / "first").read()
    for name in ("task", "recipe", "top_k", "frame", "classes"):
        assert second["request"][name] == first["request"][name]
    assert second["request"]["started_from"] == first["weights"]
    assert second["request"]["samples"] == 24 + 30
    assert second["request"]["also_data"] == 1


def test_a_paired_test_on_what_is_held_out_decides_and_is_recorded(home, second):
    tested = second["against_start"]
    assert tested["decision"] in (REPLACES, STAYS)
    assert tested["split"] == "test"
    assert tested["metric"] == "auroc"
    parts = tested["parts"]
    corrected, others = parts["images that were corrected"], parts["the other images"]
    assert corrected["n"] + others["n"] == parts["all held-out images"]["n"]
    assert 0 < corrected["n"] < 30
    assert tested["in_words"][-1].startswith(("the new run replaces", "the earlier run stays"))
    replaced = Run(home / "first").read().get("replaced_by")
    assert (replaced is not None) == (tested["decision"] == REPLACES)


def part(difference, low, high, *, units=30):
    values = {"new": 0.9 + difference, "old": 0.9}
    return {
        "n": 2 * units,
        "units": units,
        **{name: {"auroc": {"value": value}} for name, value in values.items()},
        "difference": {"auroc": {"difference": difference, "ci95": [low, high]}},
    }


@pytest.mark.parametrize(
    ("whole", "others", "expected"),
    [
        (part(0.05, 0.01, 0.09), part(0.0, -0.02, 0.02), REPLACES),
        (part(0.05, -0.01, 0.09), part(0.0, -0.02, 0.02), STAYS),
        (part(0.05, 0.01, 0.09, units=5), part(0.0, -0.02, 0.02), STAYS),
        (part(0.05, 0.01, 0.09), part(-0.04, -0.06, -0.02), STAYS),
        (part(-0.05, -0.09, -0.01), part(0.0, -0.02, 0.02), STAYS),
    ],
)
def test_only_what_is_proven_replaces_a_run(whole, others, expected):
    auroc = next(one for one in METRICS if one.name == "auroc")
    parts = {"all held-out images": whole, "the other images": others}
    decision, told = _decided([auroc], parts, "test")
    assert decision == expected
    assert len(told) == 3


def test_a_metric_that_cannot_be_computed_decides_nothing():
    assert _decided([], {}, "test")[0] == STAYS


def sets(tmp_path, names, split_of, name="first", classes=("good", "odd")):
    samples = []
    for number, text in enumerate(names):
        path = tmp_path / name / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
        label = int(name == "first")
        split = split_of[number]
        samples.append(Sample(id=f"{name}/{number}", path=path, label=label, split=split))
    return Dataset(name=name, samples=tuple(samples), classes=classes)


def test_an_image_in_both_sets_is_corrected_and_stays_where_it_was(tmp_path):
    first = sets(tmp_path, ["a", "b"], ["train", "val"])
    second = sets(tmp_path, ["b", "c"], ["test", "train"], name="second")
    both = {one.path.read_text(): one for one in joined(first, second).samples}
    assert {key: (one.split, one.label) for key, one in both.items()} == {
        "a": ("train", 1),
        "b": ("test", 1),
        "c": ("train", 0),
    }
    with refused("data/other-classes"):
        joined(first, sets(tmp_path, ["d"], ["test"], name="third", classes=("good", "bent")))


def looked(margin, disagreement, distance):
    return Looked(
        path=None,
        content="",
        verdict="a",
        other="b",
        margin=margin,
        disagreement=disagreement,
        distance=distance,
    )


def test_gains_are_the_mean_of_ranks_of_signs_that_tell_images_apart():
    images = [looked(0.5, 0.0, 0.3), looked(0.1, 0.0, 0.9), looked(0.3, 0.0, 0.3)]
    gains, ranks = gains_of(images)
    assert list(ranks) == ["margin", "distance"]
    assert ranks["margin"].tolist() == pytest.approx([1 / 6, 5 / 6, 3 / 6])
    assert ranks["distance"].tolist() == pytest.approx([1 / 3, 5 / 6, 1 / 3])
    assert np.argsort(-gains).tolist() == [1, 2, 0]
    gains, ranks = gains_of([looked(None, 0.0, None)] * 2)
    assert (gains.tolist(), ranks) == ([0.5, 0.5], {})
    assert gains_of([])[0].tolist() == []


def test_images_to_look_at_are_listed_once_and_without_those_that_are_corrected(
    home, tmp_path, capsys
):
    new = tmp_path / "new"
    new.mkdir()
    for number in range(8):
        (new / f"{number}.png").write_bytes(png(200 + number, odd=number % 2))
    (new / "copy.png").write_bytes(png(200))
    (new / "known.png").write_bytes(png(100))
    (new / "broken.png").write_bytes(png(300)[:60])
    out = tmp_path / "lists" / "next.csv"
    command(
        *("next", home / "first", new, "--out", out, "--corrections", home / "corrections"),
        *("--most", 5, "--json", *weights(home)),
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["looked_at"], told["corrected"], told["copies"]) == (5, 8, 1, 1)
    assert len(told["skipped"]) == 1
    assert {"margin", "distance"} <= set(told["signs"])
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["rank"] for row in rows] == list("12345")
    gains = [float(row["gain"]) for row in rows]
    assert gains == sorted(gains, reverse=True)
    review = ReviewList.read([out], most_bytes=2**20)
    assert review.content_of(rows[0]["image_sha256"]) is not None


def test_next_needs_images_of_one_kind_of_source(home, tmp_path):
    out = tmp_path / "next.csv"
    command("next", home / "first", "--out", out, *weights(home), code=2)
    with_both = ("--data", f"folder={home / 'parts'}", home / "parts")
    command("next", home / "first", *with_both, "--out", out, *weights(home), code=2)
    command(
        *("next", home / "first", "--data", f"folder={home / 'parts'}", "--out", out),
        *weights(home),
    )
    assert len(out.read_text().splitlines()) == 25


def test_labels_of_a_tool_are_kept_as_corrections_once(home, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(4):
        (images / f"{number}.png").write_bytes(png(400 + number))
    tags = "".join(
        f'<image name="{number}.png" width="48" height="48"><tag label="{label}"/></image>'
        for number, label in enumerate(["good", "bars", "bent", "good", "good"])
    )
    export = tmp_path / "annotations.xml"
    export.write_text(f"<annotations>{tags}</annotations>")
    words = (
        *("import", export, "--run", home / "first", "--images", images, "--by", "Ada", "--json"),
        *("--corrections", tmp_path / "kept", "--kit", "parts"),
    )
    command(*words)
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["stored"], told["known"]) == (5, 3, 0)
    assert {one["count"] for one in told["leftovers"]} == {1}
    assert len(told["leftovers"]) == 3
    table = io.StringIO((tmp_path / "kept" / "parts" / "labels.csv").read_text())
    rows = list(csv.DictReader(table))
    assert sorted(row["label"] for row in rows) == ["bars", "good", "good"]
    assert {(row["by"], row["source"]) for row in rows} == {("Ada", "CVAT for images 1.1")}
    command(*words)
    assert json.loads(capsys.readouterr().out)["known"] == 3
    export.write_text("<annotations/>")
    command(*words, code=4)


def test_an_image_that_an_export_lists_twice_is_told_and_the_last_label_counts(
    home, tmp_path, capsys
):
    images = tmp_path / "images"
    images.mkdir()
    (images / "0.png").write_bytes(png(400))
    tags = "".join(
        f'<image name="0.png" width="48" height="48"><tag label="{label}"/></image>'
        for label in ("good", "bars")
    )
    export = tmp_path / "annotations.xml"
    export.write_text(f"<annotations>{tags}</annotations>")
    command(
        *("import", export, "--run", home / "first", "--images", images, "--json"),
        *("--corrections", tmp_path / "kept", "--kit", "parts"),
    )
    told = json.loads(capsys.readouterr().out)
    (left,) = told["leftovers"]
    assert (left["count"], left["examples"]) == (1, ["0.png"])
    table = io.StringIO((tmp_path / "kept" / "parts" / "labels.csv").read_text())
    assert [row["label"] for row in csv.DictReader(table)] == ["bars"]


def test_a_run_that_knows_one_class_learns_it_only_and_is_judged_on_the_others(home):
    for number in range(24):
        path = home / "good parts" / "good" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(500 + number))
    parts = f"folder={home / 'good parts'}"
    command(
        *("adapt", "industrial", "--data", parts, "--image-size", SIDE, "--views", 1),
        *("--out", home / "alone", "--architecture", ARCHITECTURE, *weights(home)),
    )
    first = Run(home / "alone").read()["request"]
    assert first["negatives_only"]
    terms = Terms(
        kit=first["kit"],
        task="score",
        classes=tuple(first["classes"]),
        form="class",
        loader="moekit/folder",
    )
    store = Store(home / "alone corrections", terms)
    for number in range(600, 620):
        label = ClassLabel(form="class", classes=[terms.classes[number % 2]])
        content = png(number, odd=number % 2)
        store.add(Correction(content=content, size=(SIDE, SIDE), label=label))
    command(
        *("adapt", "industrial", "--from", home / "alone", "--out", home / "alone-2"),
        *("--data", f"corrections={home / 'alone corrections'}", "--also-data", parts),
        *weights(home),
    )
    second = Run(home / "alone-2").read()
    assert second["request"]["negatives_only"]
    assert " of other classes are held out" in second["request"]["split_note"]
    assert second["against_start"]["parts"]["all held-out images"]["n"] >= 10
