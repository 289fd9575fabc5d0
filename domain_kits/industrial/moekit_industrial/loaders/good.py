"""The loader `good=PATH`: a folder of good images, and what to test on if there is something.

`good=PATH?defective=PATH2&masks=PATH3&good_test=PATH4&product=NAME`; sub-folders are read too.
Without `defective` or `good_test` there is no test split: a kit can be adapted and predict, and
there is nothing to evaluate it on.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from moekit import DataError, Dataset, DatasetSpec
from moekit.builtin.loaders import is_negative_name
from moekit.data import IMAGE_SUFFIXES, find_images, parse_source, relative_id, survey_folder
from moekit_industrial.loaders import examples
from moekit_industrial.loaders.assemble import OPTIONS, build_dataset
from moekit_industrial.loaders.masks import index_masks
from moekit_industrial.loaders.rows import GOOD, Product, Row, ask_anomalib, good_notes, is_good

FOLDERS = ("defective", "masks", "good_test")
PRODUCT = "product"
_LOOKS_SPLIT = ("test", "ground_truth")


def load_good(path: Path | None, seed: int) -> Dataset:
    """Reads a folder of good images, which become train and val.

    A mask has the name of its defective image, with `_mask` at its end or not, and lies in the same
    sub-folder or directly in the folder of masks. The first sub-folder of a defective image is its
    kind. Options that are paths are relative to the working folder, as PATH is; `groups` and
    `shots` are as of `mvtec`. The product has the name of the folder, or of the one around it if
    the folder is called as good images are; `product=NAME` gives it another, by which images are
    added to what a run has learned of it.

    Args:
        path: The folder, with options or without.
        seed: Of validation and of the shots.

    Raises:
        DataError: A folder is missing, empty or lies in another, an option is wrong, or a group or
            an image lies in two splits.
    """
    root, options = parse_source(path, known=(*FOLDERS, PRODUCT, *OPTIONS))
    folders = {"good": root} | {name: Path(options[name]) for name in FOLDERS if name in options}
    _check_folders(folders)
    folders = {name: folder.resolve() for name, folder in folders.items()}
    name = folders["good"].name
    if is_negative_name(name):
        name = folders["good"].parent.name
    name = options.get(PRODUCT) or name
    images, how = _find(folders)
    rows, used = _rows(folders, images)
    rest = tuple(
        (f"masks/{relative_id(mask, folders['masks'])}", "it is a mask of no defective image")
        for mask in (find_images(folders["masks"]) if "masks" in folders else ())
        if mask not in used
    )
    surveys = {part: survey_folder(folder) for part, folder in folders.items()}
    rest += tuple(
        (("" if part == "good" else f"{part}/") + skip.id, skip.reason)
        for part, survey in surveys.items()
        for skip in survey.skipped
    )
    linked = [
        note if part == "good" else f"{part}: {note}"
        for part, survey in surveys.items()
        for note in survey.check_linked(functools.partial(_kind, part), whose=str(folders[part]))
    ]
    product = Product(
        name=name,
        folder=folders["good"],
        prefix="",
        rows=tuple(rows),
        rest=rest,
        how=how,
        notes=(
            *good_notes(
                f"defective/{row.image.relative_to(folders['defective']).parts[0]}"
                for row in rows
                if row.id.startswith("defective/") and row.defect == GOOD
            ),
            *linked,
        ),
    )
    return build_dataset(
        [product],
        name=f"good {name}",
        source=f"a folder of {sum(row.split == 'train' for row in rows)} good images",
        options=options,
        seed=seed,
    )


GOOD_FOLDER = DatasetSpec(
    name="good",
    load=load_good,
    summary="a folder of good images; ?defective=PATH&masks=PATH&good_test=PATH to test on",
    takes_path="required",
    licence="yours",
    example=examples.write_good,
)


def _kind(part: str, folder: PurePosixPath) -> str | None:
    """What a folder says of the images in it: of defective ones, the kind of defect."""
    return folder.parts[0] if part == "defective" and folder.parts else None


def _check_folders(folders: Mapping[str, Path]) -> None:
    for name, folder in folders.items():
        if not folder.is_dir():
            raise DataError(
                f"the folder {'of good images' if name == 'good' else name} is not there",
                whose=str(folder),
                fix="name a folder of images",
                code="data/not-found",
            )
    if "masks" in folders and "defective" not in folders:
        raise DataError(
            "masks belong to defective images, and none were named",
            whose="the option masks",
            fix="add &defective=PATH, or leave the masks out",
            code="data/bad-option",
        )
    for (one, first), (other, second) in itertools.permutations(folders.items(), 2):
        if first.resolve() in (second.resolve(), *second.resolve().parents):
            raise DataError(
                f"the folder {other} ({second}) lies in the folder {one}, whose images it would "
                "share",
                whose=str(first),
                fix="name folders of which none lies in another",
                code="data/nested-folders",
            )
    split = [name for name in _LOOKS_SPLIT if (folders["good"] / name).is_dir()]
    if (folders["good"] / "train").is_dir() and split:
        raise DataError(
            f"this is no folder of good images only: it holds train and {split[0]}",
            whose=str(folders["good"]),
            fix="read it with --data mvtec=PATH, or name the folder of its good images",
            code="data/wrong-layout",
        )


def _find(folders: Mapping[str, Path]) -> tuple[dict[Path, str], str]:
    """The images and what they are, by anomalib's folder data set if it reads them all."""
    images = {
        image: name
        for name, folder in folders.items()
        if name != "masks"
        for image in find_images(folder)
    }
    for name, folder in folders.items():
        if name != "masks" and name not in images.values():
            raise DataError(
                f"the folder {name} holds no image",
                whose=str(folder),
                fix=f"put images into it ({', '.join(sorted(IMAGE_SUFFIXES))})",
                code="data/no-image",
            )
    if len(set(images.values())) == 1:
        return images, ""
    try:
        table = _ask_anomalib(folders)
    except DataError:
        table = {}
    if set(table) != set(images):
        return images, "by its folders, since anomalib does not read them whole"
    return table, ""


