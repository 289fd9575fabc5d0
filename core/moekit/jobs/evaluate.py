"""Evaluating a run by its folder: the call behind `moekit evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.evaluation.given import evaluate_given
from moekit.files import check_writable
from moekit.jobs.data import data_of_run
from moekit.jobs.recorded import recorded_command
from moekit.jobs.session import READING, backbone_of_run, one_step
from moekit.occupied import alone_in
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run
from moekit.runs.run import Run


@names_owner
@alone_in("run_folder", make=False)
def evaluate_run(
    kit: str,
    *,
    data: str,
    run_folder: Path,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
    split: str = "test",
    rule: str | None = None,
    precision: str | None = None,
    seed: int = 0,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
    given: Path | None = None,
    metrics: Sequence[str] = (),
    use: str | None = None,
    data_licence: str | None = None,
    duplicates: str | None = None,
    near_duplicates: bool = True,
    command: str = "",
) -> dict[str, Any]:
    """Evaluates a run; returns the content of result.json.

    Args:
        kit: Name of the kit.
        data: `LOADER` or `LOADER=PATH`.
        run_folder: The run.
        on_progress: Called with a description, what is done and the total.
        split: The split to answer.
        rule: How the point is chosen on validation data, which is then kept with the run; the kept
            rule if None.
        precision: fp32, bf16, or that of the adaptation if None.
        seed: Of the bootstrap.
        batch_size: Images a forward pass.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.
        given: Answers of a peer, in the task's own format, which are judged in place of the run's;
            or the folder of another run, whose stored answers are.
        metrics: Names of metrics that are reported after the kit's and the run's own.
        use: Which model answers from now on: specialist, baseline or best; the kept one if None.
        data_licence: The licence of the data, in place of what loader and folder say.
        duplicates: What happens to equal files in two splits: `keep`, `drop` or `refuse`; as the
            run was made if None.
        near_duplicates: Whether near-duplicates are looked for; if not, the result says so.
        command: The command line, for the record.

    Raises:
        MoekitError: See `moekit.evaluation.evaluate.evaluate`.
    """
    run = Run(run_folder)
    record = run.read_finished()
    check_writable(run.folder, run.folder / ("overlays" if given is None else "given"))
    registry = Registry()
    spec = kit_of_run(registry, kit, record)
    with one_step(READING, on_progress):
        dataset = data_of_run(
            registry, spec, data, run, licence=data_licence, duplicates=duplicates
        )
    job = EvaluateJob(
        kit=spec,
        dataset=dataset,
        run=run,
        split=split,
        rule=rule or "",
        batch_size=batch_size,
        seed=seed,
        precision=precision,
        metrics=metrics,
        use=use,
        duplicates=duplicates,
        near_duplicates=near_duplicates,
        command=recorded_command(
            command, spec, data=data, paths=(run_folder, weights, form, given)
        ),
    )
    if given is not None:
        return evaluate_given(job, given, registry=registry)
    backbone = backbone_of_run(run, device=device, weights=weights, form=form)
    return evaluate(job, backbone=backbone, registry=registry, on_progress=on_progress)
