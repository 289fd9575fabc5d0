"""Which folders of products stand behind a path."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from moekit import DataError, Skipped
from moekit.data import find_images, split_name
from moekit.outputs import kind_of_output


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A folder of a product; the other attributes are as of `Product`."""

    name: str
    folder: Path
    prefix: str


def find_products(
    root: Path, *, wanted: str | None, option: str, train: str = "train"
) -> tuple[list[Found], list[Skipped]]:
    """The product whose folder this is, or those that lie in it, in order of their names.

    Args:
        root: The folder that was named.
        wanted: Names of products, separated by commas; all if None.
        option: The option that `wanted` comes from.
        train: What the folder of a product holds.

    Returns:
        The products, and the folders with images that are no products.

    Raises:
        DataError: There is no product, or none of a name that is wanted.
    """
    root = root.resolve()
    skipped: list[Skipped] = []
    folders: list[Path] = []
    if (root / train).is_dir():
        found = [Found(name=root.name, folder=root, prefix="")]
    else:
        folders = _folders(root)
        found = [
            Found(name=folder.name, folder=folder.resolve(), prefix=f"{folder.name}/")
            for folder in folders
            if (folder / train).is_dir()
        ]
        found, skipped = _without_links(found)
        known = {product.name for product in found} | {skip.id for skip in skipped}
        if found and wanted is None:
            reason = f"this folder of images holds no folder {train!r}, so it is no product"
            skipped += [
                Skipped(id=folder.name, reason=reason)
                for folder in folders
                if folder.name not in known and find_images(folder)
            ]
    if not found:
        alike = sorted(
            {path.name for here in (root, *folders) for path in here.glob("*") if path.is_dir()}
        )
        near = [name for name in alike if split_name(name) == "train" and name != train]
        told = f" (there is {near[0]!r})" if near else ""
        raise DataError(
            f"neither this folder nor one in it holds a folder {train!r} of good images{told}",
            whose=str(root),
            fix="name the folder of a product, or one of several products; folders of good images "
            "without that layout are read by --data good=PATH",
            code="data/wrong-layout",
        )
    names = pick({product.name for product in found}, wanted=wanted, option=option)
    return [product for product in found if product.name in names], skipped


def pick(known: Collection[str], *, wanted: str | None, option: str) -> set[str]:
    """The names that are wanted.

    Raises:
        DataError: One of them is not known.
    """
    names = set(known) if wanted is None else {name.strip() for name in wanted.split(",")}
    unknown = sorted(names - set(known))
    if unknown:
        raise DataError(
            f"there is no {unknown[0]!r} in this folder",
            whose=f"the option {option}",
            fix=f"there are: {', '.join(sorted(known))}",
            code="data/bad-option",
        )
    return names


def _without_links(found: list[Found]) -> tuple[list[Found], list[Skipped]]:
    """The products, each once, and other names that lead to the folder of one."""
    first: dict[Path, Found] = {}
    skipped = []
    for product in found:
        known = first.setdefault(product.folder, product)
        if known is not product:
            reason = f"it is the folder of the product {known.name} (a link)"
            skipped.append(Skipped(id=product.name, reason=reason))
    return list(first.values()), skipped


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(
            path
            for path in root.iterdir()
            if path.is_dir() and not path.name.startswith(".") and not kind_of_output(path)
        )
    except OSError as error:
        raise DataError(
            f"the folder cannot be listed ({error.strerror or error})",
            whose=str(root),
            fix="check that it is a folder and may be read",
            code="data/unreadable",
        ) from error
