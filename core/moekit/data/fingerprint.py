"""What a split of a data set is, as hashes: by these a run knows whether its data have changed."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from moekit.data.content import Contents
from moekit.data.samples import Dataset, Sample
from moekit.errors import DataError
from moekit.files import to_json

Fingerprint = Mapping[str, Any]
_PARTS = ("ids", "labels", "groups", "images", "masks")
_THREADS = 2


def fingerprint(
    samples: Sequence[Sample],
    contents: Contents,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """The fingerprint of the samples of a split, in their order.

    Args:
        samples: Of the split.
        contents: Hashes their images and masks.
        on_progress: Called with the files that are hashed and their total.

    Returns:
        JSON-ready: the number `n` of samples and the SHA-256 of all `ids`, of all `labels` (with
        targets and other truth), of `groups` (with subtypes and facts), of the bytes of `images`
        and of `masks` (with what their values mean).
    """
    files = list(dict.fromkeys(path for one in samples for path in (one.path, one.mask) if path))
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        hashes = {}
        for path, content in zip(files, pool.map(contents.of, files), strict=True):
            hashes[path] = content
            on_progress(len(hashes), len(files))
    columns: dict[str, Iterable[Any]] = {
        "ids": (one.id for one in samples),
        "labels": (
            [one.label, one.target, one.labels, *(() if one.truth is None else (one.truth,))]
            for one in samples
        ),
        "groups": ([one.group, one.subtype, dict(one.facts)] for one in samples),
        "images": (hashes[one.path] for one in samples),
        "masks": (
            None if one.mask is None else [hashes[one.mask], repr(one.mask_table)]
            for one in samples
        ),
    }
    return {"n": len(samples), **{name: _hash(values) for name, values in columns.items()}}


def fingerprints(
    dataset: Dataset,
    splits: Iterable[str],
    contents: Contents,
    *,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, dict[str, Any]]:
    """The fingerprints of splits, by name.

    Args:
        dataset: Split data.
        splits: Names of splits.
        contents: Hashes their files.
        on_progress: Called with a description, the files that are hashed and their total.
    """
    found = {}
    for split in splits:
        told = functools.partial(on_progress, f"hashing the files, {split}")
        found[split] = fingerprint(dataset.split(split), contents, on_progress=told)
    return found


def changes(known: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint]) -> list[str]:
    """What differs between the fingerprints of splits, such as "the labels of train".

    Splits that only one of them has are passed over.
    """
    return [
        f"the {part} of {split}"
        for split in now
        if split in known
        for part in _PARTS
        if known[split].get(part) != now[split][part]
    ]


def refuse_changes(
    known: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint], *, whose: str, fix: str
) -> None:
    """Refuses data that are not those that are known.

    Raises:
        DataError: They have changed.
    """
    found = changes(known, now)
    if found:
        raise DataError(
            f"the data have changed since this was begun: {', '.join(found)}",
            whose=whose,
            fix=fix,
            code="data/changed",
        )


def _hash(values: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(to_json(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
        digest.update(b"\n")
    return digest.hexdigest()
