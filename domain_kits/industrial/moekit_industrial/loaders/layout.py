"""Products in the layout of MVTec AD and its relatives: SPLIT/KIND/IMAGE, masks by kind.

    train/good/000.png
    test/good/000.png
    test/scratch/000.png
    ground_truth/scratch/000_mask.png

anomalib's own function makes the table of images. It refuses a product that lacks a mask, has a
folder whose name is not plain ASCII or defects in its training folder; it leaves out what links
lead to, and misplaces what lies deeper. So its table is used if it holds just the images that
are there, and the names of the folders decide elsewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from moekit import DataError
from moekit.data import IMAGE_SUFFIXES, relative_id, survey_folder
from moekit_industrial.loaders.masks import index_masks
from moekit_industrial.loaders.rows import GOOD, Product, Row, ask_anomalib, good_notes, is_good

_SUFFIXES = tuple(sorted({name for end in IMAGE_SUFFIXES for name in (end, end.upper())}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """The names of the folders of one family.

    Attributes:
        function: anomalib's function that makes the table, as MODULE:NAME below
            `anomalib.data.datasets.image`.
        suffixes: Whether it takes the suffixes of images.
        splits: The split of each folder of images.
        good: The usual name of the folder of good images; see `is_good` for others.
        truth: The folder of masks.
        ignored: Folders that are not looked into.
    """

    function: str
    suffixes: bool = True
    splits: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"train": "train", "test": "test"}
    )
    good: str = GOOD
    truth: str = "ground_truth"
    ignored: tuple[str, ...] = ()


def read_product(folder: Path, layout: Layout, *, name: str, prefix: str) -> Product:
    """Reads one product.

    Args:
        folder: Holds the folders of the splits.
        layout: Their names.
        name: As of `Product`.
        prefix: As of `Product`.

    Raises:
        DataError: A folder cannot be listed.
    """
    survey = survey_folder(folder)
    notes = survey.check_linked(lambda path: _place(path, layout), whose=str(folder))
    images = [
        image for image in survey.images if image.relative_to(folder).parts[0] not in layout.ignored
    ]
    truth = folder / layout.truth
    masks = index_masks((image for image in images if truth in image.parents), truth)
    places, how = _by_table(folder, layout), ""
    if set(places) != {image for image in images if truth not in image.parents}:
        places = _by_names(images, folder, layout)
        how = f"{name} by the names of its folders, since anomalib does not read it whole"
    rows = []
    good_folders = set()
    for image, (split, kind) in places.items():
        good = is_good(kind)
        if good:
            good_folders.add(image.relative_to(folder).parent.as_posix())
        rows.append(
            Row(
                image=image,
                id=prefix + relative_id(image, folder),
                split=split,
                defect=GOOD if good else kind,
                masks=() if good else masks.get((kind, image.stem), ()),
            )
        )
    used = {*places, *(mask for row in rows for mask in row.masks)}
    rest = tuple(
        (prefix + relative_id(image, folder), _reason(image, truth))
        for image in images
        if image not in used
    )
    return Product(
        name=name,
        folder=folder,
        prefix=prefix,
        rows=tuple(rows),
        rest=(*rest, *((prefix + skip.id, skip.reason) for skip in survey.skipped)),
        how=how,
        notes=(*good_notes((prefix + one for one in good_folders), usual=layout.good), *notes),
    )


def _place(path: PurePosixPath, layout: Layout) -> object:
    """What a folder says of the files in it."""
    return None if path.parts[0] in layout.ignored else path.parts[:2]


def _by_table(folder: Path, layout: Layout) -> dict[Path, tuple[str, str]]:
    """Split and kind of each image; of none if anomalib refuses the folder."""
    module, _, function = layout.function.partition(":")
    module = f"anomalib.data.datasets.image.{module}"
    make = getattr(importlib.import_module(module), function)
    if layout.suffixes:
        make = functools.partial(make, extensions=_SUFFIXES)
    try:
        records = ask_anomalib(lambda: make(folder), folder=folder, fix="complete the folder")
    except DataError:
        return {}
    return {Path(row["image_path"]): (row["split"], row["label"]) for row in records}


def _by_names(images: list[Path], folder: Path, layout: Layout) -> dict[Path, tuple[str, str]]:
    places = {}
    for image in images:
        parts = image.relative_to(folder).parts
        if len(parts) == 3 and parts[0] in layout.splits:
            places[image] = layout.splits[parts[0]], parts[1]
    return places


def _reason(image: Path, truth: Path) -> str:
    if truth in image.parents:
        return "it is a mask of no defective image"
    return "it lies outside SPLIT/KIND, the folders of images of this layout"
