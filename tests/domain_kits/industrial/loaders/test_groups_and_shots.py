"""Options that all loaders take: groups from a table, and few training images."""

from pathlib import Path

import pytest

from moekit.testing import refused
from moekit_industrial.loaders.examples import write_good, write_mvtec
from moekit_industrial.loaders.good import load_good
from moekit_industrial.loaders.named import load_mvtec


@pytest.fixture
def two(tmp_path):
    return write_mvtec(tmp_path / "line")


def write_index(folder, group_of, column="tile_group", name="index.csv"):
    images = [path for path in sorted(folder.rglob("*.png")) if "ground_truth" not in path.parts]
    lines = [f"path,label,{column}"]
    lines += [f"{path.relative_to(folder).as_posix()},x,{group_of(path)}" for path in images]
    table = folder / name
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def by_threes(path):
    return f"{path.parts[-3]}{int(path.stem) // 3}{path.parent.name}"


def homes(dataset):
    found = {}
    for sample in dataset.samples:
        found.setdefault(sample.group, set()).add(sample.split)
    return found


@pytest.mark.parametrize("column", ["tile_group", "group"])
def test_the_index_of_a_product_is_used_by_itself(two, column):
    for product in ("bolt", "nut"):
        write_index(two / product, by_threes, column)
    for seed in range(5):
        dataset = load_mvtec(two, seed)
        assert all(len(splits) == 1 for splits in homes(dataset).values())
        assert {sample.group.split("/")[0] for sample in dataset.samples} == {"bolt", "nut"}
        assert sum(sample.split == "val" for sample in dataset.samples) == 6


def test_an_index_without_groups_is_not_read(two):
    (two / "bolt/index.csv").write_text("path,label\nnothing,good\n")
    dataset = load_mvtec(two / "bolt", 0)
    assert {sample.group for sample in dataset.samples} == {None}
    assert dataset.skipped == ()


def test_a_table_that_is_named_gives_the_groups(two):
    table = write_index(two, by_threes, name="parts.csv")
    dataset = load_mvtec(Path(f"{two}?groups={table}"), 0)
    assert all(len(splits) == 1 for splits in homes(dataset).values())
    assert None not in homes(dataset)


def test_a_group_of_train_and_test_is_refused(two):
    write_index(two / "bolt", lambda path: f"tile {int(path.stem) // 5}")
    with refused("data/leaking-group", match=r"'tile 0'"):
        load_mvtec(two / "bolt", 0)


def test_images_that_the_table_lacks_and_lines_without_an_image_are_named(two):
    table = write_index(two / "bolt", by_threes)
    text = table.read_text()
    table.write_text(f"{text}\ntrain/good/gone.png,x,g\n")
    assert [skip.id for skip in load_mvtec(two / "bolt", 0).skipped] == ["train/good/gone.png"]
    table.write_text("\n".join(line for line in text.splitlines() if "train/good/004" not in line))
    with refused("data/missing-group", match=r"train/good/004\.png"):
        load_mvtec(two / "bolt", 0)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("path,tile\ntrain/good/000.png,1", "data/bad-header", "line 1"),
        ("file,group\ntrain/good/000.png,1", "data/bad-header", "'path'"),
        ("path,group\n../x.png,1", "data/bad-path", "line 2"),
        ("path,group\nx.png,1\nx.png,2", "data/duplicate-id", "line 3"),
        ("path,group\nx.png,", "data/empty-cell", "line 2"),
        ("path,group\nx.png,1", "data/missing-group", "40"),
        ("path,group\n", "data/missing-group", "40"),
    ],
)
def test_a_table_of_groups_that_cannot_be_meant_is_refused(two, text, code, named):
    table = two / "parts.csv"
    table.write_text(text)
    with refused(code, match=named) as caught:
        load_mvtec(Path(f"{two}?products=bolt,nut&groups={table}"), 0)
    assert "parts.csv" in caught.value.whose


def test_a_table_of_groups_that_is_not_there_is_refused(two):
    with refused("data/unreadable"):
        load_mvtec(Path(f"{two}?groups={two}/none.csv"), 0)


def test_shots_are_counted_a_product_and_leave_validation_and_test_as_they_are(two):
    whole, few = load_mvtec(two, 3), load_mvtec(Path(f"{two}?shots=4"), 3)
    kept = [sample for sample in few.samples if sample.split == "train"]
    assert sorted(sample.subtype for sample in kept) == ["bolt"] * 4 + ["nut"] * 4
    for split in ("val", "test"):
        assert few.split(split) == whole.split(split)
    assert "8 are trained on" in few.split_note


def test_another_seed_takes_other_shots(two):
    first, second = (
        {s.id for s in load_mvtec(Path(f"{two}?shots=4"), seed).split("train")} for seed in (0, 1)
    )
    assert first != second


def test_more_shots_than_images_leave_one_for_validation(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    dataset = load_good(Path(f"{write_good(folder)}?shots=50"), 0)
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (11, 1)


@pytest.mark.parametrize("text", ["0", "-1", "few", "1.5", "²", "9" * 5000])
def test_a_number_of_shots_that_is_none_is_refused(two, text):
    with refused("data/bad-option"):
        load_mvtec(Path(f"{two}?shots={text}"), 0)
