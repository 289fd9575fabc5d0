"""The loaders `mvtec`, `visa`, `btad` and `anomalib`: products of sets that anomalib knows.

`PATH` is the folder of a product or of several; `?products=a,b` picks some.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

from moekit import DataError, Dataset, DatasetSpec, Skipped
from moekit.data import parse_source
from moekit_industrial.loaders import examples
from moekit_industrial.loaders.assemble import OPTIONS, build_dataset
from moekit_industrial.loaders.formats import FORMATS, Format
from moekit_industrial.loaders.layout import Layout, read_product
from moekit_industrial.loaders.products import find_products
from moekit_industrial.loaders.rows import Product
from moekit_industrial.loaders.tables import VISA_TABLE, read_visa

_LAYOUT = "the layout of MVTec AD"


def load_mvtec(path: Path | None, seed: int) -> Dataset:
    """Reads products in the layout of MVTec AD: train/good, test/KIND, ground_truth/KIND.

    Options are `products`, `groups` (a CSV of path and group) and `shots` (that many good training
    images of each product). An index.csv in a product's folder with the columns path and tile_group
    or group is used by itself.

    Args:
        path: Folder of a product or of products, with options or without.
        seed: Of validation and of the shots.

    Raises:
        DataError: There is nothing to train on, an option is wrong, or a group or an image lies in
            two splits.
    """
    format_ = dataclasses.replace(FORMATS["mvtecad"], citation=_LAYOUT, licence="unknown")
    root, options = _parse(path, format_, ("products",))
    return _load("mvtec", format_, root, options, seed)


def load_visa(path: Path | None, seed: int) -> Dataset:
    """Reads VisA, as it is published or as anomalib lays it out; options are as of `mvtec`.

    Raises:
        DataError: As of `mvtec`.
    """
    format_ = FORMATS["visa"]
    root, options = _parse(path, format_, ("products",))
    return _load("visa", _visa(format_, root), _visa_root(root), options, seed)


def load_btad(path: Path | None, seed: int) -> Dataset:
    """Reads BTAD, the set of beanTech; options are as of `mvtec`.

    Raises:
        DataError: As of `mvtec`.
    """
    format_ = FORMATS["btech"]
    root, options = _parse(path, format_, ("products",))
    return _load("btad", format_, root, options, seed)


def load_anomalib(path: Path | None, seed: int) -> Dataset:
    """Reads a set in one of `FORMATS`, `PATH?format=NAME&category=a,b`.

    The other options are as of `mvtec`; Real-IAD takes `resolution` and `json` too.

    Raises:
        DataError: As of `mvtec`, or there is no such format.
    """
    every = {option for format_ in FORMATS.values() for option in format_.options}
    names = ", ".join(FORMATS)
    root, options = _parse(path, None, ("format", "category", *sorted(every)))
    format_ = FORMATS.get(options.get("format", ""))
    if format_ is None:
        raise DataError(
            f"the format {options['format'][:40]!r} is not known"
            if "format" in options
            else "no format was named",
            whose="the option format",
            fix=f"write ?format=NAME after the path, one of {names}",
            code="data/bad-option",
        )
    foreign = sorted(every & set(options) - set(format_.options))
    if foreign:
        raise DataError(
            f"the format {options['format']} has no such option",
            whose=f"the option {foreign[0]!r}",
            fix="leave it out",
            code="data/bad-option",
        )
    if format_ is FORMATS["visa"]:
        format_, root = _visa(format_, root), _visa_root(root)
    return _load(f"anomalib {options['format']}", format_, root, options, seed)


def _parse(
    path: Path | None, format_: Format | None, own: Sequence[str]
) -> tuple[Path, Mapping[str, str]]:
    name = "CLASS" if format_ is None else format_.downloader
    root, options = parse_source(
        path,
        known=(*own, *OPTIONS),
        missing="check the path after `=`; moekit downloads nothing, but anomalib does or says "
        f"where to ask: anomalib.data.{name}(root=PATH).prepare_data()",
    )
    return root.resolve(), options


def _visa_root(root: Path) -> Path:
    laid_out = root / "visa_pytorch"
    return laid_out if laid_out.is_dir() else root


def _visa(format_: Format, root: Path) -> Format:
    if _visa_root(root) == root and (root / VISA_TABLE).is_file():
        return dataclasses.replace(format_, reads=read_visa)
    return format_


def _load(
    loader: str, format_: Format, root: Path, options: Mapping[str, str], seed: int
) -> Dataset:
    option = "category" if "format" in options else "products"
    products, skipped = _read(format_, root, options, option)
    return build_dataset(
        products,
        name=f"{loader} {root.name}",
        source=f"{format_.citation}, read with anomalib {importlib.metadata.version('anomalib')}",
        licence=format_.licence,
        caution=format_.caution,
        options=options,
        seed=seed,
        skipped=skipped,
    )


def _read(
    format_: Format, root: Path, options: Mapping[str, str], option: str
) -> tuple[list[Product], list[Skipped]]:
    wanted = options.get(option)
    if not isinstance(format_.reads, Layout):
        return format_.reads(root, wanted, options), []
    found, skipped = find_products(root, wanted=wanted, option=option)
    layout = format_.reads
    products = [
        read_product(product.folder, layout, name=product.name, prefix=product.prefix)
        for product in found
    ]
    return products, skipped


_spec = functools.partial(DatasetSpec, takes_path="required")
_SPLIT = "good images to train on, test images with masks"

MVTEC = _spec(
    name="mvtec",
    load=load_mvtec,
    summary=f"products in {_LAYOUT}: {_SPLIT}; ?products=a,b&shots=N&groups=FILE",
    licence="yours",
    example=examples.write_mvtec,
)
VISA = _spec(
    name="visa",
    load=load_visa,
    summary=f"VisA, 12 products: {_SPLIT}; options as of mvtec",
    licence=FORMATS["visa"].licence,
    example=examples.write_visa,
)
BTAD = _spec(
    name="btad",
    load=load_btad,
    summary=f"BTAD, 3 products: {_SPLIT}; options as of mvtec",
    licence=FORMATS["btech"].licence,
    example=examples.write_btad,
)
ANOMALIB = _spec(
    name="anomalib",
    load=load_anomalib,
    summary=f"PATH?format=NAME[&category=a,b], NAME of {', '.join(FORMATS)}",
    licence="of each set",
    example=examples.write_kolektor,
)
