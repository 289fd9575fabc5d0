"""Where a sparse form comes from: a file, or those that ship with moekit."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path

from moekit.backbone.sparse.form import SparseForm, load_form
from moekit.errors import WeightsError

_SHIPPED = "moekit.backbone.sparse.shipped"


def find_form(dense_sha256: str, *, experts: int, form: str = "auto") -> SparseForm | None:
    """Finds the sparse form of some dense weights.

    Args:
        dense_sha256: Hash of the dense weights' file.
        experts: Generic experts a block.
        form: "auto" (one that ships with moekit and fits the weights, else none), "none", or the
            path of a file.

    Returns:
        The form, or None.

    Raises:
        WeightsError: The file cannot be used, or was made for other weights.
    """
    if form == "none":
        return None
    if form != "auto":
        return _checked(load_form(Path(form)), dense_sha256, experts, whose=form)
    for resource in importlib.resources.files(_SHIPPED).iterdir():
        if resource.name.endswith(".safetensors"):
            with importlib.resources.as_file(resource) as path:
                shipped = load_form(path)
            if shipped.dense_sha256 == dense_sha256 and shipped.experts == experts:
                return dataclasses.replace(shipped, origin="shipped")
    return None


def _checked(form: SparseForm, dense_sha256: str, experts: int, *, whose: str) -> SparseForm:
    if form.dense_sha256 != dense_sha256 or form.experts != experts:
        raise WeightsError(
            f"this sparse form was made for other weights ({form.architecture}, "
            f"{form.dense_sha256[:12]}, {form.experts} experts a block)",
            whose=whose,
            fix="make one for these weights with `moekit backbone carve`, or pass `--form none`",
            code="weights/other-weights",
        )
    return form
