"""The prefix of another export, as the beginning of a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit.errors import UsageError
from moekit.export.predictor import ExportPrecision
from moekit.export.record import Export, PrefixRecord, open_folder
from moekit.export.sessions import Format
from moekit.export.split.programs import models_of, tokens_read
from moekit.runtime.predictor import Predictor


def open_given(
    folder: Path,
    predictor: Predictor,
    *,
    format_: Format,
    precision: ExportPrecision,
    computes: str,
    shape: Sequence[int],
) -> tuple[Export, PrefixRecord]:
    """The prefix in the folder of a split export, on which a kit can go on.

    Args:
        folder: Of the export.
        predictor: The kit.
        format_: Of the new export.
        precision: Likewise.
        computes: What the kit's backbone computes, by its name.
        shape: Of one sample.

    Raises:
        DataError: There is no export in it, or its record is damaged.
        UsageError: It has no prefix, or one that does not fit the kit.
        WeightsError: A file of it is damaged.
    """
    export = open_folder(folder)
    split = export.record.split
    if split is None:
        raise _refused(folder, "it is one graph, without a prefix")
    prefix = split.prefix
    routing = None if predictor.tokens is None else predictor.tokens.as_json()
    wanted: Mapping[str, Any] = {
        "format": format_,
        "precision": precision,
        "backbone": computes,
        "top_k": predictor.top_k,
        "input": list(shape),
        "routing of tokens": routing,
    }
    known: Mapping[str, Any] = {
        "format": export.record.format,
        "precision": prefix.precision,
        "backbone": prefix.computes,
        "top_k": prefix.top_k,
        "input": list(prefix.shape),
        "routing of tokens": prefix.tokens,
    }
    for name, value in wanted.items():
        if known[name] != value:
            raise _refused(folder, f"its {name} is {known[name]}, and that of the kit {value}")
    last = predictor.kit.trunk_end
    if prefix.blocks > last:
        raise _refused(
            folder, f"it ends after {prefix.blocks} blocks, and the kit's own begin after {last}"
        )
    missing = [
        name
        for name in tokens_read(models_of(predictor), prefix.blocks)
        if name not in prefix.outputs
    ]
    if missing:
        raise _refused(folder, f"the kit reads {', '.join(missing)}, which it does not put out")
    return export, prefix


def _refused(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"the prefix does not fit: {why}",
        whose=str(folder),
        fix="export without --prefix, or name a split export that was made with the same options "
        "by a kit that reads as many blocks",
        code="usage/other-prefix",
    )
