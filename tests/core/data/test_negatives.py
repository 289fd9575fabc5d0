"""Train splits of negatives only: where their validation images come from."""

import dataclasses
import shutil

import pytest

from moekit import Dataset, Sample
from moekit.builtin.loaders.folder import load_folder
from moekit.data.negatives import carve_negatives
from moekit.data.splits import carve_validation, complete_splits
from moekit.testing import refused


def make(folder, sizes, *, test=0, subtypes=("",)):
    """A set whose train split has a group of each size, one image a group if it is 1."""
    samples = []
    for subtype in subtypes:
        for number, size in enumerate(sizes):
            group = f"{subtype}{number}" if size > 1 else None
            samples += [
                Sample(
                    id=f"train/{subtype}{number}/{row}",
                    path=folder / f"{subtype}{number}-{row}.png",
                    label=0,
                    group=group,
                    subtype=subtype or None,
                    split="train",
                )
                for row in range(size)
            ]
    samples += [
        Sample(id=f"test/{row}", path=folder / f"t{row}.png", label=row % 2, split="test")
        for row in range(test)
    ]
    for sample in samples:
        sample.path.write_text(sample.id)
    return Dataset(name="made", classes=("good", "not good"), samples=tuple(samples))


def ids(dataset, split):
    return {sample.id for sample in dataset.samples if sample.split == split}


@pytest.mark.parametrize(
    ("count", "expected"), [(2, 1), (4, 1), (10, 3), (5, 1), (19, 4), (20, 10), (49, 10), (100, 20)]
)
def test_validation_is_a_fifth_but_ten_images_where_there_are_twenty(tmp_path, count, expected):
    done = complete_splits(make(tmp_path, [1] * count, test=6), seed=0)
    assert len(ids(done, "val")) == expected
    assert len(ids(done, "train")) == count - expected
    assert not ids(done, "train") & ids(done, "val")
    assert ids(done, "test") == {f"test/{row}" for row in range(6)}
    assert done.negatives_only
    assert "test as given" in done.split_note


def test_a_seed_gives_the_same_validation_in_any_order_and_another_seed_another(tmp_path):
    given = make(tmp_path, [1] * 40)
    turned = given.with_samples(reversed(given.samples))
    first = ids(carve_negatives(given, seed=3), "val")
    assert first == ids(carve_negatives(turned, seed=3), "val")
    assert first != ids(carve_negatives(given, seed=4), "val")


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_whole_and_the_share_is_near(tmp_path, seed):
    done = carve_validation(make(tmp_path, [6] * 30), seed=seed)
    homes = {}
    for sample in done.samples:
        homes.setdefault(sample.group, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in homes.values())
    assert len(ids(done, "val")) == 36
    assert "whole groups" in done.split_note


def test_a_group_larger_than_the_share_is_taken_only_where_nothing_else_will_do(tmp_path):
    done = carve_negatives(make(tmp_path, [15, 8]), seed=0)
    assert (len(ids(done, "val")), len(ids(done, "train"))) == (8, 15)


def test_one_group_alone_and_one_image_alone_are_refused(tmp_path):
    for sizes in ([12], [1]):
        with refused("data/too-few-groups"):
            complete_splits(make(tmp_path, sizes), seed=0)


def test_each_subtype_has_validation_images_of_its_own(tmp_path):
    done = carve_negatives(make(tmp_path, [1] * 20, subtypes=("a", "b")), seed=0)
    val = [sample.subtype for sample in done.samples if sample.split == "val"]
    assert (val.count("a"), val.count("b")) == (10, 10)


@pytest.mark.parametrize(
    ("keep", "train", "val"), [(8, 8, 10), (30, 30, 10), (36, 36, 4), (90, 39, 1)]
)
def test_few_training_images_leave_validation_what_it_has_until_there_are_too_few(
    tmp_path, keep, train, val
):
    given = make(tmp_path, [1] * 40)
    done = complete_splits(given, seed=1, keep=keep)
    assert (len(ids(done, "train")), len(ids(done, "val"))) == (train, val)
    assert ("left out" in done.split_note) == (train + val < 40)
    if keep <= 30:
        assert ids(done, "val") == ids(complete_splits(given, seed=1), "val")


