"""The loader of images with masks: layouts, lists of classes, and what is left out and named."""

import shutil
import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from moekit.builtin.loaders.class_list import read_class_list
from moekit.builtin.loaders.masks import MASK_FOLDER, load_masks, write_example
from moekit.data.mask_table import IGNORED
from moekit.tasks.segment.truth import read_truth
from moekit.testing import refused


@pytest.fixture
def folder(tmp_path):
    """16 pictures with masks of three classes."""
    (tmp_path / "set").mkdir()
    return write_example(tmp_path / "set")


def change_mask(folder, number, change):
    path = folder / "masks" / f"{number:02}.png"
    with Image.open(path) as image:
        values = np.asarray(image).copy()
    Image.fromarray(change(values)).save(path)


def painted(value):
    def change(values):
        values[0, :5] = value
        return values

    return change


def write_index(folder, lines, header="image,mask,split,group"):
    (folder / "index.csv").write_text("\n".join([header, *lines]), encoding="utf-8")


def of(dataset, split):
    return {sample.id for sample in dataset.samples if sample.split == split}


def test_two_folders_are_paired_by_name_and_split(folder):
    dataset = load_masks(folder, 0)
    assert dataset.name == "set"
    assert dataset.classes == ("ground", "square", "disc")
    assert len(dataset.samples) == 16
    assert dataset.split_names() == ("train", "val", "test")
    assert not dataset.skipped
    assert not dataset.negatives_only
    for sample in dataset.samples:
        assert sample.mask.stem == sample.path.stem
        assert sample.labels == (0, 1, 2)
        assert set(np.unique(read_truth(sample, (40, 56), 3))) == {0, 1, 2}


def test_the_split_depends_on_the_seed_and_nothing_else(folder):
    assert of(load_masks(folder, 0), "val") == of(load_masks(folder, 0), "val")
    assert of(load_masks(folder, 0), "train") != of(load_masks(folder, 1), "train")


def test_folders_below_are_paired_too(folder):
    for part in ("images", "masks"):
        (folder / part / "deep").mkdir()
        (folder / part / "03.png").rename(folder / part / "deep" / "00.png")
    dataset = load_masks(folder, 0)
    assert len(dataset.samples) == 16
    assert "images/deep/00.png" in {sample.id for sample in dataset.samples}


def test_what_lacks_its_other_half_is_left_out_and_named(folder):
    (folder / "masks/02.png").unlink()
    (folder / "images/05.png").unlink()
    dataset = load_masks(folder, 0)
    assert len(dataset.samples) == 14
    reasons = {skip.id: skip.reason for skip in dataset.skipped}
    assert "no mask" in reasons["images/02.png"]
    assert "no image" in reasons["masks/05.png"]


def test_a_number_that_is_not_listed_is_left_out_and_named(folder):
    change_mask(folder, 4, painted(9))
    dataset = load_masks(folder, 0)
    (skip,) = dataset.skipped
    assert skip.id == "images/04.png"
    assert "04.png" in skip.reason
    assert "value 9 (5 pixels)" in skip.reason


def test_a_mask_of_another_size_a_jpeg_and_damaged_files_are_left_out(folder):
    change_mask(folder, 1, lambda values: values[:-1])
    Image.fromarray(np.zeros((40, 56), np.uint8)).save(folder / "masks/02.png", format="JPEG")
    path = folder / "masks/03.png"
    path.write_bytes(path.read_bytes()[:-30])
    (folder / "images/06.png").write_bytes(b"nothing")
    dataset = load_masks(folder, 0)
    assert len(dataset.samples) == 12
    reasons = {skip.id: skip.reason for skip in dataset.skipped}
    assert "56 x 39 pixels, its image 56 x 40" in reasons["images/01.png"]
    assert "JPEG" in reasons["images/02.png"]
    assert "damaged" in reasons["images/03.png"]
    assert "not an image" in reasons["images/06.png"]


