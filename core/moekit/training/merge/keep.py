"""What a merged run keeps, so that all commands take it as any other run."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from moekit.backbone.model import MoEBackbone
from moekit.data.content import Contents
from moekit.data.samples import Dataset
from moekit.evaluation.counts import count_classes
from moekit.evaluation.split_pass import Passed
from moekit.licences import NOT_RECORDED, Link, as_json, read_links
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved
from moekit.runs.choices import MEAN
from moekit.runs.facts import backbone_facts, machine, now, plugin_facts, versions
from moekit.runs.licences import licences_of_run
from moekit.runs.run import MEAN_VALIDATION, VALIDATION, Run, hashes_of
from moekit.runs.seen import keep_learned
from moekit.runtime.kit import KitModules
from moekit.training.counts import parameter_count
from moekit.training.merge.sites import PARTS, Site

JUDGED = "merge.json"
JUDGED_SCHEMA = 1
"""The file that says how a merged run was judged; all that is kept of one that is refused."""
NO_CODES = "near-duplicates were not looked for: sites keep what they learned from"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """What a merge made.

    Attributes:
        parts: The merged kit and baseline.
        tallies: Of the merged specialist, the baseline and their mean, on the validation split.
        passed: The pass that they come from.
        chosen: As of `moekit.training.selection.choices`.
        judged: The content of merge.json.
    """

    parts: Mapping[str, KitModules]
    tallies: Sequence[Any]
    passed: Passed
    chosen: Mapping[str, Any]
    judged: Mapping[str, Any]


def keep_merged(
    made: Made,
    *,
    run: Run,
    sites: Sequence[Site],
    request: Mapping[str, Any],
    dataset: Dataset,
    resolved: Resolved,
    backbone: MoEBackbone,
    registry: Registry,
    contents: Contents,
    command: str,
) -> dict[str, Any]:
    """Writes the run; run.json, by which it is one, comes last.

    Returns:
        The content of run.json.
    """
    save = resolved.task.judge.save
    written = save(run.folder, VALIDATION, made.tallies[:2])
    if made.chosen["use"]["model"] == MEAN:
        written += save(run.folder, MEAN_VALIDATION, made.tallies[2:])
    hashes = {f"{part}_sha256": run.save_weights(part, made.parts[part]) for part in PARTS}
    judged_on = [contents.of(one.path) for one in dataset.split("val")]
    facts = {
        "weights": hashes,
        "files": hashes_of(run.folder, [*written, JUDGED]),
        "arithmetic": "fp32",
        "parameters": {
            "trained": parameter_count(made.parts["kit"]),
            "baseline": parameter_count(made.parts["baseline"]),
            "backbone": parameter_count(backbone),
        },
        "training": {part: {"epochs": 0, "best_epoch": 0, "seconds": 0.0} for part in PARTS},
        "images": {"train": sum(site.images for site in sites), "val": len(made.passed.items)},
        **made.chosen,
        "class_counts": _class_counts(sites, dataset, resolved),
        "near_duplicates": {"checked": False, "why": NO_CODES, "in_words": [NO_CODES]},
        "merged": dict(made.judged),
        **keep_learned(run, {"val": judged_on}, earlier=[site.run for site in sites]),
        "skipped": [dataclasses.asdict(one) for one in (*dataset.skipped, *made.passed.skipped)],
        "backbone": backbone_facts(backbone),
        "plugins": plugin_facts(registry.used()),
        "licences": _licences(sites, dataset, backbone, registry),
        "versions": versions(),
        "machine": machine(),
        "caution": _cautions(sites, dataset),
        "notes": [*made.judged["in_words"], *made.judged["notes"]],
        "created": now(),
        "command": command,
    }
    run.begin(request, resume=False)
    run.finish(facts)
    return run.read()


def _class_counts(
    sites: Sequence[Site], dataset: Dataset, resolved: Resolved
) -> dict[str, dict[str, int]]:
    """Items of each class that all sites learned from, and of the validation split."""
    held = count_classes(dataset.split("val"), dataset.classes)
    if not resolved.task.labelled or not all(len(one.class_counts) == len(held) for one in sites):
        return {}
    train = collections.Counter[str]()
    for site in sites:
        train.update(dict(zip(held, site.class_counts.values(), strict=True)))
    return {"train": dict(train), "val": held} if held else {}


def _cautions(sites: Sequence[Site], dataset: Dataset) -> str | None:
    told = [site.run.read().get("caution") for site in sites]
    return "; ".join(dict.fromkeys(filter(None, [*told, dataset.caution]))) or None


def _licences(
    sites: Sequence[Site], dataset: Dataset, backbone: MoEBackbone, registry: Registry
) -> dict[str, Any]:
    """The chain of the backbone, the plugins, the validation data, and of each site's run."""
    own = licences_of_run(backbone.provenance, registry.used(), dataset)
    links = list(read_links({"licences": own}) or ())
    for number, site in enumerate(sites, start=1):
        record = site.run.read()
        known = read_links(record)
        links.append(
            Link(
                what="run",
                name=f"of site {number} on {record['request'].get('dataset') or 'other data'}",
                licence=NOT_RECORDED if known is None else "see its parts",
                made_from=list(known or ()),
            )
        )
    return as_json(links)
