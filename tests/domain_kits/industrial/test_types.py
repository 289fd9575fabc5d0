"""Types of defects, as the classes of any set say them, for each task of the kit."""

import numpy as np
import pytest
from PIL import Image

from moekit import Registry
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