def test_if_no_mask_can_be_used_the_set_is_refused(folder):
    for number in range(16):
        change_mask(folder, number, painted(7))
    with refused("data/no-mask", match="16 .*value 7"):
        load_masks(folder, 0)


def test_a_set_without_a_list_of_classes_is_refused(folder):
    (folder / "classes.txt").unlink()
    with refused("data/class-list"):
        load_masks(folder, 0)
    with refused("data/not-found"):
        load_masks(folder / "nowhere", 0)


def test_an_empty_folder_is_refused(tmp_path):
    with refused("data/no-mask"):
        load_masks(tmp_path / "?classes=a,b", 0)


def test_two_files_of_one_name_are_refused(folder):
    shutil.copy(folder / "images/00.png", folder / "images/00.bmp")
    with refused("data/duplicate-id", match=r"images/00\.bmp.*images/00\.png"):
        load_masks(folder, 0)


def test_options_name_the_classes_and_what_is_ignored(folder):
    change_mask(folder, 0, painted(255))
    dataset = load_masks(folder.with_name("set?classes=soil,crop,weed&ignore=255"), 0)
    assert dataset.classes == ("soil", "crop", "weed")
    assert len(dataset.samples) == 16
    sample = next(s for s in dataset.samples if s.id == "images/00.png")
    assert (read_truth(sample, (40, 56), 3)[0, :5] == IGNORED).all()
    with refused("data/bad-option"):
        load_masks(folder.with_name("set?classes=a,b,c&ignore=x"), 0)


def test_an_ignored_class_has_no_place_among_the_classes(folder):
    dataset = load_masks(folder.with_name("set?classes=soil,crop,weed&ignore=1"), 0)
    assert dataset.classes == ("soil", "weed")
    assert dataset.samples[0].mask_table.values == {0: 0, 1: IGNORED, 2: 1}


def test_a_table_gives_pairs_splits_groups_and_strata(folder):
    splits = ["train"] * 10 + ["val"] * 6
    lines = [
        f"images/{n:02}.png,masks/{n:02}.png,{splits[n]},row {n // 2},{'dry' if n % 2 else 'wet'}"
        for n in range(16)
    ]
    write_index(folder, lines, "image,mask,split,group,subtype")
    dataset = load_masks(folder, 0)
    assert len(of(dataset, "train")) == 10
    assert dataset.split_note == "as given"
    assert dataset.samples[3].group == "row 1"
    assert dataset.samples[3].subtype == "dry"


def test_groups_stay_together_if_the_set_is_split_here(folder):
    lines = [f"images/{n:02}.png,masks/{n:02}.png,row {n // 2}" for n in range(16)]
    write_index(folder, lines, "image,mask,group")
    dataset = load_masks(folder, 0)
    homes = {}
    for sample in dataset.samples:
        homes.setdefault(sample.group, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in homes.values())
    assert dataset.split_names() == ("train", "val", "test")


def test_a_mask_of_which_no_pixel_counts_is_left_out(folder):
    with Image.open(folder / "masks/03.png") as mask:
        Image.new("L", mask.size, 255).save(folder / "masks/03.png")
    (skipped,) = load_masks(folder.with_name(f"{folder.name}?ignore=255"), 0).skipped
    assert skipped.id == "images/03.png"
    assert "no pixel of the mask counts" in skipped.reason


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_a_mask_of_several_frames_is_left_out(folder, suffix):
    path = folder / "masks/03.png"
    with Image.open(path) as mask:
        mask.save(path.with_suffix(suffix), save_all=True, append_images=[mask.rotate(180)])
    path.unlink()
    (skipped,) = load_masks(folder, 0).skipped
    assert skipped.id == "images/03.png"
    assert "several frames" in skipped.reason


