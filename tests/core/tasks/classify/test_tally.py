"""Tallies: what they hold, how they are added up, and what is read again from disk."""

import csv

import numpy as np
import pytest
import torch

from moekit import Sample
from moekit.contract.answers import Item, Tally, TaskContext
from moekit.data.geometry import Frame
from moekit.tasks.classify import tally as module
from moekit.tasks.classify.point import ClassPoint, choose_point
from moekit.tasks.classify.store import load_tallies, save_tallies
from moekit.tasks.classify.tally import ClassTallier, check_tallies, probabilities
from moekit.testing import refused

CONTEXT = TaskContext(classes=("a", "b", "c"), vocabulary={}, frame=Frame(height=32, width=32))


def items(tmp_path, labels, **more):
    return [
        Item(
            id=str(place),
            size=(4, 4),
            sample=Sample(id=str(place), path=tmp_path, label=label, **more),
        )
        for place, label in enumerate(labels)
    ]


def test_batches_are_added_up_in_order_for_each_model(tmp_path):
    tallier = ClassTallier(CONTEXT, 2)
    given = items(tmp_path, [0, 2, 1], group="g", facts={"shop": "x"})
    logit = torch.tensor([[2.0, 0, 0], [0, 0, 3], [1, 1, 1]], dtype=torch.float64)
    unlike = torch.tensor([0.5, 0.25, 1.0])
    tallier.add(
        given[:2], [{"logit_BC": logit[:2], "unlike_B": unlike[:2]}, {"logit_BC": -logit[:2]}]
    )
    tallier.add(
        given[2:], [{"logit_BC": logit[2:], "unlike_B": unlike[2:]}, {"logit_BC": -logit[2:]}]
    )
    kit, baseline = tallier.finish()
    assert kit.ids == ("0", "1", "2")
    assert kit.labels_N.tolist() == [0, 2, 1]
    np.testing.assert_allclose(kit.probability_NC, logit.softmax(1).numpy(), rtol=1e-12)
    np.testing.assert_allclose(baseline.probability_NC, (-logit).softmax(1).numpy(), rtol=1e-12)
    assert kit.unlike_N.tolist() == [0.5, 0.25, 1.0]
    assert baseline.unlike_N is None
    assert kit.groups == ("g", "g", "g")
    assert kit.facts == {"shop": ("x", "x", "x")}


def test_several_labels_become_a_table_and_sigmoids(tmp_path):
    tallier = ClassTallier(CONTEXT, 1)
    samples = [
        Sample(id="0", path=tmp_path, label=0, labels=(0, 2)),
        Sample(id="1", path=tmp_path, label=0, labels=()),
    ]
    given = [Item(id=s.id, size=(4, 4), sample=s) for s in samples]
    logit = torch.tensor([[0.0, -800.0, 800.0], [1, 2, 3]], dtype=torch.float64)
    tallier.add(given, [{"logit_BC": logit}])
    (kit,) = tallier.finish()
    assert kit.labels_NC.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert kit.field("labels_N") is None
    assert kit.field("unseen_N") is None
    np.testing.assert_allclose(kit.probability_NC, logit.sigmoid().numpy(), atol=1e-15)


def test_an_empty_split_is_an_empty_tally():
    (kit,) = ClassTallier(CONTEXT, 1).finish()
    assert kit.probability_NC.shape == (0, 3)
    assert len(kit) == 0


def test_samples_of_both_kinds_are_refused(tmp_path):
    tallier = ClassTallier(CONTEXT, 1)
    mixed = [
        Item(id="0", size=(1, 1), sample=Sample(id="0", path=tmp_path, label=0, labels=(0,))),
        Item(id="1", size=(1, 1), sample=Sample(id="1", path=tmp_path, label=0)),
    ]
    tallier.add(mixed, [{"logit_BC": torch.zeros(2, 3)}])
    with refused("data/mixed-labels"):
        tallier.finish()


