"""Answering images of which nobody says the kit: the call behind `moekit predict auto`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moekit.data.content import Contents
from moekit.data.images import read_image
from moekit.data.pictures import save_jpeg
from moekit.errors import ImageError, UsageError
from moekit.files import check_writable, finite
from moekit.jobs.session import backbone_of
from moekit.jobs.trained import check_reads_images
from moekit.names import fitting_name
from moekit.occupied import alone_in
from moekit.plugins.faults import names_owner
from moekit.plugins.resolve import kit_of_run
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.predict import write_csv
from moekit.runs.domain import DOMAIN, has_domain
from moekit.runs.journal import Journal, read_journal
from moekit.runs.run import Run
from moekit.runtime.answerer import UNREADABLE
from moekit.runtime.runtime import Runtime
from moekit.runtime.select.answer import Selected

JOURNAL = "selected.jsonl"
COLUMNS = ("file", "kit", "distance", "nearest", "verdict", "overlay", "error")
FOREIGN = "foreign"
"""The verdict on an image that belongs to none of the kits."""
Row = dict[str, Any]


@names_owner
@alone_in("out")
def predict_selected(
    inputs: Sequence[Path],
    *,
    runs: Mapping[str, Path],
    out: Path,
    on_progress: Callable[[str, int, int], None],
    on_note: Callable[[str], None] = lambda _: None,
    batch_size: int = 16,
    weights: str = "auto",
    form: str = "auto",
    device: str = "auto",
) -> dict[str, Any]:
    """Sends each image to the run that it belongs to, or to none; returns what `--json` prints.

    Writes OUT/predictions.csv with the kit of each image, OUT/KIT/predictions.csv with each kit's
    own columns, and OUT/overlays. What an interrupted call has done is not done again.

    Args:
        inputs: Files and folders.
        runs: Run folders by the names that the kits are called; all of one backbone.
        out: The output folder.
        on_progress: Called with a description, the images done and their total.
        on_note: Called with sentences, such as which run cannot be chosen.
        batch_size: Images a forward pass.
        weights: Of the backbone.
        form: Sparse form of the backbone.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        DataError: There is no image, or a run is not finished or damaged.
        UsageError: A kit answers no single images, no run can be chosen, or the folder holds
            predictions that were made otherwise.
        WeightsError: A run was trained on another backbone.
    """
    began = time.perf_counter()
    found = collect_inputs(inputs)
    check_writable(out, out / "overlays")
    opened = {name: Run(folder) for name, folder in runs.items()}
    known = {name: run for name, run in opened.items() if has_domain(run)}
    notes = [
        f"{name} cannot be chosen: its run does not say what its pictures look like"
        for name in opened
        if name not in known
    ]
    for note in notes:
        on_note(note)
    runtime = _runtime(known, weights=weights, form=form, device=device)
    depends = {
        "auto": {
            name: {
                "kit_sha256": run.read()["weights"]["kit_sha256"],
                "domain_sha256": run.read()[DOMAIN]["sha256"],
                "backbone_sha256": run.read()["request"]["backbone_sha256"],
                "point": run.read().get("point"),
            }
            for name, run in known.items()
        }
    }
    rows = _rows(found, runtime, depends, out, batch_size, on_progress)
    write_csv(out / "predictions.csv", [_whole(row, COLUMNS) for row in rows], COLUMNS)
    for name in known:
        mine = [{"file": row["file"], **row["values"]} for row in rows if row["kit"] == name]
        columns = list(dict.fromkeys(column for row in mine for column in row))
        if mine:
            (out / name).mkdir(parents=True, exist_ok=True)
            write_csv(
                out / name / "predictions.csv", [_whole(row, columns) for row in mine], columns
            )
    counts = {name: sum(row["kit"] == name for row in rows) for name in known}
    return {
        "n": len(rows),
        "chosen": counts,
        "foreign": sum(row["verdict"] == FOREIGN for row in rows),
        "unreadable": sum(row["verdict"] == UNREADABLE for row in rows),
        "seconds": time.perf_counter() - began,
        "runs": depends["auto"],
        "notes": notes,
        "told": [f"{name}: {text}" for name, run in opened.items() for text in run.unsealed()],
        "predictions": rows,
    }


def _runtime(runs: Mapping[str, Run], *, weights: str, form: str, device: str) -> Runtime:
    if not runs:
        raise UsageError(
            "none of the runs says what its pictures look like",
            whose="--run",
            fix="adapt the kits again with this version, or name the kit: moekit predict KIT",
            code="usage/no-domain",
        )
    folders = {name: run.folder for name, run in runs.items()}
    backbone = backbone_of(folders, device=device, weights=weights, form=form)
    runtime = Runtime(backbone)
    for name, run in runs.items():
        record = run.read()
        spec = kit_of_run(runtime.registry, record["request"]["kit"], record)
        check_reads_images(spec, run)
        runtime.load(run, name=name)
    return runtime


def _rows(
    inputs: Sequence[tuple[str, Path]],
    runtime: Runtime,
    depends: Mapping[str, Any],
    out: Path,
    batch_size: int,
    on_progress: Callable[[str, int, int], None],
) -> list[Row]:
    contents = Contents()
    earlier = {row["file"]: row for row in read_journal(out / JOURNAL, depends) if "values" in row}
    hashes = {name: contents.of(path) for name, path in inputs}
    done = {
        name: row
        for name, row in earlier.items()
        if hashes.get(name) and row.get("content") == hashes[name]
    }
    waiting = [(name, path) for name, path in inputs if name not in done]
    with Journal(out / JOURNAL, depends) as file:
        for first in range(0, len(waiting), batch_size):
            part = waiting[first : first + batch_size]
            select = functools.partial(runtime.select, batch_size=batch_size)
            made = [
                {**_row(name, path, one, runtime, out), "content": hashes[name]}
                for (name, path), one in zip(part, _selected(select, part), strict=True)
            ]
            file.append(made)
            done |= {row["file"]: row for row in made}
            on_progress("images", len(done), len(inputs))
    return [done[name] for name, _ in inputs]


def _selected(
    select: Callable[[Sequence[Path]], list[Selected]], part: Sequence[tuple[str, Path]]
) -> Iterator[Selected | ImageError]:
    """The kits of some images; if one cannot be read they are asked one by one."""
    try:
        yield from select([path for _, path in part])
    except ImageError as error:
        if len(part) == 1:
            yield error
            return
        for one in part:
            yield from _selected(select, [one])


def _row(name: str, path: Path, one: Selected | ImageError, runtime: Runtime, out: Path) -> Row:
    row: Row = dict.fromkeys(COLUMNS, "") | {"file": name, "values": {}}
    if isinstance(one, ImageError):
        return {**row, "verdict": UNREADABLE, "error": one.what}
    choice = one.choice
    row |= {"distance": round(choice.score, 4), "nearest": choice.nearest}
    if choice.kit is None:
        return {**row, "verdict": FOREIGN}
    row["kit"] = choice.kit
    if one.answer is None:
        return {**row, "error": one.error.what if one.error is not None else "it was not answered"}
    overlay = runtime.shown(read_image(path), one.answer, kit=choice.kit).overlay
    if overlay is not None:
        row["overlay"] = f"overlays/{fitting_name(out / 'overlays', name, '.jpg')}"
        save_jpeg(out / row["overlay"], overlay)
    values = finite({**one.answer.as_row(), "verdict": one.answer.verdict})
    return {**row, "verdict": one.answer.verdict, "values": values}


def _whole(row: Row, columns: Sequence[str]) -> Row:
    """A row with every column, those that it lacks empty."""
    return {**dict.fromkeys(columns, ""), **row}
