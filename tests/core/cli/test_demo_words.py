"""What a demonstration says at its end: whether the specialist helped, and who answers."""

import pytest

from moekit import Registry
from moekit.cli.demo import _folder_name, _Steps, _what_next, closing_words
from moekit.cli.main import main


def result(own, bare, *, up=True, proven=False, model="specialist"):
    figures = {"value": own, "higher_is_better": up}
    return {
        "metrics": {"auroc": figures},
        "baseline": {"name": "frozen backbone, same head", "metrics": {"auroc": {"value": bare}}},
        "comparison": {"verdict": {"proven": proven}},
        "used": {"model": model},
        "n": 240,
        "split": "test",
    }


@pytest.mark.parametrize(
    ("own", "bare", "up", "word"),
    [
        (0.932, 0.987, True, "does not help"),
        (0.987, 0.932, True, "helps"),
        (0.2, 0.1, False, "does not help"),
        (0.5, 0.5, True, "changes nothing"),
    ],
)
def test_a_specialist_that_does_not_help_is_told_as_such(own, bare, up, word):
    first, _ = closing_words(result(own, bare, up=up), None)
    assert f"the specialist {word}" in first
    assert f"{own:.4f} with it and {bare:.4f} without" in first
    assert ("chance" in first) == (own != bare)
    assert "proven" not in first


def test_a_difference_that_is_proven_is_not_called_chance():
    first, _ = closing_words(result(0.987, 0.932, proven=True), None)
    assert first.endswith("which is proven.")
    assert "chance" not in first


def test_it_says_which_model_answers_and_what_that_was_chosen_by():
    use = {"in_words": "auroc on 240 items of the validation split: specialist 0.9, baseline 0.95"}
    _, last = closing_words(result(0.9, 0.95, proven=True, model="mean"), use)
    assert last.startswith("`moekit predict` answers by the mean of both")
    assert "on validation data only" in last
    assert use["in_words"] in last


def test_without_a_baseline_or_a_value_nothing_is_compared():
    assert closing_words({**result(0.9, 0.9), "baseline": None}, None) == []
    assert closing_words(result(None, 0.9), None) == []


def test_the_steps_are_counted():
    steps = _Steps(2)
    assert [steps.next("learn"), steps.next("answer")] == [
        "step 1 of 2: learn",
        "step 2 of 2: answer",
    ]


def test_the_end_says_what_was_short_what_to_open_and_what_comes_next():
    short, page, own = _what_next("industrial", "runs/d/report.html", {"epochs": 2})
    assert "epochs 2" in short
    assert "moekit demo industrial --full" in short
    assert "runs/d/report.html" in page
    assert "moekit adapt industrial" in own
    assert len(list(_what_next("industrial", "runs/d/report.html", {}))) == 2


def test_short_and_full_runs_have_folders_of_their_own():
    assert _folder_name("industrial", None, full=False) == "demo-industrial"
    assert _folder_name("industrial", None, full=True) == "demo-industrial-full"
    assert _folder_name("medical", "candidates=x", full=False) == "demo-medical-candidates"


class _Stopped(Exception):
    """Ends a demonstration before it trains."""


@pytest.mark.parametrize("full", [False, True])
def test_the_short_recipe_is_what_is_trained_unless_the_full_one_is_asked_for(
    monkeypatch, tmp_path, capsys, full
):
    asked = {}

    def adapt_kit(kit, **options):
        asked.update(options, kit=kit)
        raise _Stopped

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moekit.jobs.adapt.adapt_kit", adapt_kit)
    with pytest.raises(SystemExit):
        main(["demo", "industrial", *(["--full"] if full else [])])
    assert "step 1 of 3" in capsys.readouterr().err
    short = Registry().kit("industrial").demo_recipe
    assert asked["recipe"] == ({} if full else dict(short))
    assert short["epochs"] >= 2
    assert asked["run_folder"].name == ("demo-industrial-full" if full else "demo-industrial")
