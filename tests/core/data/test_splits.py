"""Splits: in proportion, whole groups on one side, the same in any order."""

import collections
import dataclasses

import pytest

from moekit import Dataset, Sample
from moekit.data.checks import check_groups
from moekit.data.splits import complete_splits, split_dataset
from moekit.testing import refused


def make(tmp_path, n=400, groups=None):
    return Dataset(
        name="made",
        classes=("good", "bad"),
        samples=tuple(
            Sample(
                id=f"{row:04d}",
                path=tmp_path / str(row),
                label=int(row % 3 == 0),
                subtype="ab"[row % 2],
                group=None if groups is None else f"g{row % groups}",
            )
            for row in range(n)
        ),
    )


def test_each_stratum_is_spread_in_proportion(tmp_path):
    done = split_dataset(make(tmp_path), seed=0)
    for label in (0, 1):
        for subtype in "ab":
            part = [s for s in done.samples if (s.label, s.subtype) == (label, subtype)]
            counts = collections.Counter(sample.split for sample in part)
            for split, share in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
                assert abs(counts[split] - share * len(part)) <= 1.5


def test_the_order_of_the_samples_changes_nothing(tmp_path):
    given = make(tmp_path)
    turned = given.with_samples(reversed(given.samples))
    first = {s.id: s.split for s in split_dataset(given, seed=3).samples}
    assert first == {s.id: s.split for s in split_dataset(turned, seed=3).samples}


def test_seeds_differ(tmp_path):
    one, two = (split_dataset(make(tmp_path), seed=seed).samples for seed in (0, 1))
    assert [s.split for s in one] != [s.split for s in two]


def test_a_group_never_spans_two_splits_and_shares_stay_close(tmp_path):
    done = split_dataset(make(tmp_path, groups=60), seed=0)
    homes = collections.defaultdict(set)
    for sample in done.samples:
        homes[sample.group].add(sample.split)
    assert all(len(splits) == 1 for splits in homes.values())
    counts = collections.Counter(sample.split for sample in done.samples)
    assert counts["train"] == pytest.approx(240, abs=25)
    assert counts["test"] == pytest.approx(100, abs=25)


def test_a_leaking_group_is_named(tmp_path):
    samples = [
        Sample(id="1", path=tmp_path, label=0, group="part 7", split="train"),
        Sample(id="2", path=tmp_path, label=1, group="part 7", split="test"),
    ]
    with refused("data/leaking-group", match="part 7"):
        check_groups(Dataset(name="leak", classes=("a", "b"), samples=tuple(samples)))


def test_one_class_is_refused_by_the_name_of_the_missing_one(tmp_path):
    given = make(tmp_path)
    alone = given.with_samples(s for s in given.samples if s.label == 0)
    with refused("data/missing-class", match="'bad'"):
        split_dataset(alone, seed=0)


def test_an_id_that_stands_twice_is_refused(tmp_path):
    given = make(tmp_path)
    with refused("data/duplicate-id"):
        split_dataset(given.with_samples([*given.samples, given.samples[0]]), seed=0)


def test_too_few_images_are_refused(tmp_path):
    given = make(tmp_path, n=4)
    with refused("data/one-class"):
        split_dataset(given, seed=0)


def test_targets_that_all_differ_keep_the_shares_and_follow_the_seed(tmp_path):
    given = make(tmp_path, n=300)
    given = given.with_samples(
        dataclasses.replace(sample, target=row / 300) for row, sample in enumerate(given.samples)
    )
    one, two = ([s.split for s in split_dataset(given, seed=seed).samples] for seed in (0, 1))
    assert one != two
    assert collections.Counter(one) == {"train": 180, "val": 45, "test": 75}


def test_strata_of_four_images_keep_the_shares(tmp_path):
    given = make(tmp_path)
    given = given.with_samples(
        dataclasses.replace(sample, subtype=f"make {row // 4}")
        for row, sample in enumerate(given.samples)
    )
    counts = collections.Counter(s.split for s in split_dataset(given, seed=1).samples)
    assert counts == {"train": 240, "val": 60, "test": 100}


@pytest.mark.parametrize("seed", range(20))
def test_three_groups_of_the_rarer_class_reach_all_three_splits(tmp_path, seed):
    samples = [
        Sample(
            id=f"{group}-{row}",
            path=tmp_path,
            label=int(group < 3 and row == 0),
            group=f"part {group}",
        )
        for group in range(10)
        for row in range(2 + (group * 7 + seed) % 5)
    ]
    done = split_dataset(
        Dataset(name="few", classes=("good", "bad"), samples=tuple(samples)), seed=seed
    )
    assert {sample.split for sample in done.samples if sample.label} == {"train", "val", "test"}


def test_without_a_demand_for_every_class_a_rare_one_is_no_fault(tmp_path):
    """Labels of masks: one class is rare, another is in no sample."""
    samples = []
    for number in range(12):
        path = tmp_path / f"{number:02}.png"
        path.write_bytes(bytes([number]))
        samples.append(Sample(id=path.name, path=path, label=2 if number == 5 else 1))
    dataset = Dataset(name="set", samples=tuple(samples), classes=("a", "b", "c"))
    with refused("data/missing-class", match="'a'"):
        complete_splits(dataset, seed=0)
    done = complete_splits(dataset, seed=0, every_class=False)
    assert done.split_names() == ("train", "val", "test")
    zero = dataset.with_samples(dataclasses.replace(one, label=0) for one in samples)
    assert complete_splits(zero, seed=0, every_class=False).split_names() == done.split_names()
    with refused("data/empty-split"):
        complete_splits(zero.with_samples(zero.samples[:1]), seed=0, every_class=False)
