"""The licences of what a run, a result or an export was made from."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import Any

from moekit.backbone.lineage import backbone_link
from moekit.backbone.model import Provenance
from moekit.data.samples import Dataset
from moekit.licences import NOT_RECORDED, NOT_STATED, Link, as_json, read_links, stated
from moekit.plugins.discovery import Plugin
from moekit.runs.pretrained import Pretrained
from moekit.runs.run import Run

_CLASSIFIER = "License :: "
_LONGEST = 80
"""Characters of a field License that is a name, not the text of a licence."""


def licences_of_run(
    backbone: Provenance | None,
    plugins: Iterable[Plugin],
    dataset: Dataset,
    start: Run | Pretrained | None = None,
) -> dict[str, Any]:
    """What run.json records: backbone, plugins, data, and the run that it began with.

    Args:
        backbone: Where its weights come from, which are frozen in what is made; None for none.
        plugins: Those that something was taken from.
        dataset: The data that were learned from.
        start: The run or pretraining that was begun with; None if there is none.
    """
    frozen = [] if backbone is None else [backbone_link(backbone)]
    links = [*frozen, *plugin_links(plugins), data_link(dataset)]
    if start is not None:
        record = start.read_finished()
        known = read_links(record)
        kind = "" if isinstance(start, Run) else "pretraining "
        links.append(
            Link(
                what="run",
                name=f"{kind}of {record['request'].get('dataset', 'other data')}, begun with",
                licence=NOT_RECORDED if known is None else "see its parts",
                made_from=list(known or ()),
            )
        )
    return as_json(links)


def licences_of_answers(
    record: Mapping[str, Any], dataset: Dataset | None = None
) -> dict[str, Any]:
    """What a result or an export records: the chain of its run, and the data that it was shown.

    Args:
        record: Of the run.
        dataset: The data; None if they are those of the run.
    """
    known = read_links(record)
    links = list(known or ())
    if known is None:
        links = [Link(what="run", name="that answered", licence=NOT_RECORDED)]
    shown = None if dataset is None else data_link(dataset)
    if shown is not None and shown not in links:
        links.append(shown)
    return as_json(links)


def data_link(dataset: Dataset) -> Link:
    """The data, as their loader and the user state them."""
    licence = stated(dataset.licence)
    by = dataset.licence_by or ("the loader" if licence != NOT_STATED else "")
    return Link(what="data", name=dataset.name, licence=licence, by=by, source=dataset.source)


def plugin_links(plugins: Iterable[Plugin]) -> list[Link]:
    """Each plugin by the metadata of its distribution, and the weights that it brings."""
    return [
        Link(
            what="plugin",
            name=f"{plugin.distribution} {plugin.version}",
            licence=licence_of_distribution(plugin.distribution),
            by="its package",
            made_from=[
                Link(
                    what="weights",
                    name=weights.file,
                    licence=stated(weights.licence),
                    by="its manifest",
                    source=weights.source,
                )
                for weights in (plugin.manifest.weights if plugin.manifest else ())
            ],
        )
        for plugin in plugins
    ]


def licence_of_distribution(name: str) -> str:
    """The licence that a distribution's metadata name (Core metadata 2.4), or `NOT_STATED`."""
    try:
        metadata = importlib.metadata.metadata(name)
        for field in ("License-Expression", "License"):
            text = stated(next(iter(metadata.get_all(field) or ()), ""))
            if text != NOT_STATED and len(text) <= _LONGEST:
                return text
        classes = metadata.get_all("Classifier") or []
    except Exception:  # not installed, or no metadata
        return NOT_STATED
    named = [one.rpartition(" :: ")[2] for one in classes if one.startswith(_CLASSIFIER)]
    return stated(", ".join(named))
