"""What the sites sent: their runs, and whether they fit each other.

A site sends run.json and the weights of its kit and baseline, nothing of its images. What is not
read the same way, or does not compute on the same backbone, cannot be merged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from moekit.backbone.model import MoEBackbone
from moekit.contract.kits import KitSpec
from moekit.errors import DataError, MoekitError, UsageError, WeightsError
from moekit.files import to_json
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import FIRST_TASK, Resolved, kit_of_run, resolve
from moekit.runs.run import Run
from moekit.runtime.kit import KitModules
from moekit.runtime.tokens import routes_tokens
from moekit.training.counts import parameter_count

How = Literal["average", "route"]
Weigh = Literal["images", "equal"]
PARTS = ("kit", "baseline")
_READS = (
    *("bits", "scoring_views", "scoring_order", "head_members"),
    *("token_share", "token_gate", "token_window", "token_block"),
)
"""What of a recipe decides how pictures are read and answered; the rest is how it was trained."""
_ALIKE = {
    "kit": "kit",
    "task": "task",
    "classes": "list of classes",
    "frame": "image size",
    "tiling": "size of windows",
    "changes": "experts or gate",
    "frames": "number of frames",
    "negatives_only": "kind of data (good images only, or all)",
    "backbone_sha256": "backbone",
    "computes": "sparse form of the backbone",
    "top_k": "top_k",
}
_START = {"seed": "seed", "started_from": "run that it began with"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """A run that a site sent.

    Attributes:
        name: What it is called: the name of its folder.
        run: The run.
        images: Images that it was trained on.
        parts: Its kit and its baseline, loaded.
        share: Its share in the sum of all sites' weights.
        trained_otherwise: Fields of the recipe that differ from those of the first run.
    """

    name: str
    run: Run
    images: int
    parts: Mapping[str, KitModules]
    share: float = 1.0
    trained_otherwise: tuple[str, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of its weights."""
        weights = self.run.read()["weights"]
        return {f"{part}_sha256": weights[f"{part}_sha256"] for part in PARTS}

    @property
    def class_counts(self) -> Mapping[str, int]:
        """Items of each class that it learned from; empty if that is not known."""
        return (self.run.read().get("class_counts") or {}).get("train") or {}

    def as_json(self, name: str) -> dict[str, Any]:
        """What the merged run records of it, which is called by a name."""
        record = self.run.read()
        request = record["request"]
        files = [self.run.record, *(self.run.weights(part) for part in PARTS)]
        parameters = sum(map(parameter_count, self.parts.values()))
        return {
            "name": name,
            "dataset": request.get("dataset", ""),
            "data": request.get("data"),
            "images": self.images,
            "weight": self.share,
            "seed": request.get("seed"),
            "recipe": request.get("recipe"),
            "trained_otherwise": list(self.trained_otherwise),
            "weights": self.hashes,
            "class_counts": dict(self.class_counts),
            "bytes": sum(path.stat().st_size for path in files),
            "parameters": parameters,
            "share_of_backbone": parameters / max(1, record["parameters"]["backbone"]),
            "created": record.get("created"),
        }


def read_sites(
    runs: Sequence[Run],
    *,
    backbone: MoEBackbone,
    registry: Registry,
    by: How,
    weigh: Weigh,
    leave_out: bool,
) -> tuple[list[Site], Resolved, list[dict[str, str]]]:
    """Loads the runs that fit the first one.

    Args:
        runs: The sites' runs.
        backbone: What they must have been trained on.
        registry: The installed plugins.
        by: How they are to be merged.
        weigh: Whether a site counts by its images, or all alike.
        leave_out: Whether runs that do not fit are left out; else they are refused.

    Returns:
        The sites, the kit as each was made with it, and `name` and `why` of what was left out.

    Raises:
        DataError: Runs do not fit, or fewer than two are left.
        UsageError: One run is named twice, or the kit cannot be merged in this way.
    """
    if len({run.folder.resolve() for run in runs}) < max(2, len(runs)):
        raise UsageError(
            "two runs at least are merged, each named once",
            whose="RUN",
            fix="name the folders of several sites' runs",
            code="usage/one-run",
        )
    sites: list[Site] = []
    faults: list[dict[str, str]] = []
    resolved: Resolved | None = None
    for run in runs:
        try:
            if resolved is None:
                resolved = _kit_of(run, registry, by)
            sites.append(_site(run, sites, resolved, backbone, registry, by))
        except UsageError:
            raise
        except MoekitError as error:
            faults.append({"name": run.folder.name, "why": error.what})
            resolved = resolved if sites else None
    if resolved is None or len(sites) < 2 or (faults and not leave_out):
        told = "; ".join(f"{one['name']}: {one['why']}" for one in faults)
        kept = "" if len(sites) > 1 else "name two runs at least that fit each other"
        raise DataError(
            f"{len(faults)} of {len(runs)} runs cannot be merged with the others: {told}",
            whose=", ".join(str(run.folder) for run in runs),
            fix=kept or "mend or leave out these runs, or pass --leave-out-unfit",
            code="data/unfit-run",
        )
    total = sum(site.images for site in sites)
    shares = [site.images / total if weigh == "images" else 1 / len(sites) for site in sites]
    weighed = [
        dataclasses.replace(site, share=share) for site, share in zip(sites, shares, strict=True)
    ]
    return weighed, resolved, faults


