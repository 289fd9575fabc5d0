"""Answering images of one's own: a row and an overlay each, resumable."""

from __future__ import annotations

import concurrent.futures
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from moekit.contract.answers import Answer, Item
from moekit.data.pictures import LONG_SIDE, save_jpeg
from moekit.data.stream import image_batches
from moekit.files import atomic_path, atomic_text
from moekit.runs.journal import Journal, read_journal
from moekit.runtime.answerer import Answerer, Row

OnProgress = Callable[[str, int, int], None]


def predict(
    inputs: Sequence[tuple[str, Path]],
    *,
    answerer: Answerer,
    provenance: dict[str, Any],
    out: Path,
    batch_size: int,
    on_progress: OnProgress,
) -> list[Row]:
    """Answers images; what an interrupted call with the same inputs has done is not done again.

    Writes OUT/predictions.jsonl as it goes, OUT/predictions.csv at the end, OUT/overlays/ and the
    task's own files.

    Args:
        inputs: Name and path of each image, from `collect_inputs`.
        answerer: The trained run.
        provenance: What the answers depend on; a folder begun with another one is refused.
        out: The output folder.
        batch_size: Images a forward pass.
        on_progress: Called with a description, the images done and their total.

    Returns:
        One row an input, in their order.

    Raises:
        UsageError: The folder holds predictions that were made otherwise.
        StorageError: The output cannot be written.
    """
    journal = out / "predictions.jsonl"
    columns = ("file", *answerer.task.show.columns)
    done = {row["file"]: row for row in read_rows(journal, provenance, columns)}
    waiting = [(name, path) for name, path in inputs if name not in done]
    with Journal(journal, provenance) as file:
        for rows in _answer(waiting, answerer, out, batch_size):
            file.append(rows)
            done |= {row["file"]: row for row in rows}
            on_progress("images", len(done), len(inputs))
    rows = [done[name] for name, _ in inputs]
    _write_csv(out / "predictions.csv", rows, columns)
    return rows


def read_rows(journal: Path, provenance: dict[str, Any], columns: Sequence[str]) -> Iterator[Row]:
    """Yields the finished rows of a journal that have these columns; see `read_journal`.

    Raises:
        UsageError: The journal was begun with another provenance.
    """
    for values in read_journal(journal, provenance):
        if set(columns) <= set(values):
            yield values


def _answer(
    inputs: Sequence[tuple[str, Path]], answerer: Answerer, out: Path, batch_size: int
) -> Iterator[list[Row]]:
    """Yields the finished rows of one batch while the next one is computed."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pending: list[concurrent.futures.Future[Row]] = []
        for batch in image_batches(
            inputs, answerer.preprocess, batch_size=batch_size, pictures=LONG_SIDE
        ):
            rows = [answerer.unreadable(skip.id, skip.reason) for skip in batch.skipped]
            started: list[concurrent.futures.Future[Row]] = []
            pictures = {
                inputs[row][0]: one for row, one in zip(batch.rows, batch.pictures, strict=True)
            }
            for items, computed in answerer.computed(
                batch, lambda row: inputs[row][0], batch_size=batch_size
            ):
                # All of a batch at once: vectorised arithmetic rounds one item alone otherwise.
                found = pool.submit(
                    answerer.task.answering.answers,
                    computed.kit,
                    items,
                    answerer.point,
                    answerer.context,
                )
                started += [
                    pool.submit(_finish, answerer, item, pictures[item.id], found, place, out)
                    for place, item in enumerate(items)
                ]
            yield [*rows, *(future.result() for future in pending)]
            pending = started
        yield [future.result() for future in pending]


def _finish(
    answerer: Answerer,
    item: Item,
    picture: Image.Image,
    found: concurrent.futures.Future[Sequence[Answer]],
    place: int,
    out: Path,
) -> Row:
    task = answerer.task
    answer = found.result()[place]  # begun before, so that some worker is at it
    overlay = ""
    drawn = task.show.draw(picture, answer, item, answerer.context)
    if drawn is not None:
        overlay = f"overlays/{item.id}.jpg"
        save_jpeg(out / overlay, drawn)
    files = {}
    for column, (suffix, content) in task.show.files(answer).items():
        files[column] = f"{column}/{item.id}{suffix}"
        with atomic_path(out / files[column]) as temporary:
            temporary.write_bytes(content)
    return answerer.row(item.id, answer, overlay=overlay, files=files)


def _write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    with atomic_text(path) as file:
        writer = csv.DictWriter(file, fieldnames=columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: _cell(row[name]) for name in columns} for row in rows)


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
