"""Types of defects, as the classes of any set say them, for each task of the kit."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from moekit import Registry
from moekit.tasks.score.masks import read_regions
from moekit.testing import refused
from moekit_industrial.kit import DEFECT_BOXES, INDUSTRIAL
from moekit_industrial.truth import defect_masks, defect_types
from moekit_industrial.types import good_or_defective

EACH = 12


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def folders(root, *names):
    """A folder a class; different pictures in all."""
    for place, name in enumerate(names):
        for number in range(EACH):
            picture(root / name / f"{number:02}.png", 100 * place + number)
    return root


def load(path, loader="folder"):
    return Registry().load_dataset(f"{loader}={path}", seed=0)


def table(root, column, rows, *, masks=False):
    """A labels.csv, with masks of a spot where asked; rows are (name, label)."""
    lines = [f"path,{column}{',mask' if masks else ''}"]
    for number, (name, label) in enumerate(rows):
        picture(root / name, number)
        mask = ""
        if masks and label not in ("good", ""):
            spot = np.zeros((16, 16), dtype=np.uint8)
            spot[4:9, 4:9] = 255
            (root / "masks").mkdir(exist_ok=True)
            Image.fromarray(spot).save(root / "masks" / name)
            mask = f"masks/{name}"
        lines.append(f"{name},{label}{f',{mask}' if masks else ''}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def rows_of(*labels):
    return [(f"{label}-{number:02}.png", label) for label in labels for number in range(EACH)]


def counted(dataset):
    names = [dataset.classes[sample.label] for sample in dataset.samples]
    return {name: names.count(name) for name in dataset.classes}


def test_class_folders_are_types_of_defects(tmp_path):
    dataset = defect_types(load(folders(tmp_path, "OK", "dent", "scratch")), 0)
    assert counted(dataset) == {"good": EACH, "dent": EACH, "scratch": EACH}
    assert {"train", "val", "test"} == set(dataset.split_names())
    assert any("types of defects: dent, scratch" in note for note in dataset.notes)
    assert any("good parts: OK" in note for note in dataset.notes)
    assert {s.facts["defect"] for s in dataset.samples} == {"good", "dent", "scratch"}


def test_types_need_no_good_parts(tmp_path):
    dataset = defect_types(load(folders(tmp_path, "dent", "scratch")), 0)
    assert counted(dataset) == {"dent": EACH, "scratch": EACH}
    assert not dataset.has_negative


def test_one_type_of_defect_is_told_from_good_parts(tmp_path):
    dataset = defect_types(load(folders(tmp_path, "good", "scratch")), 0)
    assert counted(dataset) == {"good": EACH, "scratch": EACH}


def test_a_table_of_labels_says_the_types(tmp_path):
    dataset = defect_types(load(table(tmp_path, "label", rows_of("good", "dent", "burr"))), 0)
    assert dataset.classes == ("good", "burr", "dent")


def test_several_labels_an_image_are_kept_and_good_is_none_of_them(tmp_path):
    rows = rows_of("good", "dent", "burr", "burr|dent")
    dataset = defect_types(
        load(table(tmp_path, "labels", [(n.replace("|", "_"), x) for n, x in rows])), 0
    )
    assert dataset.classes == ("burr", "dent")
    labels = [sample.labels for sample in dataset.samples]
    assert {one: labels.count(one) for one in set(labels)} == {
        (): EACH,
        (0,): EACH,
        (1,): EACH,
        (0, 1): EACH,
    }


@pytest.mark.parametrize("names", [("good",), ("good", "ok", "normal")])
def test_sets_without_types_are_refused_with_what_would_do(tmp_path, names):
    if len(names) == 1:  # a folder of one class becomes train and val
        dataset = load(folders(tmp_path, *names))
        assert dataset.negatives_only
    else:
        dataset = load(folders(tmp_path, *names))
    with refused("data/no-defect-types", match="good/IMAGE, TYPE/IMAGE"):
        defect_types(dataset, 0)


def test_the_advice_is_true(tmp_path):
    """Its folders are read, by the loader that everybody has."""
    assert defect_types(load(folders(tmp_path, "good", "TYPE")), 0).classes == ("good", "TYPE")


def test_scores_merge_the_types_and_keep_their_names(tmp_path):
    dataset = good_or_defective(load(folders(tmp_path, "dent", "pass", "scratch")), 0)
    assert counted(dataset) == {"good": EACH, "defective": 2 * EACH}
    assert {s.facts["defect"] for s in dataset.samples if s.label} == {"dent", "scratch"}
    Registry().task("score").learn.check(dataset)


def test_sets_of_two_classes_are_scored_as_they_are(tmp_path):
    dataset = load(folders(tmp_path, "good", "bad"))
    assert good_or_defective(dataset, 0) is dataset
    assert INDUSTRIAL.prepare is good_or_defective


def test_names_that_only_inspection_knows_say_which_class_is_good(tmp_path):
    dataset = good_or_defective(load(folders(tmp_path, "cracked", "undamaged")), 0)
    assert counted(dataset) == {"good": EACH, "defective": EACH}
    wrong = {s.id for s in dataset.samples if s.id.startswith("undamaged") and s.label}
    assert not wrong


def test_the_target_of_a_turned_pair_of_classes_is_turned_too(tmp_path):
    folder = table(tmp_path, "label", rows_of("cracked", "undamaged"))
    lines = (folder / "labels.csv").read_text().splitlines()
    told = [f"{lines[0]},target", *(f"{x},{0.9 if 'undamaged' in x else 0.2}" for x in lines[1:])]
    (folder / "labels.csv").write_text("\n".join(told) + "\n")
    dataset = good_or_defective(load(folder), 0)
    targets = {(s.label, round(s.target, 6)) for s in dataset.samples}
    assert targets == {(0, 0.1), (1, 0.8)}


def test_a_set_without_good_parts_is_left_to_the_task(tmp_path):
    dataset = good_or_defective(load(folders(tmp_path, "a", "b", "c")), 0)
    with refused("data/class-count"):
        Registry().task("score").learn.check(dataset)


def test_outlines_and_boxes_are_learned_from_a_table_with_masks(tmp_path):
    rows = rows_of("dent", "good", "scratch")
    dataset = load(table(tmp_path, "label", rows, masks=True))
    masks = defect_masks(dataset, 0)
    assert masks.classes == ("good", "defect")
    assert sum(sample.mask is not None for sample in masks.samples) == 2 * EACH
    assert sum(sample.labels is None for sample in masks.samples) == EACH
    boxes = DEFECT_BOXES.prepare(dataset, 0)
    assert boxes.classes == ("dent", "scratch")
    assert sum(bool(sample.labels) for sample in boxes.samples) == 2 * EACH


def test_masks_of_several_classes_keep_what_does_not_count(tmp_path):
    for number in range(EACH):
        picture(tmp_path / f"images/{number:02}.png", number)
        plane = np.zeros((16, 16), dtype=np.uint8)
        plane[:4], plane[4:6], plane[8:] = 1, 2, 255
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(plane).save(tmp_path / f"masks/{number:02}.png")
    dataset = load(f"{tmp_path}?classes=background,dent,burr&ignore=255", "masks")
    made = defect_masks(dataset, 0)
    assert {sample.label for sample in made.samples} == {0}
    table_of = made.samples[0].mask_table
    assert table_of.values == {0: 0, 1: 1, 2: 1, 255: -1}
    assert any("types of defects: dent, burr" in note for note in made.notes)


def class_masks(root, classes, planes):
    """A set of masks; each plane is the list of values of its four quarters, top to bottom."""
    for number, values in enumerate(planes):
        picture(root / f"images/{number:02}.png", number)
        plane = np.repeat(np.array(values, dtype=np.uint8), 4)[:, None].repeat(16, axis=1)
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(plane).save(root / f"masks/{number:02}.png")
    (root / "classes.csv").write_text("number,name\n" + "\n".join(classes) + "\n")
    return load(root, "masks")


@pytest.mark.parametrize(
    ("classes", "values", "good", "types"),
    [
        (("1,scratch", "0,good", "2,dent"), {0: 0, 1: 1, 2: 1}, "good", {"scratch", "dent"}),
        (("0,Background", "1,good", "2,dent"), {0: 0, 1: 0, 2: 1}, "Background, good", {"dent"}),
        (("0,part", "1,scratch", "2,dent"), {0: 0, 1: 1, 2: 1}, "part", {"scratch", "dent"}),
    ],
)
def test_labels_and_pixels_take_the_same_classes_for_good(tmp_path, classes, values, good, types):
    planes = [[0, 0, 1, 2], [0, 0, 2, 2], [0, 1, 0, 1], [0, 0, 0, 0]] * 5
    dataset = class_masks(tmp_path, classes, planes)
    for made in (defect_masks(dataset, 0), good_or_defective(dataset, 0)):
        assert f"taken for good parts: {good}" in made.notes
        assert {tuple(sorted(one.mask_table.values.items())) for one in made.samples} == {
            tuple(sorted(values.items()))
        }
        for sample in made.samples:
            plane = np.asarray(Image.open(sample.mask))
            shown = any(values[value] for value in np.unique(plane).tolist())
            label = 1 in (sample.labels or (sample.label,))
            assert label == shown, sample.id
            read = read_regions(dataclasses.replace(sample, label=int(label)), plane.shape)
            assert read.sizes_R.sum() == sum(
                int((plane == value).sum()) for value, number in values.items() if number
            )
    if len(types) > 1:
        assert set(defect_types(dataset, 0).classes) == types


def test_masks_of_good_classes_alone_are_refused_with_their_names(tmp_path):
    dataset = class_masks(tmp_path, ("0,background", "1,good"), [[0, 0, 1, 1]] * EACH)
    for prepare in (defect_masks, good_or_defective, defect_types):
        with refused("data/unclear-good", match="background, good"):
            prepare(dataset, 0)


def test_a_first_class_that_is_none_by_name_is_refused_if_the_second_is(tmp_path):
    dataset = load(folders(tmp_path, "good", "dent"))
    turned = dataclasses.replace(dataset, classes=("dent", "good"))
    with refused("data/unclear-good", match="'dent'"):
        good_or_defective(turned, 0)


def test_a_good_image_whose_mask_shows_a_defect_is_left_out_and_named(tmp_path):
    root = table(tmp_path, "label", rows_of("dent", "good", "scratch"), masks=True)
    lines = (root / "labels.csv").read_text().replace("good-03.png,good,", "good-03.png,good,X")
    (root / "labels.csv").write_text(lines.replace("X", "masks/dent-00.png"))
    made = defect_masks(load(root), 0)
    (left,) = [one for one in made.skipped if one.id == "good-03.png"]
    assert "labelled good" in left.reason
    assert "good-03.png" not in {sample.id for sample in made.samples}
