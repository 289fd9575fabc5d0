"""Products become a data set: checked files, groups, masks, splits.

The validation images are good training images (see `moekit.data.negatives`), never test images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from moekit import DataError, Dataset, Sample, Skipped
from moekit.data import MASK_OF, SPLITS, complete_splits, is_image_name, whole_number
from moekit_industrial.loaders.groups import INDEX, has_groups, read_groups
from moekit_industrial.loaders.masks import Chosen, choose_mask, file_fault
from moekit_industrial.loaders.rows import GOOD, Product, Row

CLASSES = (GOOD, "defective")
OPTIONS = ("groups", "shots")
"""Options that each loader takes."""


def build_dataset(
    products: Sequence[Product],
    *,
    name: str,
    source: str,
    options: Mapping[str, str],
    seed: int,
    licence: str = "unknown",
    caution: str = "",
    skipped: Sequence[Skipped] = (),
) -> Dataset:
    """Makes the data set.

    Args:
        products: At least one.
        name: As of a data set.
        source: As of a data set; it adds how products were read.
        options: Those of `OPTIONS` that were given.
        seed: Of the split, and of the choice of few training images.
        licence: As of a data set.
        caution: As of a data set; it adds how many masks are missing.
        skipped: As of a data set; it adds its own.

    Raises:
        DataError: A product has no good training image, a table of groups is wrong, or an image or
            group lies in two splits.
    """
    shots = parse_shots(options.get("shots"))
    left_out = [*skipped]
    samples: list[Sample] = []
    for product in products:
        own, unusable = _read_rows(product)
        if not any(sample.split == "train" for sample in own):
            raise _no_training(product, unusable)
        samples += own
        left_out += unusable
    groups, tables = _groups(products, options.get("groups"))
    if tables:
        samples = _with_groups(samples, groups, tables)
        known = {sample.id for sample in samples} | {skip.id for skip in left_out}
        left_out += [
            Skipped(id=lost, reason="a table of groups names it, and there is no such image")
            for lost in sorted(set(groups) - known)
        ]
    defects = [sample for sample in samples if sample.label]
    drawn = sum(sample.mask is not None for sample in defects)
    if drawn < len(defects):
        caution = (
            f"{caution} {len(defects) - drawn} of {len(defects)} defective images have no mask; "
            "they count for no measure of where a defect is."
        ).strip()
    how = [product.how for product in products if product.how]
    dataset = Dataset(
        name=name,
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        classes=CLASSES,
        licence=licence,
        source="; ".join([source, *how]),
        skipped=tuple(sorted(left_out, key=lambda skip: skip.id)),
        caution=caution,
        notes=tuple(note for product in products for note in product.notes),
    )
    return complete_splits(dataset, seed=seed, keep=shots)


def parse_shots(text: str | None) -> int | None:
    """How many good training images of each product are kept; None for all.

    Raises:
        DataError: It is no number from 1 on.
    """
    if text is None:
        return None
    shots = whole_number(text, least=1, most=10**9 - 1)
    if shots is None:
        raise DataError(
            f"{text[:20]!r} is no number of training images",
            whose="the option shots",
            fix="write it as in ?shots=8",
            code="data/bad-option",
        )
    return shots


def _read_rows(product: Product) -> tuple[list[Sample], list[Skipped]]:
    samples: list[Sample] = []
    skipped = [Skipped(id=name, reason=reason) for name, reason in product.rest]
    for row in product.rows:
        facts = {"product": product.name, "defect": row.defect}
        reason = _fault(row)
        if reason is not None:
            split = row.split if row.split in SPLITS else None
            label = int(row.defect != GOOD)
            skipped.append(Skipped(id=row.id, reason=reason, label=label, split=split, facts=facts))
            continue
        chosen = choose_mask(row.masks, row.image) if row.masks else Chosen(mask=None)
        if chosen.faults:
            skipped.append(Skipped(id=MASK_OF + row.id, reason="; ".join(chosen.faults)))
        # A good image whose mask cannot be read is none of which all pixels are known to be good.
        lost = row.masks[0] if row.masks and row.defect == GOOD else None
        samples.append(
            Sample(
                id=row.id,
                path=row.image,
                label=int(row.defect != GOOD),
                group=row.group,
                subtype=product.name,
                split=row.split,
                facts=facts,
                mask=chosen.mask or lost,
            )
        )
    return samples, skipped


def _fault(row: Row) -> str | None:
    if row.split not in SPLITS:
        return f"it lies in the split {row.split!r}, which is none of {', '.join(SPLITS)}"
    if row.split != "test" and row.defect != GOOD:
        return f"it is defective and lies in the {row.split} split, where good images are wanted"
    if not is_image_name(row.image.name):
        return "its name is not that of an image"
    return file_fault(row.image)


def _no_training(product: Product, skipped: Sequence[Skipped]) -> DataError:
    first = f", such as {skipped[0].id}: {skipped[0].reason}" if skipped else ""
    return DataError(
        f"the product {product.name!r} has no good training image that can be used "
        f"({len(skipped)} images are left out{first})",
        whose=str(product.folder),
        fix="put good images where this layout has those to train on",
        code="data/no-good-image",
    )


def _groups(products: Sequence[Product], named: str | None) -> tuple[dict[str, str], list[Path]]:
    """The groups by id, and the tables that they come from."""
    if named is not None:
        return dict(read_groups(Path(named))), [Path(named)]
    groups: dict[str, str] = {}
    tables = [product.folder / INDEX for product in products if has_groups(product.folder)]
    for product in products:
        if product.folder / INDEX in tables:
            groups |= read_groups(product.folder / INDEX, prefix=product.prefix)
    return groups, tables


def _with_groups(
    samples: Sequence[Sample], groups: Mapping[str, str], tables: Sequence[Path]
) -> list[Sample]:
    """Each image that is trained on needs a group, if another one of its product has one."""
    covered = {sample.subtype for sample in samples if sample.id in groups}
    bare = [
        sample
        for sample in samples
        if sample.split != "test" and sample.subtype in covered and sample.id not in groups
    ]
    if bare or not covered:
        example = (bare or samples)[0].id
        raise DataError(
            f"{len(bare) or len(samples)} images have no group, such as {example}",
            whose=", ".join(map(str, tables)),
            fix="add a line for each, with its path as it stands here, from the folder of the data",
            code="data/missing-group",
        )
    return [
        dataclasses.replace(sample, group=groups.get(sample.id, sample.group)) for sample in samples
    ]
