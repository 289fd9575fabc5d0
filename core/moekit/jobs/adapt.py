"""Adapting a kit by its name: the call behind `moekit adapt`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from lightning.fabric import Fabric

from moekit.backbone.sources import DEFAULT_ARCHITECTURE
from moekit.contract.recipe import Recipe
from moekit.data.duplicates import duplicates as deciding
from moekit.data.duplicates import settle_duplicates
from moekit.errors import UsageError
from moekit.files import check_writable
from moekit.jobs.begun import Begun, with_more
from moekit.jobs.recorded import recorded_command
from moekit.jobs.replacing import AGAINST, ReplaceJob, replaces
from moekit.jobs.session import READING, load_licensed, one_step, open_backbone, quiet_libraries
from moekit.occupied import alone_in
from moekit.outputs import RUN, check_vacant
from moekit.plugins.changes import KitChanges
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_for_data, resolve
from moekit.runs.pretrained import Pretrained
from moekit.runs.run import Run
from moekit.runtime.device import pick_arithmetic, pick_device
from moekit.training.adapt import AdaptJob, adapt
from moekit.training.budget import Budget, Budgeting, within_budget
from moekit.training.grouped import Grouping
from moekit.training.grouped import group_near_duplicates as group

_GIB = 2**30


@names_owner
@alone_in("run_folder")
def adapt_kit(
    kit: str,
    *,
    data: str,
    run_folder: Path,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
    on_epoch: Callable[[str, Mapping[str, float]], None] = lambda *_: None,
    on_task: Callable[[str], None] = lambda _: None,
    on_tile: Callable[[int], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
    task: str | None = None,
    seed: int = 0,
    start: Path | None = None,
    resume: bool = False,
    experts: Sequence[str] = (),
    gate: str | None = None,
    placement: Literal["trunk", "side", "none"] | None = None,
    metrics: Sequence[str] = (),
    recipe: Mapping[str, Any] | None = None,
    budget: Budget = 1.0,
    top_k: int | None = None,
    architecture: str | None = None,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
    devices: int = 1,
    cache_gib: float = 16.0,
    rule: str | None = None,
    data_licence: str | None = None,
    duplicates: str | None = None,
    group_near_duplicates: bool = False,
    also_data: Sequence[str] = (),
    command: str = "",
) -> dict[str, Any] | None:
    """Adapts a kit; returns the run's record, or None in all processes but the first.

    Args:
        kit: Name of the kit.
        data: `LOADER` or `LOADER=PATH`.
        run_folder: The folder to make.
        on_progress: Called with a description, what is done and the total.
        on_epoch: Called with the part and the epoch's figures.
        on_task: Called with the name of the task, once it is known.
        on_tile: Called with the longer side of windows if large pictures are cut into them.
        on_note: Called with each sentence on what was guessed of the data.
        task: The kit's task; its first one if None.
        seed: Decides everything that is drawn.
        start: The folder of a finished run, or of a pretraining, to begin with.
        resume: Whether to go on with an interrupted run.
        experts: Registered experts that are added to the kit's own.
        gate: A registered gate in place of the kit's.
        placement: Where the specialists act, see `KitSpec.placement`; none leaves them out. That of
            the kit if None.
        metrics: Names of metrics that evaluations report after the kit's own.
        recipe: Fields of the kit's recipe that are changed. A number of epochs is taken as it is:
            `least_steps` does not raise it.
        budget: Greatest share of the dense backbone's arithmetic, above 0; `auto` takes the fastest
            setting that keeps the headline on validation data, see `moekit.training.budget`. 1
            computes all tokens, unless the recipe says otherwise.
        top_k: Generic experts a token has.
        architecture: A timm vision transformer; the default backbone if None.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.
        devices: Processes to train with.
        cache_gib: Most disk space for frozen activations.
        rule: How the point is chosen on validation data, now and later; the kit's own if None.
        data_licence: The licence of the data, in place of what loader and folder say.
        duplicates: What happens to equal files in two splits: `keep`, `drop` or `refuse`; as the
            loader does if None.
        group_near_duplicates: Whether near-duplicates become groups before the split is dealt, see
            `moekit.training.grouped`. If the data bring their split nothing is moved.
        also_data: Further data, each as `LOADER` or `LOADER=PATH`. What `data` says of an image
            counts, in the split that these have it in.
        command: The command line, for the record.

    If corrections are learned from, beginning with a run, what is not asked for is as that run was
    made, and a paired test on what is held out decides whether the new run replaces it; see
    `moekit.jobs.replacing`.

    Raises:
        MoekitError: See `moekit.training.adapt.adapt`.
    """
    quiet_libraries()
    if not Run(run_folder).record.exists():
        check_vacant(run_folder, RUN)
    check_writable(run_folder, run_folder / "checkpoints")
    registry = Registry()
    changes = KitChanges(experts=experts, gate=gate, placement=placement).full(registry)
    with deciding(duplicates), one_step(READING, on_progress):
        dataset = load_licensed(registry, data, seed=seed, licence=data_licence)
        corrected = frozenset(one.id for one in dataset.samples) if dataset.ready else frozenset()
        begun = None
        if start is not None and dataset.ready:
            begun = Begun.of(Run(start))
            task, top_k, rule = task or begun.task, top_k or begun.top_k, rule or begun.rule
            architecture = architecture or begun.architecture
            if not experts and gate is None:
                changes = begun.changes
        if also_data:
            dataset = with_more(registry, dataset, also_data, kit=kit, task=task, seed=seed)
        if begun is not None:
            dataset = begun.dealt(dataset)
        spec, dataset = kit_for_data(registry, kit, dataset, task=task, changes=changes, seed=seed)
    dataset = settle_duplicates(dataset, duplicates)
    metrics = tuple(map(registry.metric_name, metrics))
    resolve(spec, registry, frames=dataset.frames, added=metrics)
    on_task(spec.task)
    known = spec.recipe if begun is None else begun.recipe
    chosen = chosen_recipe(known, recipe or {}, registry, budget=budget)
    if chosen.tile is not None:
        on_tile(chosen.tile)
    fabric = open_fabric(device, devices, chosen.precision)
    backbone = open_backbone(
        device=str(fabric.device),
        weights=weights,
        form=form,
        architecture=architecture or DEFAULT_ARCHITECTURE,
    )
    run, grouped = Run(run_folder), None
    if group_near_duplicates:
        dataset, grouped = group(
            Grouping(
                kit=spec,
                dataset=dataset,
                run=run,
                recipe=chosen,
                backbone=backbone,
                registry=registry,
                fabric=fabric,
                top_k=top_k,
                cache_limit=int(cache_gib * _GIB),
                on_progress=on_progress,
            )
        )
        for note in grouped["in_words"]:
            on_note(note)
    within = None
    if budget != 1:
        chosen, within = within_budget(
            Budgeting(
                budget=budget,
                kit=spec,
                dataset=dataset,
                run=run,
                recipe=chosen,
                backbone=backbone,
                registry=registry,
                fabric=fabric,
                top_k=top_k,
                rule=rule or "",
                seed=seed,
                cache_limit=int(cache_gib * _GIB),
                on_progress=on_progress,
            )
        )
        for note in within.get("in_words", ()):
            on_note(note)
    further = {
        "grouped": grouped,
        "metrics": list(metrics),
        "duplicates": duplicates,
        "also_data": len(also_data),
        "budget": within,
    }
    record = adapt(
        AdaptJob(
            kit=spec,
            dataset=dataset,
            run=run,
            seed=seed,
            recipe=chosen,
            resume=resume,
            start=None if start is None else _begun_with(start),
            changes=changes,
            kit_name=registry.full_name("kits", kit),
            cache_limit=int(cache_gib * _GIB),
            top_k=top_k,
            rule=rule or "",
            further={name: value for name, value in further.items() if value},
            command=recorded_command(
                command, spec, data=data, paths=(run_folder, start, weights, form)
            ),
        ),
        backbone=backbone,
        registry=registry,
        fabric=fabric,
        on_progress=on_progress,
        on_epoch=on_epoch,
        on_note=on_note,
    )
    if not fabric.is_global_zero:
        return None
    if begun is None or AGAINST in record:
        return record
    tested = ReplaceJob(
        old=Run(cast(Path, start)), new=run, dataset=dataset, corrected=corrected, seed=seed
    )
    replaces(tested, backbone=backbone, registry=registry, on_progress=on_progress)
    return run.read()


def _begun_with(folder: Path) -> Run | Pretrained:
    pretrained = Pretrained(folder)
    return pretrained if pretrained.is_there else Run(folder)


def chosen_recipe(
    recipe: Recipe, fields: Mapping[str, Any], registry: Registry, *, budget: Budget = 1.0
) -> Recipe:
    """The recipe with a user's changes; the token gate by its full name.

    A gate with a least score, which knows which tokens need no computing, leaves them out from
    block 0 on and merges none if block and window are not named. Who names a share or a budget and
    no gate has the common gate, block and window, and not such a gate of the kit.

    Raises:
        UsageError: Gate, block or window of tokens are named although all tokens are computed, or
            share, block or window although a budget decides them, or no gate has the name, or it
            decides by itself and a budget is to decide.
    """
    if budget != 1:
        decided = sorted({"token_share", "token_block", "token_window"} & fields.keys())
        if decided:
            raise UsageError(
                f"a budget decides the {decided[0].replace('_', ' ')}",
                whose="--budget",
                fix=f"leave out --budget or --{decided[0].replace('_', '-')}",
                code="usage/option-conflict",
            )
    named, asked = set(fields), "token_share" in fields or budget != 1
    own = registry.token_gate(recipe.token_gate).least_score is not None
    if asked and own and "token_gate" not in fields:
        common = Recipe()
        names = ("token_share", "token_gate", "token_block", "token_window")
        fields = {**{name: getattr(common, name) for name in names}, **fields}
    gate = fields.get("token_gate")
    if gate is not None and registry.token_gate(gate).least_score is not None:
        fields = {"token_block": 0, "token_window": None, **fields}
    chosen = recipe.changed(fields)
    if "token_gate" in fields:
        name = registry.full_name("token_gates", chosen.token_gate)
        registry.owner("token_gates", name)
        chosen = chosen.model_copy(update={"token_gate": name})
    if registry.token_gate(chosen.token_gate).least_score is not None:
        if budget != 1:
            raise UsageError(
                f"the token gate {chosen.token_gate} decides by itself how many are computed",
                whose="--budget",
                fix="leave out --budget, or choose another --token-gate",
                code="usage/option-conflict",
            )
        return chosen
    idle = [name for name in ("token_gate", "token_block", "token_window") if name in named]
    if idle and chosen.token_share == budget == 1:
        raise UsageError(
            f"a {idle[0].replace('_', ' ')} changes nothing if all tokens are computed",
            whose=f"--{idle[0].replace('_', '-')}",
            fix="add --token-share, such as 0.2",
            code="usage/option-conflict",
        )
    return chosen


def open_fabric(device: str, devices: int, precision: str) -> Fabric:
    """A launched Lightning Fabric for the device, the processes and the arithmetic."""
    # A specialist that no token of a process chose has no gradient in that step.
    strategy = "ddp_find_unused_parameters_true" if devices > 1 else "auto"
    picked = pick_device(device)
    arithmetic = pick_arithmetic(precision, picked)
    fabric = Fabric(
        accelerator=picked.type,
        devices=[picked.index] if picked.index is not None else devices,
        strategy=strategy,
        precision="bf16-mixed" if arithmetic == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric
