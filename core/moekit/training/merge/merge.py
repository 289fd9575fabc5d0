"""A merged run, whole: the sites' weights made one, judged, and kept as an ordinary run."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moekit.backbone.model import MoEBackbone
from moekit.data.content import Contents
from moekit.data.fingerprint import fingerprints, refuse_changes
from moekit.data.samples import Dataset
from moekit.data.views import view_numbers
from moekit.errors import DataError, UsageError
from moekit.evaluation.counts import count_classes, shifts_in_words
from moekit.evaluation.evaluate import check_fits, check_passed
from moekit.evaluation.split_pass import Passed, pass_over
from moekit.files import write_json
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, resolve
from moekit.plugins.sites import side_by_side
from moekit.runs.choices import BASELINE, MEAN, SPECIALIST, kept_model
from moekit.runs.run import Run
from moekit.runs.weights import refuse_lost
from moekit.runtime.kit import KitModules
from moekit.runtime.load import load_predictor, preprocess_of
from moekit.runtime.predictor import Predictor
from moekit.runtime.tokens import routing_of
from moekit.training.merge.combine import average, beside
from moekit.training.merge.judge import MERGED, Beside, judge
from moekit.training.merge.keep import JUDGED, JUDGED_SCHEMA, Made, keep_merged
from moekit.training.merge.sites import PARTS, How, Site, Weigh, read_sites
from moekit.training.selection import check_rule, choices

OnProgress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MergeJob:
    """What `merge` is asked to do.

    Attributes:
        runs: What the sites sent.
        dataset: Split data whose validation split none of them was trained on.
        run: Where the merged run goes.
        by: Whether weights are averaged, or all specialists lie side by side.
        weigh: Whether a site counts by its images, or all alike.
        leave_out: Whether runs that do not fit are left out; else they are refused.
        anyway: Whether a merged run is kept that is not accepted.
        rule: How the point is chosen on the validation split; the kit's own if empty.
        batch_size: Images a forward pass.
        command: The command line, for the record.
    """

    runs: Sequence[Run]
    dataset: Dataset
    run: Run
    by: How = "average"
    weigh: Weigh = "images"
    leave_out: bool = False
    anyway: bool = False
    rule: str = ""
    batch_size: int = 16
    command: str = ""


def merge(
    job: MergeJob, *, backbone: MoEBackbone, registry: Registry, on_progress: OnProgress
) -> dict[str, Any]:
    """Merges runs, compares the result with each of them, and keeps it if it is accepted.

    RUN/merge.json, which says how it was judged, is written in any case; the run itself only if it
    is accepted, or is kept anyway.

    Returns:
        The content of merge.json, with `record`, that of the run, if it was kept.

    Raises:
        DataError: Runs do not fit each other or the data, or no image can be read.
        UsageError: The kit cannot be merged in this way, or the folder holds a run.
        WeightsError: The merged weights are not finite.
    """
    _check_free(job.run)
    sites, each, left_out = read_sites(
        job.runs,
        backbone=backbone,
        registry=registry,
        by=job.by,
        weigh=job.weigh,
        leave_out=job.leave_out,
    )
    first = sites[0].run
    check_fits(first, job.dataset)
    check_rule(each, job.rule, job.dataset)
    resolved = each
    if job.by == "route":
        kit = side_by_side(each.kit, len(sites), registry)
        resolved = resolve(kit, registry, frames=first.frames())
    contents = Contents()
    known = fingerprints(job.dataset, ("val",), contents, on_progress=on_progress)
    request = _request(job, sites, known)
    parts = {part: _merged(part, sites, resolved, job, backbone, registry) for part in PARTS}
    passed = _answered(job, sites, parts, each, resolved, backbone, registry, on_progress)
    refuse_changes(
        known,
        fingerprints(job.dataset, ("val",), contents),
        whose=job.dataset.name,
        fix="let nothing write to the data, then merge again",
    )
    names = _names(sites, hidden=each.kit.hides_paths)
    _check(resolved, [*names, *[MERGED] * 3], passed.tallies)
    own = passed.tallies[len(sites) :]
    chosen = choices(resolved, own, rule=job.rule)
    answering = own[(SPECIALIST, BASELINE, MEAN).index(chosen["use"]["model"])]
    tallies = dict(zip(names, passed.tallies, strict=False)) | {MERGED: answering}
    judged = {
        "schema": JUDGED_SCHEMA,
        "by": job.by,
        "weigh": job.weigh,
        **judge(resolved, tallies, rule=chosen["rule"]["name"]),
        "sites": [site.as_json(name) for name, site in zip(names, sites, strict=True)],
        "left_out": left_out,
        "notes": _notes(job, sites, names),
    }
    judged["kept"] = judged["accepted"] is True or job.anyway
    write_json(job.run.folder / JUDGED, judged)
    if not judged["kept"]:
        return judged
    made = Made(parts=parts, tallies=own, passed=passed, chosen=chosen, judged=judged)
    record = keep_merged(
        made,
        run=job.run,
        sites=sites,
        request=request,
        dataset=job.dataset,
        resolved=resolved,
        backbone=backbone,
        registry=registry,
        contents=contents,
        command=job.command,
    )
    return {**judged, "record": record}


def _check_free(run: Run) -> None:
    """Refuses a folder with a run; what a merge left there that was interrupted goes.

    Raises:
        UsageError: There is a run.
    """
    if not run.record.exists():
        return
    known = run.read()
    if known["done"] or "merged" not in known["request"]:
        raise UsageError(
            "the folder holds a run already",
            whose=str(run.folder),
            fix="choose another --out",
            code="usage/exists",
        )
    run.record.unlink()


def _names(sites: Sequence[Site], *, hidden: bool) -> list[str]:
    """What sites are called: by their folders, with a number if two have one name."""
    count = collections.Counter(site.name for site in sites)
    return [
        f"site {number}" if hidden else site.name + f" ({number})" * (count[site.name] > 1)
        for number, site in enumerate(sites, start=1)
    ]


def _merged(
    part: str,
    sites: Sequence[Site],
    resolved: Resolved,
    job: MergeJob,
    backbone: MoEBackbone,
    registry: Registry,
) -> KitModules:
    modules = KitModules(
        spec=resolved.kit if part == "kit" else resolved.kit.bare,
        registry=registry,
        backbone=backbone,
        classes=len(sites[0].run.classes()),
        frames=sites[0].run.frames(),
        members=sites[0].run.recipe().head_members,
    )
    given = [site.parts[part] for site in sites]
    if job.by == "route":
        beside(modules, given)
    else:
        average(modules, given, [site.share for site in sites])
    refuse_lost(modules, job.run.weights(part))
    return modules.to(next(backbone.parameters()).device).eval()


def _answered(
    job: MergeJob,
    sites: Sequence[Site],
    parts: Mapping[str, KitModules],
    each: Resolved,
    resolved: Resolved,
    backbone: MoEBackbone,
    registry: Registry,
    on_progress: OnProgress,
) -> Passed:
    """The validation split, answered by each site as it answers, then by the merged models."""
    first = sites[0].run
    recipe = first.recipe()
    predictors = {
        f"{site.name} ({number})": load_predictor(
            site.run,
            each.kit,
            backbone=backbone,
            registry=registry,
            with_baseline=False,
            precision="fp32",
            model=kept_model(site.run),
        )
        for number, site in enumerate(sites, start=1)
    }
    predictors[MERGED] = Predictor(
        backbone=backbone,
        kit=parts["kit"],
        baseline=parts["baseline"],
        mean="beside",
        task=resolved.task,
        arithmetic="fp32",
        views=view_numbers(recipe.scoring_views, recipe.scoring_order),
        top_k=first.read()["request"]["top_k"],
        tokens=routing_of(recipe, parts["kit"], registry, width=backbone.width),
    )
    context = resolved.context(
        classes=job.dataset.classes,
        frame=first.frame(),
        kinds=parts["kit"].kinds,
        words=job.dataset.words,
    )
    passed = pass_over(
        job.dataset.split("val"),
        Beside(predictors),
        preprocess_of(first, backbone),
        task=resolved.task,
        context=context,
        models=len(sites) + 3,
        batch_size=job.batch_size,
        on_progress=functools.partial(on_progress, "scoring, val"),
    )
    check_passed(passed, job.dataset)
    return passed


def _check(resolved: Resolved, names: Sequence[str], tallies: Sequence[Any]) -> None:
    """Refuses answers of impossible values, such as no numbers.

    Raises:
        DataError: A run gave some; it is named.
    """
    for name, tally in zip(names, tallies, strict=True):
        try:
            resolved.task.judge.check((tally,))
        except DataError as error:
            raise DataError(
                f"the run {name} gave impossible answers: {error.what} ({error.whose})",
                whose=name,
                fix="leave it out",
                code="data/unfit-run",
            ) from error


def _request(job: MergeJob, sites: Sequence[Site], known: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the result: that of the first site, with other data and the sites' weights."""
    first = sites[0].run.read()["request"]
    beside = {"sites": len(sites)} if job.by == "route" else {}
    return {
        **{name: value for name, value in first.items() if name != "grouped"},
        "changes": {"experts": [], "gate": None, **(first.get("changes") or {}), **beside},
        "dataset": job.dataset.name,
        "classes": list(job.dataset.classes),
        "samples": len(job.dataset.samples),
        "split_note": job.dataset.split_note,
        "data": dict(known),
        "merged": {
            "by": job.by,
            "weigh": job.weigh,
            "sites": [{"weight": site.share, **site.hashes} for site in sites],
        },
    }


def _notes(job: MergeJob, sites: Sequence[Site], names: Sequence[str]) -> list[str]:
    """What a reader must know of the sites: other training, other classes, what is not known."""
    held = count_classes(job.dataset.split("val"), job.dataset.classes)
    told = []
    for name, site in zip(names, sites, strict=True):
        told += [f"{name}: {text}" for text in site.run.unsealed()]
        if site.trained_otherwise:
            fields = ", ".join(site.trained_otherwise)
            told.append(f"{name} was trained otherwise than {names[0]}: {fields}")
        counts = site.class_counts
        if len(counts) == len(held):  # names of two classes may differ
            learned = dict(zip(held, counts.values(), strict=True))
            _, shifts = shifts_in_words({"train": learned, "val": held}, "val")
            told += [f"{name}: {text}" for text in shifts]
    told.append(
        "that no site has trained on items of the validation split cannot be seen from what sites "
        "send: it is yours to know"
    )
    return told
