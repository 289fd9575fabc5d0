"""Sets whose images and masks a table or the masks themselves list: KolektorSDD, Real-IAD, VisA.

Tabernik et al. 2020, Journal of Intelligent Manufacturing 31 (KolektorSDD); Wang et al. 2024,
CVPR, arXiv:2403.12580 (Real-IAD); Zou et al. 2022, ECCV, arXiv:2207.14315 (VisA).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from moekit import DataError, ImageError
from moekit.builtin.loaders import path_in, read_rows
from moekit.data import read_mask, read_size, relative_id, survey_folder
from moekit_industrial.loaders.products import pick
from moekit_industrial.loaders.rows import GOOD, Product, Row, ask_anomalib, is_good

VISA_TABLE = Path("split_csv", "1cls.csv")


def read_kolektor(root: Path, wanted: str | None, _options: Mapping[str, str]) -> list[Product]:
    """KolektorSDD: `ITEM/Part0.jpg` with `ITEM/Part0_label.bmp`, black if nothing is wrong.

    anomalib tells good from defective images by their masks and keeps a fifth of the good ones for
    the test split, by a seed of its own.

    Raises:
        DataError: anomalib refuses the folder.
    """
    from anomalib.data.datasets.image.kolektor import make_kolektor_dataset

    pick({root.name}, wanted=wanted, option="category")
    records = ask_anomalib(
        functools.partial(make_kolektor_dataset, root),
        folder=root,
        fix="give each ITEM/NAME.jpg a mask ITEM/NAME_label.bmp that can be read",
    )
    # anomalib takes a mask that it cannot read for a defect; nobody knows what such an image is.
    unknown = {
        Path(record["image_path"]): fault
        for record in records
        if record["label_index"] and (fault := _mask_fault(Path(record["mask_path"])))
    }
    rows = [
        Row(
            image=Path(record["image_path"]),
            id=relative_id(Path(record["image_path"]), root),
            split=record["split"],
            defect="defective" if record["label_index"] else GOOD,
            masks=_files(record["mask_path"]) if record["label_index"] else (),
        )
        for record in records
        if Path(record["image_path"]) not in unknown
    ]
    survey = survey_folder(root)
    named = {
        Path(path) for record in records for path in (record["image_path"], record["mask_path"])
    }
    rest = tuple(
        (relative_id(image, root), "it is neither ITEM/NAME.jpg nor ITEM/NAME_label.bmp")
        for image in survey.images
        if image not in named
    )
    rest += tuple((relative_id(image, root), fault) for image, fault in unknown.items())
    rest += tuple((skip.id, skip.reason) for skip in survey.skipped)
    return [Product(name=root.name, folder=root, prefix="", rows=tuple(rows), rest=rest)]


def read_realiad(root: Path, wanted: str | None, options: Mapping[str, str]) -> list[Product]:
    """Real-IAD: `realiad_RESOLUTION/CATEGORY` and a JSON file of each category.

    The views of one part, which lie in one folder, are a group.

    Args:
        root: Holds those folders.
        wanted: Categories, separated by commas; all if None.
        options: `resolution` (256, 512, 1024 or raw) and `json`, the folder of the JSON files.

    Raises:
        DataError: anomalib refuses the folder, or it has no such category or resolution.
    """
    from anomalib.data.datasets.image.realiad import RealIADDataset

    resolution = options.get("resolution", "256")
    folders = options.get("json", "realiad_jsons/realiad_jsons")
    here = root / f"realiad_{resolution}"
    known = sorted(path.name for path in here.glob("*") if path.is_dir())
    if not known:
        raise DataError(
            f"there is no folder realiad_{resolution} with categories",
            whose=str(root),
            fix="name the folder that holds it, or choose ?resolution=256, 512, 1024 or raw",
            code="data/wrong-layout",
        )
    products = []
    for name in sorted(pick(known, wanted=wanted, option="category")):
        make = functools.partial(
            RealIADDataset,
            root=root,
            category=name,
            resolution=resolution,
            json_path=f"{folders}/{name}.json",
        )
        records = ask_anomalib(
            lambda make=make: make().samples,  # type: ignore[misc]
            folder=here / name,
            fix=f"restore {folders}/{name}.json from the data set",
        )
        rows = tuple(_realiad_row(record, (here / name).resolve(), name) for record in records)
        products.append(Product(name=name, folder=here / name, prefix=f"{name}/", rows=rows))
    return products


def read_visa(root: Path, wanted: str | None, _options: Mapping[str, str]) -> list[Product]:
    """VisA as it is published: `split_csv/1cls.csv` of object, split, label, image and mask.

    anomalib would copy all images into another layout first; here they stay where they are.

    Raises:
        DataError: The table cannot be read.
    """
    table = root / VISA_TABLE
    needed = ("object", "split", "label", "image")
    rows: dict[str, list[Row]] = {}
    for line, cells in read_rows(table, needed=needed, known=(*needed, "mask")):
        image = _below(root, table, line, cells["image"])
        mask = _below(root, table, line, cells["mask"]) if cells.get("mask") else None
        good = is_good(cells["label"])
        rows.setdefault(cells["object"], []).append(
            Row(
                image=image,
                id=relative_id(image, root),
                split=cells["split"],
                defect=GOOD if good else cells["label"],
                masks=(mask,) if mask is not None and not good else (),
            )
        )
    wanted_names = pick(rows, wanted=wanted, option="products")
    return [
        Product(name=name, folder=root / name, prefix=f"{name}/", rows=tuple(rows[name]))
        for name in sorted(wanted_names)
    ]


def _below(root: Path, table: Path, line: int, text: str) -> Path:
    return root / path_in(table, line, text).relative_to(table.parent)


def _realiad_row(record: Mapping[str, str], folder: Path, name: str) -> Row:
    image = Path(record["image_path"])
    kind = image.relative_to(folder).parts
    group = f"{name}/{'/'.join(kind[:-1])}"
    good = not int(record["label_index"])
    return Row(
        image=image,
        id=f"{name}/{relative_id(image, folder)}",
        split=record["split"],
        defect=GOOD if good else (kind[1] if len(kind) > 3 else "defective"),
        masks=() if good else _files(record["mask_path"]),
        group=group if len(kind) > 1 else None,
    )


def _files(path: str | None) -> tuple[Path, ...]:
    return (Path(path),) if path else ()


def _mask_fault(mask: Path) -> str | None:
    try:
        read_mask(mask, read_size(mask))
    except ImageError as error:
        return (
            f"its mask {mask.name} cannot be used ({error.what}): nobody knows whether it is good"
        )
    return None