def _kit_of(run: Run, registry: Registry, by: How) -> Resolved:
    """The kit of the first run that can be used.

    Raises:
        UsageError: It cannot be merged in this way.
    """
    record = run.read_finished()
    kit = kit_of_run(registry, record["request"]["kit"], record)
    if by == "average" and kit.fit is not None:
        raise UsageError(
            "the kit is trained in its own way, so the mean of its weights means nothing",
            whose=f"kit {kit.name}",
            fix="merge it with --by route",
            code="usage/not-for-kit",
        )
    return resolve(kit, registry, frames=run.frames())


def _site(
    run: Run,
    known: Sequence[Site],
    resolved: Resolved,
    backbone: MoEBackbone,
    registry: Registry,
    by: How,
) -> Site:
    """A run, loaded.

    Raises:
        DataError: It does not fit the runs that are known, or is one of them.
        WeightsError: Its weights are damaged or of another backbone.
    """
    record = run.read_finished()
    _check_record(run, record, resolved.kit, backbone, registry)
    others: list[str] = []
    if known:
        _check_alike(run, known[0].run, by)
        others = _other_training(run, known[0].run)
    parts = {}
    for part, spec in {"kit": resolved.kit, "baseline": resolved.kit.bare}.items():
        parts[part] = KitModules(
            spec=spec,
            registry=registry,
            backbone=backbone,
            classes=len(run.classes()),
            frames=run.frames(),
            members=run.recipe().head_members,
        )
        run.load_weights(part, parts[part], expected=record["weights"][f"{part}_sha256"])
        parts[part].eval()
    for site in known:
        if site.run.read_finished()["weights"]["kit_sha256"] == record["weights"]["kit_sha256"]:
            raise _unfit(run, f"it holds the same weights as {site.name}, which would count twice")
    return Site(
        name=run.folder.name,
        run=run,
        images=record["images"]["train"],
        parts=parts,
        trained_otherwise=tuple(others),
    )


def _check_record(
    run: Run, record: Mapping[str, Any], kit: KitSpec, backbone: MoEBackbone, registry: Registry
) -> None:
    request, recipe = record["request"], run.recipe()
    images = (record.get("images") or {}).get("train")
    if not isinstance(images, int) or images < 1:
        raise _unfit(run, "its run.json does not say on how many images it was trained")
    if request["backbone_sha256"] != backbone.provenance.sha256:
        raise WeightsError(
            f"it was trained on another backbone ({record['backbone']['origin']})",
            whose=str(run.folder),
            fix="name the weights that it was trained on with --weights",
            code="weights/other-weights",
        )
    computes = request.get("computes", backbone.provenance.sha256)
    if computes != backbone.computes_at(request["top_k"]):
        raise WeightsError(
            f"it was trained at top_k {request['top_k']} with another sparse form",
            whose=str(run.folder),
            fix="name the form that it was trained with with --form",
            code="weights/other-form",
        )
    if request.get("changes", {}).get("sites", 1) > 1:
        raise _unfit(run, "it already holds the specialists of several sites side by side")
    if routes_tokens(recipe, registry) and registry.token_gate(recipe.token_gate).learned:
        raise _unfit(run, "its token gate was trained in the run itself, so it is another one")
    if request["kit"].rpartition("/")[2] != kit.name:
        raise _unfit(run, f"it was made by the kit {request['kit']}, not {kit.name}")


def _check_alike(run: Run, first: Run, by: How) -> None:
    own, other = _facts(run), _facts(first)
    names = {**_ALIKE, **dict.fromkeys(_READS, ""), **(_START if by == "average" else {})}
    differ = [
        f"{words or name.replace('_', ' ')} ({_short(own[name])}, not {_short(other[name])})"
        for name, words in names.items()
        if own[name] != other[name]
    ]
    if differ:
        raise _unfit(
            run,
            f"it has another {', '.join(differ)} than {first.folder.name}"
            + _advice(own, other, by),
        )


def _advice(own: Mapping[str, Any], other: Mapping[str, Any], by: How) -> str:
    started = all(own[name] == other[name] for name in _START)
    if by == "route" or started:
        return ""
    return (
        "; weights have a mean only if they began alike: adapt with one --seed or --from, or "
        "merge with --by route"
    )


def _facts(run: Run) -> dict[str, Any]:
    request = {"task": FIRST_TASK, "seed": 0, "started_from": None, **run.read()["request"]}
    recipe = run.recipe()
    known = {name: request.get(name) for name in (*_ALIKE, *_START)}
    known |= {name: getattr(recipe, name) for name in _READS}
    known["frame"] = dataclasses.asdict(run.frame())
    known["changes"] = request.get("changes") or {"experts": [], "gate": None}
    known["frames"], known["classes"] = run.frames(), list(run.classes())
    known["negatives_only"] = bool(request.get("negatives_only"))
    if known["started_from"] is not None:  # both began with the same weights, whatever the seed
        known["seed"] = None
    return known


def _other_training(run: Run, first: Run) -> list[str]:
    own, other = run.recipe().model_dump(), first.recipe().model_dump()
    return [name for name in own if own[name] != other[name]]


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value if len(value) < 64 else value[:8]
    text = to_json(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def _unfit(run: Run, why: str) -> DataError:
    return DataError(
        why,
        whose=str(run.folder),
        fix="leave it out, or make it again as the others",
        code="data/unfit-run",
    )