def test_a_list_of_very_many_classes_is_read_within_seconds(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("".join(f"class {number}\n" for number in range(60_000)))
    start = time.process_time()
    assert len(read_class_list(path).names) == 60_000
    assert time.process_time() - start < 5


def test_a_mask_that_is_its_image_is_refused_and_a_shared_one_is_told(folder):
    lines = [f"images/{n:02}.png,masks/{max(n, 1):02}.png" for n in range(16)]
    write_index(folder, lines, "image,mask")
    (note,) = [note for note in load_masks(folder, 0).notes if "of another image" in note]
    assert "images/01.png that of images/00.png" in note
    write_index(folder, [*lines[1:], "images/00.png,images/00.png"], "image,mask")
    with refused("data/contradiction", match=r"images/00\.png"):
        load_masks(folder, 0)


def test_columns_can_be_named_and_lines_chosen(folder):
    lines = [f"{n:02},field {n // 8},{'a' if n < 12 else 'b'}" for n in range(16)]
    write_index(folder, lines, "id,field,part")
    dataset = load_masks(folder.with_name("set?where=part:a&subtype=field"), 0)
    assert len(dataset.samples) == 12
    assert {sample.subtype for sample in dataset.samples} == {"field 0", "field 1"}
    with refused("data/bad-header", match="'plot'"):
        load_masks(folder.with_name("set?group=plot"), 0)


def test_a_group_in_two_splits_is_refused(folder):
    lines = [
        f"images/{n:02}.png,masks/{n:02}.png,{'train' if n < 9 else 'val'},row {n // 2}"
        for n in range(16)
    ]
    write_index(folder, lines)
    with refused("data/leaking-group", match="'row 4'"):
        load_masks(folder, 0)


def test_lines_without_a_mask_are_left_out_and_double_ones_refused(folder):
    lines = [f"images/{n:02}.png,masks/{n:02}.png" for n in range(15)]
    write_index(folder, [*lines, "images/15.png,"], "image,mask")
    dataset = load_masks(folder, 0)
    assert [(skip.id, skip.reason) for skip in dataset.skipped] == [
        ("images/15.png", "no mask is listed for it")
    ]
    write_index(folder, [*lines, lines[0]], "image,mask")
    twice = r"images/00\.png is listed in line 2.*\n.*index\.csv, line 17"
    with refused("data/duplicate-id", match=twice):
        load_masks(folder, 0)


def test_a_mask_that_is_listed_and_not_there_is_left_out(folder):
    """Masks are named that are not there: those images are left out and named."""
    (folder / "masks/07.png").unlink()
    lines = [f"images/{n:02}.png,masks/{n:02}.png" for n in range(16)]
    write_index(folder, lines, "image,mask")
    (skip,) = load_masks(folder, 0).skipped
    assert skip.id == "images/07.png"
    assert "07.png: the file does not exist" in skip.reason


def test_columns_of_a_table_that_are_not_read_are_noted(folder):
    lines = [f"images/{n:02}.png,masks/{n:02}.png,{n // 2},wet" for n in range(16)]
    write_index(folder, lines, "image,mask,row,Soil")
    assert load_masks(folder, 0).notes == ("columns of the table that are not read: row, soil",)
    dataset = load_masks(folder.with_name("set?group=row&where=soil:wet"), 0)
    assert dataset.notes == ()


def test_ids_of_a_table_name_umlauts_in_either_form(folder):
    names = {0: "größe 0"}  # composed
    for part in ("images", "masks"):
        (folder / part / "00.png").rename(
            folder / part / unicodedata.normalize("NFD", "größe 0.png")
        )
    write_index(folder, [names.get(n, f"{n:02}") for n in range(16)], "id")
    dataset = load_masks(folder, 0)
    assert dataset.skipped == ()
    assert "images/größe 0.png" in {sample.id for sample in dataset.samples}


def test_a_folder_of_two_names_is_read_once_and_noted(folder):
    for part in ("images", "masks"):
        (folder / part / "deep").mkdir()
        (folder / part / "03.png").rename(folder / part / "deep/03.png")
        (folder / part / "more").symlink_to(folder / part / "deep")
    dataset = load_masks(folder, 0)
    assert len(dataset.samples) == 16
    assert dataset.notes == tuple(
        f"{part}: more is the folder deep (a link); its files are read once"
        for part in ("images", "masks")
    )


def test_rare_classes_need_not_be_in_every_split(folder):
    for number in range(1, 16):
        change_mask(folder, number, lambda values: np.minimum(values, 1))
    dataset = load_masks(folder, 0)
    assert dataset.classes == ("ground", "square", "disc")
    assert sum(2 in sample.labels for sample in dataset.samples) == 1


def test_colour_masks_are_read_by_the_list(folder):
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 0, 200]], np.uint8)
    for number in range(16):
        change_mask(folder, number, lambda values: colours[values])
    (folder / "classes.txt").unlink()
    (folder / "classes.csv").write_text(
        "number,name,red,green,blue\n5,ground,0,0,0\n7,square,200,0,0\n9,ignore,0,0,200\n"
    )
    dataset = load_masks(folder, 0)
    assert dataset.classes == ("ground", "square")
    assert dataset.samples[0].labels == (0, 1)
    change_mask(folder, 3, painted((1, 2, 3)))
    (skip,) = load_masks(folder, 0).skipped
    assert "colour (1, 2, 3) (5 pixels)" in skip.reason


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("number,name\n0,a\n0,b\n", "data/class-list", ""),
        ("number,name\n0,a\n1,a\n", "data/class-list", "'a'"),
        ("number,name\n0,a\n", "data/class-list", ""),
        ("number,name\n0,a\nx,b\n", "data/class-list", "65535"),
        ("number,name\n0,a\n70000,b\n", "data/class-list", "70000"),
        ("number,name,red,green,blue\n0,a,0,0,0\n1,b,0,0,256\n", "data/class-list", "256"),
        ("number,name,red,green,blue\n0,a,0,0,0\n1,b,0,0,0\n", "data/class-list", "'b'"),
        ("name\na\nb\n", "data/bad-header", "'number'"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(tmp_path, text, code, named):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with refused(code, match=named):
        read_class_list(path)


def test_class_numbers_follow_the_lines_whatever_the_masks_hold(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("number,name\n7,road\n0,ignore\n255,Ignore\n26,car\n")
    found = read_class_list(path, ignore=3)
    assert found.names == ("road", "car")
    assert found.table.values == {7: 0, 0: IGNORED, 255: IGNORED, 26: 1, 3: IGNORED}


def test_the_record_is_complete():
    assert MASK_FOLDER.takes_path == "required"
    assert MASK_FOLDER.example is write_example


def test_streets_are_read_with_their_own_splits(shared):
    names = "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist,void"
    path = shared / f"data/camvid?classes={names}&ignore=11&subtype=sequence"
    dataset = load_masks(path, 0)
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (203, 66)
    assert dataset.classes == tuple(names.split(",")[:-1])
    assert not dataset.skipped
    assert {sample.subtype for sample in dataset.samples} == {"0001TP", "0006R0", "0016E5"}


def test_one_part_of_a_table_is_read(shared):
    path = shared / "data/hires_seg?classes=other,part&where=set:print3d&subtype=env"
    dataset = load_masks(path, 0)
    assert len(dataset.samples) == 51
    assert {sample.subtype for sample in dataset.samples} == {"P1", "P2"}
    with refused("data/no-mask", match="18 .*value 2"):
        load_masks(shared / "data/hires_seg?classes=soil,crop&where=set:cwfid", 0)


def test_a_mask_with_an_orientation_that_its_image_has_not_is_left_out(folder):
    path = folder / "masks" / "03.png"
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(path) as mask:
        mask.save(path, exif=exif)
    dataset = load_masks(folder, 0)
    (skipped,) = dataset.skipped
    assert skipped.id == "images/03.png"
    assert "EXIF orientation" in skipped.reason
