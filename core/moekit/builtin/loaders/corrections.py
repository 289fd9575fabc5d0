"""The loader `corrections=PATH[?kit=NAME]`: what people said of served answers, as labels."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from moekit.contract.datasets import DatasetSpec
from moekit.corrections.kept import TEST_SHARE, VAL_SHARE
from moekit.corrections.labels import ClassLabel
from moekit.corrections.store import Correction, Store
from moekit.corrections.tables import FILES
from moekit.corrections.terms import HEADER, Terms, read_terms
from moekit.data.options import PARTIAL, parse_source
from moekit.data.samples import Dataset
from moekit.errors import DataError
from moekit.plugins.registry import Registry

NAME = "corrections"
_EXAMPLES = 60
_SIDE = 32


def load_corrections(path: Path | None, seed: int) -> Dataset:
    """Reads the corrections of one kit by the loader of their form.

    Splits depend on the content of each image, or its group, only: about 25% are test and 15% val,
    now and when there are more. Labels stand in the terms of the run whose answers were corrected.

    Args:
        path: The folder that `moekit serve --corrections` was given, or that of one kit in it;
            `?kit=NAME` names one of several.
        seed: Of nothing, since splits are fixed.

    Raises:
        DataError: There are no corrections, those of several kits, or they are damaged.
        UsageError: Their loader is not installed.
    """
    source, options = parse_source(
        path, known=("kit",), missing="name the folder that `moekit serve --corrections` was given"
    )
    folder = _folder_of(source, options.get("kit"))
    terms = read_terms(folder)
    table = folder / FILES[terms.form]
    if not table.is_file():
        raise DataError(
            "there is no correction yet",
            whose=str(folder),
            fix="correct answers on the page of `moekit serve`, or import labels",
            code="data/no-corrections",
        )
    dataset = Registry().load_dataset(f"{terms.loader}={table}?{PARTIAL}=yes", seed=seed)
    note = (
        f"by the hash of each image or group: {TEST_SHARE:.0%} test, {VAL_SHARE:.0%} val, the rest "
        "train"
    )
    return dataclasses.replace(
        dataset,
        name=f"{NAME} of {folder.name}",
        source=f"{len(dataset.samples)} corrected images",
        split_note=note,
        has_negative=dataset.may_lack_positives or _two(terms),
        ready=True,
    )


def write_example(folder: Path) -> Path:
    """Writes corrections of 60 small images of two classes, as conformance checks need them."""
    generator = np.random.default_rng(0)
    terms = Terms(
        kit="moekit/example",
        task="score",
        classes=("good", "odd"),
        form="class",
        loader="moekit/folder",
    )
    store = Store(folder / "example", terms)
    for number in range(_EXAMPLES):
        pixels = 100 * (number % 2) + generator.integers(0, 100, (_SIDE, _SIDE, 3), dtype=np.uint8)
        stored = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stored, format="PNG")
        label = ClassLabel(form="class", classes=[terms.classes[number % 2]])
        made = Correction(content=stored.getvalue(), size=(_SIDE, _SIDE), label=label)
        store.add(made, labels=False)
    store.write()
    return folder


CORRECTIONS = DatasetSpec(
    name=NAME,
    load=load_corrections,
    summary="what people said of served answers: the folder of `moekit serve --corrections`",
    takes_path="required",
    licence="yours",
    example=write_example,
)


def _two(terms: Terms) -> bool:
    return terms.form == "class" and len(terms.classes) == 2 and not terms.several


def _folder_of(source: Path, kit: str | None) -> Path:
    if (source / HEADER).is_file() and kit is None:
        return source
    found = sorted(one.parent for one in source.glob(f"*/{HEADER}"))
    named = [one for one in found if kit in (None, one.name)]
    if len(named) == 1:
        return named[0]
    names = ", ".join(one.name for one in found) or "none"
    raise DataError(
        f"there are corrections of {len(found)} kits ({names})"
        if kit is None
        else f"there are no corrections of {kit[:80]!r}, but of: {names}",
        whose=str(source),
        fix="write ?kit=NAME after the path" if found else "name the folder of corrections",
        code="data/no-corrections" if not found else "data/several-corrections",
    )
