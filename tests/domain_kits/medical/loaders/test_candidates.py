"""The loader of crops, on the LUNA16 candidates and on small tables that are wrong."""

import collections
import os
import unicodedata

import pytest
from loader_tables import SECRET, edit_table, text_of, write_image, write_table

from moekit.testing import refused
from moekit_medical.loaders.candidates import load_candidates

SPLITS = ("train", "train", "train", "val", "test", "test")


def option(folder, text):
    return folder.with_name(f"{folder.name}?{text}")


def write_crops(folder, *, columns="", extra=lambda number: ()):
    """24 crops, both classes in each split; file names hold a person's name."""
    rows = []
    for number in range(24):
        name = f"images/{SECRET}{number:02}.png"
        write_image(folder / name, number)
        rows.append((name, number % 2, *extra(number)))
    write_table(folder, f"file,label{columns}", rows)


@pytest.fixture
def crops(tmp_path):
    """A set of 6 patients with its own splits."""
    write_crops(
        tmp_path,
        columns=",patient,split",
        extra=lambda number: (f"{SECRET}{number // 4}", SPLITS[number // 4]),
    )
    return tmp_path


@pytest.fixture(scope="module")
def luna(shared):
    return load_candidates(shared / "data" / "luna16_candidates", 0)


def test_the_luna16_candidates_come_in_splits_that_share_no_scan(luna):
    assert collections.Counter(s.split for s in luna.samples) == {
        "train": 5649,
        "val": 1197,
        "test": 1216,
    }
    assert collections.Counter(skip.reason for skip in luna.skipped) == {"its split is drop": 44}
    assert luna.classes == ("other", "nodule")
    assert luna.split_note == "column block_split, as given"
    assert luna.licence == "CC-BY-3.0"
    assert "LUNA16" in luna.source


def test_the_labels_of_luna16_are_those_of_the_table(luna, shared):
    lines = (
        (shared / "data" / "luna16_candidates" / "labels.csv")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    for sample in luna.samples[::500]:
        cells = lines[int(sample.id.partition("/")[2]) - 1].split(",")
        assert sample.path.name == cells[0].partition("/")[2]
        assert (sample.label, sample.split) == (int(cells[2]), cells[4])


def test_another_split_column_can_be_named_and_its_leak_is_told(shared):
    dataset = load_candidates(option(shared / "data" / "luna16_candidates", "split=repo_split"), 0)
    assert "leaks" in dataset.split_note
    assert dataset.skipped == ()
    assert len(dataset.split("test")) == 1622


def test_a_leak_is_told_only_of_the_set_that_is_known(tmp_path):
    write_crops(tmp_path, columns=",repo_split", extra=lambda number: (SPLITS[number // 4],))
    dataset = load_candidates(option(tmp_path, "split=repo_split"), 0)
    assert dataset.split_note == "column repo_split, as given"
    assert dataset.licence == "unknown"


def test_block_split_goes_before_split(tmp_path):
    write_crops(
        tmp_path,
        columns=",split,block_split",
        extra=lambda number: (SPLITS[-1 - number // 4], SPLITS[number // 4]),
    )
    assert load_candidates(tmp_path, 0).samples[0].split == "train"
    assert load_candidates(option(tmp_path, "split=split"), 0).samples[0].split == "test"


def test_neither_ids_nor_groups_nor_messages_repeat_a_name(crops, tmp_path):
    (crops / "images" / f"{SECRET}03.png").unlink()
    dataset = load_candidates(crops, 0)
    assert SECRET not in text_of(dataset)
    assert str(tmp_path) not in text_of(dataset)
    assert dataset.samples[0].group == "patient of line 2"


def test_ids_are_the_same_in_another_folder(crops, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "moved"
    crops.rename(other)
    ids = [sample.id for sample in load_candidates(other, 0).samples]
    other.rename(crops)
    assert ids == [sample.id for sample in load_candidates(crops, 0).samples]
    assert [name.partition("/")[2] for name in ids] == [str(line) for line in range(2, 26)]


@pytest.mark.parametrize("column", ["patient", "series", "scan"])
def test_a_group_in_two_splits_is_refused_and_named_by_its_line(tmp_path, column):
    write_crops(
        tmp_path,
        columns=f",{column},split",
        extra=lambda number: (f"{SECRET}{number % 23}", SPLITS[number // 4]),
    )
    with refused("data/leaking-group", match=f"'{column} of line 2'") as caught:
        load_candidates(tmp_path, 0)
    assert SECRET not in str(caught.value)


def test_a_series_shared_by_two_patients_is_a_leak(tmp_path):
    write_crops(
        tmp_path,
        columns=",patient,series,split",
        extra=lambda number: (f"p{number}", f"s{number % 23}", SPLITS[number // 4]),
    )
    with refused("data/leaking-group", match="'patient of line 2'"):
        load_candidates(tmp_path, 0)


def test_the_same_image_in_two_splits_is_refused(crops):
    images = crops / "images"
    (images / f"{SECRET}20.png").write_bytes((images / f"{SECRET}00.png").read_bytes())
    with refused("data/same-image") as caught:
        load_candidates(crops, 0)
    assert SECRET not in str(caught.value)


def test_without_splits_the_seed_splits_whole_groups(crops):
    edit_table(crops, lambda lines: [line.rpartition(",")[0] for line in lines])
    first, again, other = (load_candidates(crops, seed) for seed in (0, 0, 1))
    assert first == again
    assert [s.split for s in first.samples] != [s.split for s in other.samples]
    assert "seed 0, whole groups" in first.split_note
    homes = {(sample.group, sample.split) for sample in first.samples}
    assert len(homes) == len({group for group, _ in homes}) == 6


def test_val_is_made_from_train_where_the_set_brings_train_and_test(crops):
    edit_table(crops, lambda lines: [line.replace(",val", ",train") for line in lines])
    dataset = load_candidates(crops, 0)
    assert dataset.split_names() == ("train", "val", "test")
    assert "column split, as given; test as given; val is 20%" in dataset.split_note
    assert {s.split for s in dataset.samples if int(s.id.partition("/")[2]) >= 18} == {"test"}


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_name_with_an_umlaut_is_found_in_either_form(crops, stored):
    old, new = (crops / "images" / f"{name}.png" for name in (f"{SECRET}00", "Größe"))
    old.rename(crops / unicodedata.normalize(stored, new.relative_to(crops).as_posix()))
    for written in ("NFC", "NFD"):
        name = unicodedata.normalize(written, new.stem)
        edit_table(crops, lambda lines, name=name: [t.replace(old.stem, name) for t in lines])
        assert load_candidates(crops, 0).skipped == ()
        edit_table(crops, lambda lines, name=name: [t.replace(name, old.stem) for t in lines])


def test_crops_that_no_line_names_are_counted_without_a_name(crops):
    assert load_candidates(crops, 0).notes == ()
    write_image(crops / "images" / f"{SECRET}99.png", 99)
    (note,) = load_candidates(crops, 0).notes
    assert note.startswith("1 picture lies next to listed ones")
    assert SECRET not in note


def test_rows_of_no_split_are_skipped_with_the_reason(crops):
    def change(lines):
        return [
            *lines[:1],
            lines[1].replace("train", "drop"),
            lines[2].replace("train", SECRET),
            lines[3].replace("train", ""),
            lines[4].replace("train", "Train"),
            *lines[5:],
        ]

    edit_table(crops, change)
    dataset = load_candidates(crops, 0)
    reasons = [skip.reason for skip in dataset.skipped]
    assert reasons == ["its split is drop", *["its split is none of train, val, test"] * 2]
    assert len(dataset.samples) == 21
    assert dataset.samples[0].split == "train"


def test_missing_and_empty_images_are_skipped_and_counted(crops):
    (crops / "images" / f"{SECRET}00.png").unlink()
    (crops / "images" / f"{SECRET}01.png").write_bytes(b"")
    dataset = load_candidates(crops, 0)
    assert [skip.id.partition("/")[2] for skip in dataset.skipped] == ["2", "3"]
    assert "does not exist" in dataset.skipped[0].reason
    assert "empty" in dataset.skipped[1].reason
    assert len(dataset.samples) == 22


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("images/a.png,0,p", "data/row-length"),
        ("images/a.png,0,p,train,more", "data/row-length"),
        ("images/a.png,,p,train", "data/empty-cell"),
        (",0,p,train", "data/empty-cell"),
        (f"images/a.png,{SECRET},p,train", "data/unknown-class"),
        (f"../{SECRET}.png,0,p,train", "data/bad-path"),
        (f"/{SECRET}.png,0,p,train", "data/bad-path"),
        (f"C:/{SECRET}.png,0,p,train", "data/bad-path"),
        (f"{SECRET}\0.png,0,p,train", "data/bad-path"),
        (f"images/{SECRET}00.png,0,p,train", "data/duplicate-id"),
        (f'"images/{SECRET}.png,0,p,train', "data/bad-line"),
        (f'"images/{SECRET}"x.png,0,p,train', "data/bad-line"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_by_its_number(crops, line, code):
    edit_table(crops, lambda lines: [*lines, line])
    with refused(code) as caught:
        load_candidates(crops, 0)
    assert caught.value.whose == "labels.csv, line 26"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "data/bad-header"),
        (b"file\nimages/a.png\n", "data/bad-header"),
        (b"file,label,label\n", "data/bad-header"),
        (b"file,label\n", "data/no-image"),
        (b"file,label\n\xff,1\n", "data/unreadable"),
        (b"\x00\x01\x02", "data/bad-header"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, content, code):
    (tmp_path / "labels.csv").write_bytes(content)
    with refused(code) as caught:
        load_candidates(tmp_path, 0)
    assert str(tmp_path) not in str(caught.value)


def test_a_column_that_only_some_lines_fill_is_refused(crops):
    edit_table(crops, lambda lines: [*lines[:1], lines[1].replace(f"{SECRET}0,", ","), *lines[2:]])
    with refused("data/half-filled", match="patient.*line 2"):
        load_candidates(crops, 0)


def test_semicolons_a_byte_order_mark_and_class_names_are_read(crops):
    def change(lines):
        named = [lines[1].replace(",0,", ",Other,"), lines[2].replace(",1,", ",nodule,")]
        return [line.replace(",", ";") for line in ("\ufeff" + lines[0], *named, *lines[3:])]

    before = load_candidates(crops, 0).samples
    edit_table(crops, change)
    after = load_candidates(crops, 0).samples
    assert [(s.label, s.split, s.group) for s in before] == [
        (s.label, s.split, s.group) for s in after
    ]


def test_a_folder_without_a_table_or_with_a_pipe_for_one_is_refused(tmp_path):
    with refused("data/unreadable"):
        load_candidates(tmp_path, 0)
    os.mkfifo(tmp_path / "labels.csv")
    with refused("data/not-a-file"):
        load_candidates(tmp_path, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("splits=split", "known options: split"),
        ("split", "no value or is given twice"),
        ("split=", "no value or is given twice"),
        ("split=split&split=split", "no value or is given twice"),
        ("split=other", "split columns of this table: split"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_with_the_known_ones(crops, text, says):
    with refused("data/bad-option") as caught:
        load_candidates(option(crops, text), 0)
    assert says in str(caught.value)


def test_a_question_mark_in_the_name_of_a_folder_does_no_harm(crops):
    folder = crops.with_name(f"{crops.name}?really")
    crops.rename(folder)
    assert len(load_candidates(folder, 0).samples) == 24
    assert len(load_candidates(option(folder, "split=split"), 0).samples) == 24


def test_no_path_and_a_path_that_cannot_be_one_are_refused(tmp_path):
    for path in (None, tmp_path / ("x" * 5000), tmp_path / "a\0b"):
        with refused("data/not-found"):
            load_candidates(path, 0)


def test_splits_that_are_not_enough_are_refused(crops):
    edit_table(crops, lambda lines: [line.replace(",train", ",drop") for line in lines])
    with refused("data/missing-split", match="val, test"):
        load_candidates(crops, 0)
