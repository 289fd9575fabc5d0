"""Tables and folders that people really have: read, or refused with the cause."""

import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from moekit.builtin.loaders.folder import load_folder
from moekit.builtin.loaders.masks import load_masks
from moekit.builtin.loaders.table import read_table
from moekit.tasks.score.masks import read_regions
from moekit.testing import refused


@pytest.fixture
def parts(two_class_folder):
    """Writes labels.csv next to the two classes; returns the folder."""

    def write(header="path,label", *, more=lambda number: "", end="\n", before="", after=""):
        paths = sorted(two_class_folder.glob("*/*.png"))
        lines = [
            f"{path.relative_to(two_class_folder).as_posix()},{path.parent.name}{more(number)}"
            for number, path in enumerate(paths)
        ]
        text = before + end.join([header, *lines]) + after
        (two_class_folder / "labels.csv").write_bytes(text.encode())
        return two_class_folder

    return write


@pytest.mark.parametrize(
    "options",
    [
        {"header": "path,label,,", "more": lambda number: ",,", "after": "\n,,,\n,,,\n"},
        {"before": "\n\n", "after": "\n\n\n"},
        {"before": "sep=,\n"},
        {"before": '"sep=,"\r\n', "end": "\r\n"},
        {"before": "\ufeffsep=,\r\n", "end": "\r\n"},
        {"header": "path,label", "more": lambda number: ",,"},
        {"header": " Path , LABEL "},
    ],
)
def test_what_spreadsheets_add_is_passed_over(parts, options):
    dataset = load_folder(parts(**options), 0)
    assert len(dataset.samples) == 32
    assert dataset.skipped == ()
    assert dataset.notes == ()


@pytest.mark.parametrize(
    ("start", "mark"), [("sep=;\n", ";"), ("", ";"), ("", "\t"), ("sep=|\n", "|")]
)
def test_the_delimiter_is_found_or_named(parts, start, mark):
    folder = parts()
    text = (folder / "labels.csv").read_text().replace(",", mark)
    (folder / "labels.csv").write_text(start + text)
    assert len(load_folder(folder, 0).samples) == 32


def test_the_number_of_a_line_counts_all_lines(parts):
    folder = parts(before="sep=,\n\n", after="\n\ngood/none.png,good,more\n")
    with refused("data/row-length", match="line 37"):
        load_folder(folder, 0)


def test_a_cell_in_a_column_without_a_name_is_refused(parts):
    folder = parts("path,label,,", more=lambda number: ",odd," if number == 3 else ",,")
    with refused("data/row-length", match="line 5"):
        load_folder(folder, 0)


def test_a_column_that_is_there_twice_is_named(parts):
    with refused("data/bad-header", match="'label' twice"):
        load_folder(parts("path,label,label", more=lambda number: ",x"), 0)


def test_columns_that_are_not_read_are_noted(parts):
    dataset = load_folder(parts("path,label,fold", more=lambda number: ",3"), 0)
    assert any("fold" in note for note in dataset.notes)


def test_images_that_are_all_missing_are_told_with_an_example_and_what_is_near(parts):
    folder = parts()
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace(".png", ".PNG"))
    with refused("data/no-image", match=r"none of the 32 images.*good/000\.PNG.*000\.png"):
        load_folder(folder, 0)
    table.write_text(table.read_text().replace("good/000.PNG", "good/000.png"))
    with refused("data/missing-class", match=r"31 inputs are left out, such as"):
        load_folder(folder, 0)


def test_masks_that_are_missing_are_named_and_the_set_is_read(parts):
    def masks(number):
        return "," if number < 20 else f",m/{number}.png"

    folder = parts("path,label,mask", more=masks)
    (folder / "m").mkdir()
    for number in range(20, 30):
        shutil.copy(folder / "scratched/000.png", folder / f"m/{number}.png")
    (folder / "m/29.png").write_bytes(b"")
    dataset = load_folder(folder, 0)
    assert len(dataset.samples) == 32
    assert sum(sample.mask is not None for sample in dataset.samples) == 12
    assert [skip.id for skip in dataset.skipped] == [
        f"mask of scratched/{number:03}.png" for number in (9, 10, 11)
    ]
    assert any("3 masks that the table names cannot be used" in note for note in dataset.notes)