def test_a_tally_is_what_the_contract_asks_for(tally):
    made = tally(12, 4, unseen=3)
    asked: Tally = made
    assert asked.strata_N.tolist() == made.labels_N.tolist()
    assert made.field("unseen_N").tolist() == [0] * 9 + [1] * 3
    assert made.field("nonesuch") is None
    part = made.take(np.array([11, 0]))
    assert part.ids == (made.ids[11], made.ids[0])
    assert part.labels_N.tolist() == [-1, made.labels_N[0]]
    assert part.unlike_N.tolist() == made.unlike_N[[11, 0]].tolist()


def test_the_worst_come_first_by_kind_of_mistake(tally, monkeypatch):
    monkeypatch.setattr(module, "SHOWN", 100)
    made = tally(80, 4, unseen=20, skill=1.0)
    point = choose_point(made, "refuse=0.3")
    worst = made.worst(point)
    top, said = made.probability_NC.max(1), made.probability_NC.argmax(1)
    refused = made.unlike_N > point.refuse_above
    wrong = (said != made.labels_N) & (made.labels_N >= 0) & ~refused
    assert set(worst["confused"]) == set(np.flatnonzero(wrong))
    own = made.probability_NC[np.arange(80), np.maximum(made.labels_N, 0)]
    assert np.all(np.diff((top - own)[worst["confused"]]) <= 0)
    assert set(worst["not_refused"]) == set(np.flatnonzero((made.labels_N < 0) & ~refused))
    assert set(worst["refused"]) == set(np.flatnonzero((made.labels_N >= 0) & refused))
    assert np.all(np.diff(made.unlike_N[worst["refused"]]) <= 0)


def test_the_worst_of_several_labels_are_missed_or_false(tally, monkeypatch):
    monkeypatch.setattr(module, "SHOWN", 100)
    made = tally(40, 3, several=True, skill=1.0)
    point = choose_point(made, "f1")
    worst = made.worst(point)
    said = made.probability_NC >= point.thresholds_C
    truth = made.labels_NC == 1
    assert set(worst["missed"]) == set(np.flatnonzero((truth & ~said).any(1)))
    assert set(worst["false_alarm"]) == set(np.flatnonzero((~truth & said).any(1)))
    assert len(worst["missed"]) > 0


def test_right_answers_are_all_that_are_no_mistake_the_most_probable_first(tally, monkeypatch):
    monkeypatch.setattr(module, "SHOWN", 100)
    made = tally(80, 4, unseen=20, skill=1.0)
    point = choose_point(made, "refuse=0.3")
    right, worst = made.right(point)["right"], made.worst(point)
    mistakes = set().union(*map(set, worst.values()))
    assert not mistakes & set(right)
    assert mistakes | set(right) | set(np.flatnonzero(made.labels_N < 0)) == set(range(80))
    assert np.all(np.diff(made.probability_NC.max(1)[right]) <= 0)


def test_of_several_labels_right_means_all_of_them_and_no_other(tally, monkeypatch):
    monkeypatch.setattr(module, "SHOWN", 100)
    made = tally(40, 3, several=True, skill=1.0)
    point = choose_point(made, "f1")
    right, worst = set(made.right(point)["right"]), made.worst(point)
    labelled = set(np.flatnonzero(made.labels_NC.any(1)))
    assert right == labelled - set(worst["missed"]) - set(worst["false_alarm"])
    assert right


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("models", [1, 2])
def test_what_is_read_again_is_what_was_written_to_the_bit(tmp_path, tally, several, models):
    more = {
        "groups": tuple("gh" * 30),
        "subtypes": tuple("s, " * 20),
        "facts": {"shop": tuple(f"shop {n % 3}" for n in range(60))},
    }
    given = tuple(tally(60, 4, seed=s, several=several, **more) for s in range(models))
    assert save_tallies(tmp_path, "validation", given) == ["validation.csv"]
    again = load_tallies(tmp_path, "validation")
    assert len(again) == models
    for was, now in zip(given, again, strict=True):
        assert now.ids == was.ids
        assert now.classes == was.classes
        assert (now.groups, now.subtypes, now.facts) == (was.groups, was.subtypes, was.facts)
        for name in ("probability_NC", "labels_N", "labels_NC", "unlike_N"):
            before, after = getattr(was, name), getattr(now, name)
            assert (before is None) == (after is None), name
            if before is not None:
                np.testing.assert_array_equal(after, before)


