"""Merging runs of several sites: the call behind `moekit merge`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moekit.errors import DataError
from moekit.files import check_writable
from moekit.jobs.recorded import recorded_command
from moekit.jobs.session import READING, backbone_of_run, load_licensed, one_step
from moekit.occupied import alone_in
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run, prepared
from moekit.runs.run import Run
from moekit.training.merge.merge import MergeJob, merge
from moekit.training.merge.sites import How, Weigh


@names_owner
@alone_in("out")
def merge_runs(
    run_folders: Sequence[Path],
    *,
    data: str,
    out: Path,
    on_progress: Callable[[str, int, int], None],
    by: How = "average",
    weigh: Weigh = "images",
    leave_out: bool = False,
    anyway: bool = False,
    rule: str | None = None,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
    data_licence: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Merges runs of one kit; returns the content of merge.json, with `record` if it was kept.

    Args:
        run_folders: What the sites sent: folders with run.json, kit.safetensors and
            baseline.safetensors. The first one decides what the others must fit.
        data: `LOADER` or `LOADER=PATH`; of it the validation split is read, dealt by the seed of
            the first run.
        out: The folder of the merged run.
        on_progress: Called with a description, what is done and the total.
        by: Whether weights are averaged, or all specialists lie side by side.
        weigh: Whether a site counts by its images, or all alike.
        leave_out: Whether runs that do not fit are left out; else they are refused.
        anyway: Whether a merged run is kept that is not accepted.
        rule: How the point is chosen on the validation split; the kit's own if None.
        batch_size: Images a forward pass.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.
        data_licence: The licence of the data, in place of what loader and folder say.
        command: The command line, for the record.

    Raises:
        MoekitError: See `moekit.training.merge.merge.merge`.
    """
    check_writable(out)
    registry = Registry()
    runs = [Run(folder) for folder in run_folders]
    first = _first_finished(runs)
    record = first.read_finished()
    seed = record["request"]["seed"]
    spec = kit_of_run(registry, record["request"]["kit"], record)
    with one_step(READING, on_progress):
        dataset = load_licensed(registry, data, seed=seed, licence=data_licence)
    backbone = backbone_of_run(first, device=device, weights=weights, form=form)
    return merge(
        MergeJob(
            runs=runs,
            dataset=prepared(spec, dataset, seed=seed),
            run=Run(out),
            by=by,
            weigh=weigh,
            leave_out=leave_out,
            anyway=anyway,
            rule=rule or "",
            batch_size=batch_size,
            command=recorded_command(
                command, spec, data=data, paths=(*run_folders, out, weights, form)
            ),
        ),
        backbone=backbone,
        registry=registry,
        on_progress=on_progress,
    )


def _first_finished(runs: Sequence[Run]) -> Run:
    """The first run that can be read.

    Raises:
        DataError: None can.
    """
    fault: DataError | None = None
    for run in runs:
        try:
            run.read_finished()
        except DataError as error:
            fault = fault or error
        else:
            return run
    raise fault or DataError(
        "no run is named",
        whose="RUN",
        fix="name the folders of several sites' runs",
        code="data/no-run",
    )
