"""What a demonstration says at its end: whether the specialist helped, and who answers."""

import pytest

from moekit.cli.demo import closing_words


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
    assert "not proven" in first


def test_it_says_which_model_answers_and_what_that_was_chosen_by():
    use = {"in_words": "auroc on 240 items of the validation split: specialist 0.9, baseline 0.95"}
    _, last = closing_words(result(0.9, 0.95, proven=True, model="mean"), use)
    assert last.startswith("`moekit predict` answers by the mean of both")
    assert "on validation data alone" in last
    assert use["in_words"] in last


def test_without_a_baseline_or_a_value_nothing_is_compared():
    assert closing_words({**result(0.9, 0.9), "baseline": None}, None) == []
    assert closing_words(result(None, 0.9), None) == []
