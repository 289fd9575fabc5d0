"""The loader of one's own images, and what it refuses."""

import shutil
from pathlib import Path

import pytest

from moekit.builtin.loaders.folder import load_folder
from moekit.testing import refused


def write_table(folder, lines, header="path,label"):
    table = folder / "labels.csv"
    table.write_text("\n".join([header, *lines]), encoding="utf-8")
    return table


def all_lines(folder, extra=lambda number: ""):
    paths = sorted(folder.glob("*/*.png"))
    return [
        f"{path.relative_to(folder).as_posix()},{path.parent.name}{extra(number)}"
        for number, path in enumerate(paths)
    ]


def test_class_folders_are_read_and_split(two_class_folder):
    dataset = load_folder(two_class_folder, 0)
    assert dataset.classes == ("good", "scratched")
    assert len(dataset.samples) == 32
    assert dataset.split_names() == ("train", "val", "test")
    assert all((s.label == 1) == ("scratched" in s.id) for s in dataset.samples)


def test_given_splits_are_kept_and_validation_comes_from_train(two_class_folder, tmp_path):
    for name, take in (("train", range(14)), ("test", range(14, 20))):
        for path in sorted(two_class_folder.glob("*/*.png")):
            number = int(path.stem)
            if number in take or (path.parent.name == "scratched" and number % 20 in take):
                target = tmp_path / "set" / name / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    extra = tmp_path / "set/test/scratched"
    extra.mkdir(parents=True, exist_ok=True)
    shutil.move(tmp_path / "set/train/scratched/000.png", extra / "000.png")
    dataset = load_folder(tmp_path / "set", 0)
    assert all(s.id.startswith("test/") == (s.split == "test") for s in dataset.samples)
    assert any(s.split == "val" for s in dataset.samples)
    assert "test as given" in dataset.split_note


def test_a_table_gives_labels_groups_and_subtypes(two_class_folder):
    lines = all_lines(two_class_folder, lambda number: f",part {number // 2},make {number % 2}")
    write_table(two_class_folder, lines, "path,label,group,subtype")
    dataset = load_folder(two_class_folder, 0)
    assert {s.subtype for s in dataset.samples} == {"make 0", "make 1"}
    homes = {}
    for sample in dataset.samples:
        homes.setdefault(sample.group, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in homes.values())


def test_a_semicolon_table_with_a_byte_order_mark_is_read(two_class_folder):
    lines = [line.replace(",", ";") for line in all_lines(two_class_folder)]
    (two_class_folder / "labels.csv").write_text(
        "\n".join(["path;label", *lines]), encoding="utf-8-sig"
    )
    assert len(load_folder(two_class_folder, 0).samples) == 32


def test_missing_and_empty_files_are_skipped_and_counted(two_class_folder):
    lines = [*all_lines(two_class_folder), "good/none.png,good", "good/empty.png,good"]
    (two_class_folder / "good/empty.png").touch()
    write_table(two_class_folder, lines)
    dataset = load_folder(two_class_folder, 0)
    assert sorted(skip.id for skip in dataset.skipped) == ["good/empty.png", "good/none.png"]
    assert len(dataset.samples) == 32


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "C:\\x.png", "a/../../b.png", ""])
def test_a_path_that_leaves_the_folder_is_refused_with_its_line(two_class_folder, path):
    write_table(two_class_folder, [*all_lines(two_class_folder), f"{path},good"])
    with refused("data/bad-path" if path else "data/empty-cell", match="line 34"):
        load_folder(two_class_folder, 0)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("", "data/bad-header", ""),
        ("path;name\na;b", "data/bad-header", "'label'"),
        ("path,label\n", "data/no-image", ""),
        ("path,label\na.png,good,extra", "data/row-length", "line 2"),
        ("path,label,target\na.png,good,7\nb.png,bad,0", "data/bad-value", "line 2"),
        ("path,label,split\na.png,good,training\nb.png,bad,test", "data/unknown-split", "line 2"),
        ("path,label\na.png,good\na.png,bad", "data/duplicate-id", "line 3"),
        ("path,label\na.png,dent\nb.png,dent", "data/class-count", ""),
        ("path,label\na.png,good\nb.png,", "data/empty-cell", "line 3"),
        ("path,label\na.png,good\n.,bad", "data/bad-path", "line 3"),
        ('path,"label\na.png,good', "data/bad-line", "line 1"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(two_class_folder, text, code, named):
    (two_class_folder / "a.png").write_bytes(b"x")
    (two_class_folder / "labels.csv").write_text(text)
    with refused(code, match=named):
        load_folder(two_class_folder, 0)


def test_bytes_that_are_no_text_are_refused(two_class_folder):
    (two_class_folder / "labels.csv").write_bytes(b"\xff\xfe\x00\x80" * 50)
    with refused("data/unreadable", match=r"labels\.csv"):
        load_folder(two_class_folder, 0)


def test_a_half_filled_split_column_is_refused(two_class_folder):
    lines = all_lines(two_class_folder, lambda number: ",train" if number else ",")
    write_table(two_class_folder, lines, "path,label,split")
    with refused("data/half-filled"):
        load_folder(two_class_folder, 0)


def test_a_group_that_leaks_is_refused(two_class_folder):
    lines = all_lines(
        two_class_folder, lambda number: f",{('train', 'val', 'test')[number % 3]},one part"
    )
    write_table(two_class_folder, lines, "path,label,split,group")
    with refused("data/leaking-group", match="one part"):
        load_folder(two_class_folder, 0)


def test_one_file_under_two_names_in_two_splits_is_refused(two_class_folder):
    for number in range(12):
        source = two_class_folder / f"good/{number:03d}.png"
        shutil.copy(source, two_class_folder / f"good/copy{number}.png")
    with refused("data/same-image"):
        load_folder(two_class_folder, 0)


def test_an_empty_folder_and_a_missing_one_say_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    with refused("data/no-image"):
        load_folder(tmp_path / "empty", 0)
    with refused("data/not-found"):
        load_folder(tmp_path / "none", 0)


def test_a_name_too_long_for_the_file_system_is_skipped_and_counted(two_class_folder):
    write_table(two_class_folder, [*all_lines(two_class_folder), f"{'a' * 5000}.png,good"])
    dataset = load_folder(two_class_folder, 0)
    assert len(dataset.samples) == 32
    assert [str(two_class_folder) in skip.reason for skip in dataset.skipped] == [False]


@pytest.mark.parametrize("table", [False, True])
def test_an_image_that_may_not_be_read_is_skipped_and_counted(two_class_folder, monkeypatch, table):
    if table:
        write_table(two_class_folder, all_lines(two_class_folder))
    open_path = Path.open

    def guarded(path, *arguments, **options):
        if path.name == "003.png" and path.parent.name == "good":
            raise PermissionError(13, "Permission denied", str(path))
        return open_path(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    dataset = load_folder(two_class_folder, 0)
    assert [skip.id for skip in dataset.skipped] == ["good/003.png"]
    assert len(dataset.samples) == 31


@pytest.mark.parametrize("seed", range(4))
def test_one_file_in_both_classes_is_refused_whatever_the_seed(two_class_folder, seed):
    shutil.copy(two_class_folder / "good/000.png", two_class_folder / "scratched/copy.png")
    with refused("data/same-image"):
        load_folder(two_class_folder, seed)