def test_more_shots_of_a_seed_hold_the_fewer_ones_and_come_from_as_many_groups(tmp_path):
    given = make(tmp_path, [5] * 20)
    few, more = (carve_negatives(given, seed=2, keep=keep) for keep in (4, 9))
    assert ids(few, "train") < ids(more, "train")
    assert len({s.group for s in more.samples if s.split == "train"}) == 9


def test_one_file_under_several_names_stays_on_one_side(tmp_path):
    given = make(tmp_path, [1] * 30)
    for number in range(1, 15):
        shutil.copy(given.samples[0].path, given.samples[number].path)
    for seed in range(5):
        done = complete_splits(given, seed=seed)
        assert len({sample.split for sample in done.samples[:15]}) == 1


def test_a_file_of_train_and_test_is_refused_and_so_is_a_group(tmp_path):
    given = make(tmp_path, [1] * 30, test=4)
    shutil.copy(given.samples[0].path, given.samples[-1].path)
    with refused("data/same-image"):
        complete_splits(given, seed=0)
    given.samples[-1].path.write_text("other")
    leak = [
        dataclasses.replace(sample, group="part 7" if row in (0, 33) else None)
        for row, sample in enumerate(given.samples)
    ]
    with refused("data/leaking-group", match="part 7"):
        complete_splits(given.with_samples(leak), seed=0)


def test_a_given_val_split_is_kept(tmp_path):
    given = make(tmp_path, [1] * 30)
    given = given.with_samples(
        dataclasses.replace(sample, split="val" if row < 5 else "train")
        for row, sample in enumerate(given.samples)
    )
    done = complete_splits(given, seed=0)
    assert (done.samples, done.split_note) == (given.samples, "as given")
    few = complete_splits(given, seed=0, keep=3)
    assert (len(ids(few, "val")), len(ids(few, "train"))) == (5, 3)
    assert "val as given" in few.split_note


def test_a_folder_of_good_images_alone_becomes_train_and_val(two_class_folder):
    shutil.rmtree(two_class_folder / "scratched")
    dataset = load_folder(two_class_folder, 0)
    assert dataset.classes == ("good", "not good")
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (10, 10)
    with refused("data/empty-split"):
        dataset.split("test")


def test_a_folder_with_defects_in_its_test_split_alone_is_learnt_from_good_images(
    two_class_folder, tmp_path
):
    place = tmp_path / "set"
    for number, path in enumerate(sorted(two_class_folder.glob("good/*.png"))):
        target = place / ("train" if number < 14 else "test") / "good" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copytree(two_class_folder / "scratched", place / "test/scratched")
    dataset = load_folder(place, 0)
    assert dataset.negatives_only
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [11, 3, 18]


def test_a_table_may_name_masks_and_hold_no_positive_training_image(two_class_folder):
    lines = ["path,label,split,mask"]
    for path in sorted(two_class_folder.glob("*/*.png")):
        name = path.relative_to(two_class_folder).as_posix()
        split = "train" if path.parent.name == "good" and int(path.stem) < 15 else "test"
        mask = "good/000.png" if name == "scratched/003.png" else ""
        lines.append(f"{name},{path.parent.name},{split},{mask}")
    table = two_class_folder / "labels.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    dataset = load_folder(two_class_folder, 0)
    assert dataset.negatives_only
    assert {s.id: s.mask for s in dataset.samples if s.mask} == {
        "scratched/003.png": two_class_folder / "good/000.png"
    }
    table.write_text("\n".join(lines).replace(",good/000.png", ",good/none.png"), encoding="utf-8")
    dataset = load_folder(two_class_folder, 0)
    assert [skip.id for skip in dataset.skipped] == ["mask of scratched/003.png"]
    # The path stays, so that no figure takes the image for one without a defect.
    assert {s.id for s in dataset.samples if s.mask} == {"scratched/003.png"}


def test_bad_images_alone_are_still_refused(two_class_folder):
    shutil.rmtree(two_class_folder / "good")
    with refused("data/class-count"):
        load_folder(two_class_folder, 0)
