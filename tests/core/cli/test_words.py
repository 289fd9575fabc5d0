"""What commands say: no message contradicts itself or counts one thing as several."""

import pytest

from moekit.builtin.loaders.labels import order_classes
from moekit.runs.run import Run
from moekit.testing import refused
from moekit.text import many


def test_a_file_in_the_place_of_a_folder_is_called_a_file(moekit, tmp_path):
    (tmp_path / "afile").write_text("x")
    out = moekit("adapt", "industrial", "--data", "folder=x", "--out", tmp_path / "afile")
    assert out.code == 2
    assert "afile' is a file, not a folder" in out.err
    assert "Directory" not in out.err
    out = moekit("embed", "x", "--out", tmp_path)
    assert "is a folder, not a file" in out.err


def test_a_run_begun_otherwise_names_what_differs_and_both_ways_out(tmp_path):
    Run(tmp_path).begin({"kit": "a", "classes": ["x"], "dataset": "d"}, resume=False)
    with refused("usage/other-run", match="other values of: classes, dataset") as caught:
        Run(tmp_path).begin({"kit": "a", "classes": ["y"], "dataset": "e"}, resume=True)
    assert "choose another --out" in caught.value.fix
    assert "resume it" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 classes are"), (1, "1 class is"), (2, "2 classes are")]
)
def test_one_is_not_several(count, told):
    assert many(count, "class is", "classes are") == told


def test_one_class_is_not_called_classes():
    with refused("data/class-count", match="1 class was found"):
        order_classes(["odd"], whose="-")


def test_epochs_hold_for_the_kit_and_its_baseline(monkeypatch):
    from moekit.cli.adapt import run_adaptation
    from moekit.cli.output import reporter

    asked = {}
    monkeypatch.setattr("moekit.jobs.adapt.adapt_kit", lambda kit, **given: asked.update(given))
    with reporter() as progress:
        run_adaptation("any", progress=progress, epochs=3)
    assert asked["recipe"] == {"epochs": 3, "baseline_epochs": 3}


def test_counts_of_a_paired_test_are_named_and_empty_notes_left_out():
    from moekit.cli.evaluate import comparison_in_words

    paired = {
        "metric": "top1",
        "top1_difference": 0.125,
        "mcnemar_p": 0.18,
        "only_kit_right": 7,
        "note": "",
    }
    told = comparison_in_words({"comparison": paired})
    assert told.endswith("top1 difference +0.125, mcnemar p 0.18, only kit right 7")


def test_answers_without_a_baseline_have_no_column_of_undefined_figures(capsys):
    from moekit.cli.evaluate import show_result

    figure = {"value": 0.5, "ci95": None, "higher_is_better": True}
    result = {
        "kit": "any",
        "dataset": "some",
        "split": "test",
        "n": 2,
        "metrics": {"top1": figure},
        "baseline": None,
        "skipped": [],
        "foreign": True,
        "from": "peer.csv",
        "folder": "given/peer.csv",
        "notes": [],
        "data": {"caution": ""},
        "disclaimer": "",
    }
    show_result(result)
    out = capsys.readouterr().out
    assert "0.5000" in out
    assert "given: peer.csv" in out
    assert "undefined" not in out
    assert "frozen" not in out