def test_items_of_no_class_stay_so_on_disk(tmp_path, tally):
    save_tallies(tmp_path, "t", [tally(20, 4, unseen=5)])
    assert (load_tallies(tmp_path, "t")[0].labels_N == -1).sum() == 5


def test_a_class_name_with_the_mark_between_labels_is_refused(tmp_path, tally):
    made = tally(several=True)
    object.__setattr__(made, "classes", ("a|b", "c", "d", "e"))
    with refused("data/class-name"):
        save_tallies(tmp_path, "t", [made])


def _damage(path, change):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def set_cell(name, value):
    def change(rows):
        rows[3][rows[0].index(name)] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (set_cell("p:class 0", "nan"), ""),
        (set_cell("p:class 0", "inf"), ""),
        (set_cell("p:class 0", "1.5"), ""),
        (set_cell("p:class 0", "-0.1"), ""),
        (set_cell("p:class 0", "0.9999"), ""),
        (set_cell("p:class 0", ""), "p:class 0"),
        (set_cell("unlike", "nan"), ""),
        (set_cell("label", "cat"), "line 4.*'cat'"),
        (lambda rows: rows[2].pop(), "line 3"),
        (lambda rows: rows[2].append("1"), "line 3"),
        (lambda rows: rows.__setitem__(0, ["x", *rows[0][1:]]), ""),
        (lambda rows: rows.__setitem__(0, [r.replace("label", "x") for r in rows[0]]), "label"),
        (lambda rows: rows.__setitem__(0, [r.replace("p:", "q:") for r in rows[0]]), ""),
        (lambda rows: rows.clear(), ""),
    ],
)
def test_a_damaged_file_is_named(tmp_path, tally, change, named):
    save_tallies(tmp_path, "t", [tally(20, 4)])
    _damage(tmp_path / "t.csv", change)
    with refused("data/damaged-run", match=named) as caught:
        load_tallies(tmp_path, "t")
    assert "t.csv" in caught.value.whose


def test_no_file_gives_no_tally_and_bytes_that_are_no_text_are_named(tmp_path):
    assert load_tallies(tmp_path, "t") == ()
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    with refused("data/damaged-run", match=r"t\.csv"):
        load_tallies(tmp_path, "t")


def test_impossible_values_are_refused_by_the_id(tally):
    made = tally(10, 3)
    check_tallies([made])
    made.probability_NC[4, 0] = np.nan
    with refused("data/bad-scores", match=r"004\.png"):
        check_tallies([made])
    made = tally(10, 3)
    made.labels_N[7] = 3
    with refused("data/unknown-class", match=r"007\.png"):
        check_tallies([made])


def test_the_baseline_is_named_if_it_is_at_fault(tally):
    bad = tally(10, 3)
    bad.probability_NC[0] = 2
    with refused("data/bad-scores", match="baseline"):
        check_tallies([tally(10, 3), bad])


def test_logits_of_any_size_give_probabilities():
    shares = probabilities(np.array([[1e4, -1e4, 0.0]]), several=False)
    assert shares.tolist() == [[1.0, 0.0, 0.0]]


def test_a_point_without_refusal_calls_nothing_refused(tally):
    assert len(tally(20, 4).worst(ClassPoint())["refused"]) == 0


def test_no_more_of_a_kind_are_shown_than_fit_on_a_page(tally):
    made = tally(200, 4, skill=0.0)
    whole = np.flatnonzero(made.probability_NC.argmax(1) != made.labels_N)
    assert len(whole) > module.SHOWN
    assert len(made.worst(ClassPoint())["confused"]) == module.SHOWN