def test_a_good_image_whose_mask_is_missing_is_none_without_a_mark(tmp_path):
    for number in range(4):
        Image.fromarray(np.full((8, 8), 9 * number, np.uint8)).save(tmp_path / f"{number}.png")
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "mask.png")
    lines = ["0.png,good,gone.png", "1.png,good,", "2.png,bad,mask.png", "3.png,bad,mask.png"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,mask", *lines]))
    dataset = read_table(tmp_path / "labels.csv")
    good, empty, bad, _ = dataset.samples
    with refused("image/mask-unusable", match="does not exist"):
        read_regions(good, (8, 8))
    assert len(read_regions(empty, (8, 8)).sizes_R) == 0
    assert len(read_regions(bad, (8, 8)).sizes_R) == 1
    assert any("gone.png" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("train", "val"), [("Train", "valid"), ("train", "validation"), ("TRAIN", "dev")]
)
def test_names_of_splits_are_read_by_their_meaning_and_that_is_noted(parts, train, val):
    def split(number):
        return f",{train if number % 4 else val}"

    dataset = load_folder(parts("path,label,split", more=split), 0)
    assert dataset.split_names() == ("train", "val")
    (note,) = dataset.notes
    assert repr(val) in note


def test_folders_of_splits_are_read_by_their_meaning(two_class_folder, tmp_path):
    for number, path in enumerate(sorted(two_class_folder.glob("*/*.png"))):
        split = ("Train", "Train", "Valid", "test")[number % 4]
        target = tmp_path / "set" / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    dataset = load_folder(tmp_path / "set", 0)
    assert dataset.classes == ("good", "scratched")
    assert dataset.split_names() == ("train", "val", "test")
    assert "'Valid' as val" in dataset.notes[0]
    shutil.copytree(tmp_path / "set/Train", tmp_path / "set/train")
    with refused("data/unknown-split", match="Train, Valid, test, train mean the same"):
        load_folder(tmp_path / "set", 0)
    shutil.rmtree(tmp_path / "set/train")
    (tmp_path / "set/Train").rename(tmp_path / "set/training")
    with refused("data/unknown-split", match="'training' seems to be a split"):
        load_folder(tmp_path / "set", 0)


def test_a_class_that_is_called_as_a_split_is_a_class(two_class_folder):
    (two_class_folder / "scratched").rename(two_class_folder / "test")
    dataset = load_folder(two_class_folder, 0)
    assert dataset.classes == ("good", "test")
    assert len(dataset.samples) == 32
    assert any("test is taken for a class" in note for note in dataset.notes)


def test_splits_without_classes_are_refused_as_such(two_class_folder):
    (two_class_folder / "scratched").rename(two_class_folder / "test")
    (two_class_folder / "good").rename(two_class_folder / "train")
    with refused("data/no-image", match="test, train are splits"):
        load_folder(two_class_folder, 0)


def test_images_of_a_split_that_lie_in_no_class_are_the_cause_that_is_told(two_class_folder):
    (two_class_folder / "train").mkdir()
    for name in ("good", "scratched"):
        (two_class_folder / name).rename(two_class_folder / "train" / name)
    (two_class_folder / "test").mkdir()
    shutil.copy(two_class_folder / "train/good/000.png", two_class_folder / "test/1.png")
    with refused("data/missing-split", match=r"left out, such as test/1\.png.*outside the class"):
        load_folder(two_class_folder, 0)


def test_a_class_that_is_a_link_to_another_is_refused_with_both_names(two_class_folder):
    shutil.rmtree(two_class_folder / "scratched")
    (two_class_folder / "odd").symlink_to(two_class_folder / "good")
    with refused("data/same-folder", match="odd and good"):
        load_folder(two_class_folder, 0)


def test_a_folder_linked_within_its_class_is_read_once_and_noted(two_class_folder):
    (two_class_folder / "good/again").symlink_to(two_class_folder / "good")
    (two_class_folder / "scratched/deep").mkdir()
    shutil.move(two_class_folder / "scratched/000.png", two_class_folder / "scratched/deep")
    (two_class_folder / "scratched/more").symlink_to(two_class_folder / "scratched/deep")
    dataset = load_folder(two_class_folder, 0)
    assert len(dataset.samples) == 32
    assert dataset.notes == (
        "scratched/more is the folder scratched/deep (a link); its files are read once",
    )


def test_pictures_of_other_kinds_are_read_or_named(two_class_folder):
    good = two_class_folder / "good"
    for number in range(4):
        image = Image.open(good / f"{number:03}.png")
        image.save(
            good / f"{number:03}.{('gif', 'jfif')[number % 2]}", format=("GIF", "JPEG")[number % 2]
        )
        (good / f"{number:03}.png").unlink()
    (good / "x.heic").write_bytes(b"x")
    dataset = load_folder(two_class_folder, 0)
    assert len(dataset.samples) == 32
    assert [skip.id for skip in dataset.skipped] == ["good/x.heic"]


def test_classes_that_differ_in_case_only_are_noted(two_class_folder):
    (two_class_folder / "Good").mkdir()
    for number in range(6):
        name = f"{number:03}.png"
        shutil.move(two_class_folder / "good" / name, two_class_folder / "Good" / name)
    dataset = load_folder(two_class_folder, 0)
    assert len(dataset.classes) == 3
    assert any("'Good' and 'good'" in note for note in dataset.notes)


def test_images_that_are_all_one_file_are_the_cause_that_is_told(two_class_folder):
    shutil.rmtree(two_class_folder / "scratched")
    for number in range(1, 20):
        shutil.copy(two_class_folder / "good/000.png", two_class_folder / f"good/{number:03}.png")
    with refused("data/too-few-groups", match=r"are one file, such as good/000\.png"):
        load_folder(two_class_folder, 0)


def test_copies_in_both_classes_are_counted(two_class_folder):
    for number in range(5):
        name = f"{number:03}.png"
        shutil.copy(two_class_folder / "good" / name, two_class_folder / "scratched" / name)
    with refused("data/same-image", match="5 of 32 files are copies"):
        load_folder(two_class_folder, 0)


def test_a_small_set_is_split_so_that_each_part_holds_both_classes(two_class_folder):
    for path in two_class_folder.glob("*/*.png"):
        if int(path.stem) >= 6:
            path.unlink()
    dataset = load_folder(two_class_folder, 0)
    for name in ("train", "val", "test"):
        assert {sample.label for sample in dataset.split(name)} == {0, 1}
    assert "1 moved so that each split holds both classes" in dataset.split_note
    (two_class_folder / "scratched/000.png").unlink()
    for number in range(1, 4):
        (two_class_folder / f"scratched/{number:03}.png").unlink()
    with refused("data/one-class", match="of which there are 2 in all"):
        load_folder(two_class_folder, 0)


def test_a_preview_among_masks_is_left_out_by_name(tmp_path):
    from moekit.builtin.loaders.masks import write_example

    folder = write_example(tmp_path)
    shape = np.asarray(Image.open(folder / "masks/00.png")).shape
    Image.fromarray(np.zeros(shape, np.uint8)).save(folder / "masks/00.jpg")
    dataset = load_masks(folder, 0)
    assert len(dataset.samples) == 16
    assert [(skip.id, "00.png is used" in skip.reason) for skip in dataset.skipped] == [
        ("masks/00.jpg", True)
    ]


def test_the_cases_of_the_field_are_read_or_refused_with_the_cause(case):
    assert len(load_folder(case("12-gif-jfif/gifs"), 0).samples) == 32
    with refused("data/no-image", match=r"none of the 12 images.*img/0\.PNG"):
        load_folder(case("18-csv-all-missing/upper"), 0)
    assert len(load_folder(case("20-csv-trailing-commas/commas"), 0).samples) == 12
    unmasked = load_folder(case("21-csv-mask-missing/nomask"), 0)
    assert len(unmasked.samples) == 12
    assert sum(skip.id.startswith("mask of ") for skip in unmasked.skipped) == 6
    assert load_folder(case("22-class-called-test/goodtest"), 0).classes == ("good", "test")


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_table_names_umlauts_in_either_form(parts, stored):
    folder = parts()
    (folder / "good/000.png").rename(folder / "good" / unicodedata.normalize(stored, "größe.png"))
    table = folder / "labels.csv"
    for written in ("NFC", "NFD"):
        name = unicodedata.normalize(written, "größe")
        table.write_text(table.read_text().replace("good/000", f"good/{name}"))
        dataset = load_folder(folder, 0)
        assert dataset.skipped == ()
        assert "good/größe.png" in {sample.id for sample in dataset.samples}
        table.write_text(table.read_text().replace(f"good/{name}", "good/000"))
