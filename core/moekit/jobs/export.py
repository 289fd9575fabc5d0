"""Exporting a run: the call behind `moekit export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moekit.errors import UsageError
from moekit.export.export import ExportJob, export
from moekit.export.record import check_replaceable
from moekit.files import check_writable
from moekit.jobs.data import data_of_run
from moekit.jobs.recorded import recorded_command
from moekit.jobs.session import OPENING, READING, backbone_of_run, one_step
from moekit.occupied import occupied
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run, resolve
from moekit.runs.choices import kept_model
from moekit.runs.run import Run
from moekit.runtime.load import load_predictor, preprocess_of


@names_owner
def export_run(
    kit: str,
    *,
    run_folder: Path,
    data: str,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
    format_: str = "openvino",
    int8: bool = False,
    max_loss: float | None = None,
    allow_slower: bool = False,
    out: Path | None = None,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    use: str | None = None,
    split: bool = False,
    prefix: Path | None = None,
    command: str = "",
) -> tuple[dict[str, Any], Path]:
    """Exports a run; returns the content of export.json and the folder.

    Args:
        kit: Name of the kit.
        run_folder: The run.
        data: The data that it was adapted on.
        on_progress: Called with a description, what is done and the total.
        format_: onnx or openvino.
        int8: Whether to quantise.
        max_loss: Greatest loss by quantisation.
        allow_slower: Whether int8 may be no faster than float32 on this machine.
        out: The folder to make; RUN/export/FORMAT[-int8][-split] if None.
        batch_size: Images a forward pass.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        use: Which model is exported: specialist, baseline or best; the kept one if None.
        split: Whether the blocks that kits share are a graph of their own.
        prefix: Folder of a split export whose prefix is used; None for one of its own. With it the
            export is split.
        command: The command line, for the record.

    Raises:
        MoekitError: See `moekit.export.export.export`.
    """
    if max_loss is not None and not int8:
        raise UsageError(
            "there is nothing to lose without --int8",
            whose="--max-loss",
            fix="give --int8 too, or leave it out",
            code="usage/option-conflict",
        )
    if allow_slower and not int8:
        raise UsageError(
            "there is nothing to be slower without --int8",
            whose="--allow-slower",
            fix="give --int8 too, or leave it out",
            code="usage/option-conflict",
        )
    run = Run(run_folder)
    record = run.read_finished()
    model = kept_model(run, use)
    split = split or prefix is not None
    name = format_ + "-int8" * int8 + "-split" * split
    folder = out or run_folder / "export" / name
    check_replaceable(folder)
    check_writable(folder.parent)
    with occupied(folder):
        registry = Registry()
        spec = kit_of_run(registry, kit, record)
        with one_step(READING, on_progress):
            dataset = data_of_run(registry, spec, data, run)
        job = ExportJob(
            run=run,
            dataset=dataset,
            out=folder,
            format="onnx" if format_ == "onnx" else "openvino",
            int8=int8,
            max_loss=max_loss,
            allow_slower=allow_slower,
            batch_size=batch_size,
            use=model,
            split=split,
            prefix=prefix,
            command=recorded_command(
                command, spec, data=data, paths=(run_folder, out, prefix, weights, form)
            ),
        )
        with one_step(OPENING, on_progress):
            backbone = backbone_of_run(run, device="cpu", weights=weights, form=form)
            predictor = load_predictor(
                run,
                spec,
                backbone=backbone,
                registry=registry,
                with_baseline=False,
                precision="fp32",
                model=model,
            )
        made = export(
            job,
            resolved=resolve(spec, registry, frames=run.frames()),
            predictor=predictor,
            preprocess=preprocess_of(run, backbone),
            on_progress=on_progress,
        )
    return made, folder