def _ask_anomalib(folders: Mapping[str, Path]) -> dict[Path, str]:
    from anomalib.data.datasets.image.folder import make_folder_dataset

    kinds = {"normal": "good", "abnormal": "defective", "normal_test": "good_test"}
    records = ask_anomalib(
        lambda: make_folder_dataset(
            normal_dir=folders["good"],
            abnormal_dir=folders.get("defective"),
            normal_test_dir=folders.get("good_test"),
            extensions=tuple(sorted(IMAGE_SUFFIXES)),
        ),
        folder=folders["good"],
        fix="complete the folders",
    )
    return {Path(record["image_path"]): kinds[record["label"]] for record in records}


def _rows(folders: Mapping[str, Path], images: Mapping[Path, str]) -> tuple[list[Row], set[Path]]:
    """The rows, and the masks that they use."""
    truth = folders.get("masks")
    masks = {} if truth is None else index_masks(find_images(truth), truth)
    rows = []
    for image, name in images.items():
        below = image.relative_to(folders[name])
        defect = GOOD
        own: tuple[Path, ...] = ()
        if name == "defective":
            defect = below.parts[0] if len(below.parts) > 1 else "defective"
            defect = GOOD if is_good(defect) else defect
            found = masks.get((below.parent.as_posix(), image.stem))
            found = found or masks.get((".", image.stem))
            own = found if found and defect != GOOD else ()
        rows.append(
            Row(
                image=image,
                id=("" if name == "good" else f"{name}/") + relative_id(image, folders[name]),
                split="train" if name == "good" else "test",
                defect=defect,
                masks=own,
            )
        )
    return rows, {mask for row in rows for mask in row.masks}
