"""Sets of other loaders without the names of their files, which may be those of patients."""

from __future__ import annotations

import dataclasses
import hashlib

from moekit import Dataset
from moekit_medical.privacy import token

_OWN = frozenset(("candidates", "ct_demo", "dicom", "lesions", "medmnist", "nifti"))
"""Loaders of this kit, which name samples by tokens themselves."""


def hide_names(dataset: Dataset, seed: int) -> Dataset:
    """The set with tokens in place of ids, groups and its name; one of the kit's loaders as it is.

    The salt is the hash of all ids, so that tokens are the same on every machine.

    Args:
        dataset: Of any loader.
        seed: Of its splits; not used.
    """
    del seed
    kind = dataset.name.partition(" ")[0]
    if kind in _OWN:
        return dataset
    ids = sorted([*(one.id for one in dataset.samples), *(one.id for one in dataset.skipped)])
    salt = hashlib.sha256("\n".join(ids).encode("utf-8", "surrogatepass")).digest()

    def hidden(text: str) -> str:
        return token(text, salt=salt)

    return dataclasses.replace(
        dataset,
        name=f"{kind} {salt.hex()[:12]}",
        samples=tuple(
            dataclasses.replace(
                one,
                id=hidden(one.id),
                group=None if one.group is None else hidden(one.group),
            )
            for one in dataset.samples
        ),
        skipped=tuple(dataclasses.replace(one, id=hidden(one.id)) for one in dataset.skipped),
        notes=_without_names(dataset.notes),
    )


def _without_names(notes: tuple[str, ...]) -> tuple[str, ...]:
    if not notes:
        return ()
    return (f"{len(notes)} notes of the loader are left out, since they may name files",)
