"""Answering images of one's own: a row and an overlay each, resumable."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from moekit.contract.answers import Answer, Item
from moekit.data.content import Contents, content_of_frames
from moekit.data.pictures import LONG_SIDE, save_jpeg
from moekit.data.remarks import FLAT, Remark, RemarkTally
from moekit.data.stream import ImageBatch, image_batches, item_batches
from moekit.errors import DataError, ImageError, UsageError
from moekit.files import atomic_path, atomic_text, to_json
from moekit.names import fitting_name
from moekit.prediction.earlier import CONTENT, Earlier
from moekit.runs.journal import Journal, read_journal
from moekit.runtime.answerer import Answerer, Row, remarks_in
from moekit.tables import CsvWriter

JOURNAL = "predictions.jsonl"
OnProgress = Callable[[str, int, int], None]
Tell = Callable[[str], None]


def _silent(_text: str) -> None:
    """Tells nobody."""


def predict(
    inputs: Sequence[tuple[str, Path]],
    *,
    answerer: Answerer,
    provenance: dict[str, Any],
    out: Path,
    batch_size: int,
    on_progress: OnProgress,
    tell: Tell = _silent,
) -> list[Row]:
    """Answers images; what an interrupted call has done is not done again.

    An image is known by its content: another image of a name that was answered is answered again.

    Writes OUT/predictions.jsonl as it goes, OUT/predictions.csv at the end, OUT/overlays/ and the
    task's own files.

    Args:
        inputs: Name and path of each image, from `collect_inputs`.
        answerer: The trained run.
        provenance: What the answers depend on; a folder begun with another one is refused.
        out: The output folder.
        batch_size: Images a forward pass.
        on_progress: Called with a description, the images done and their total.
        tell: Called with sentences on what is answered again.

    Returns:
        One row an input, in their order; its field `content` is the SHA-256 of the file.

    Raises:
        UsageError: The folder holds predictions that were made otherwise.
        StorageError: The output cannot be written.
    """
    earlier, contents = _earlier(answerer, provenance, out), Contents()
    done = earlier.answers(inputs, contents, on_progress)
    for text in earlier.in_words():
        tell(text)
    waiting = [(name, path) for name, path in inputs if name not in done]
    batches = image_batches(
        waiting,
        answerer.preprocess,
        batch_size=batch_size,
        pictures=LONG_SIDE,
        contents=contents,
    )
    with Journal(out / JOURNAL, provenance) as file:
        for rows in _answer(
            *(batches, lambda row: waiting[row][0], answerer, out, batch_size, on_progress)
        ):
            file.append(rows)
            done |= {row["file"]: row for row in rows}
            on_progress("images", len(done), len(inputs))
    return _finished([name for name, _ in inputs], done, answerer, out)


def predict_items(
    items: Iterable[tuple[str, Sequence[Image.Image] | ImageError]],
    *,
    answerer: Answerer,
    provenance: dict[str, Any],
    out: Path,
    batch_size: int,
    on_progress: OnProgress,
    tell: Tell = _silent,
) -> list[Row]:
    """Answers items that a kit's reader makes of its inputs, as `predict` answers images.

    Args:
        items: Name and RGB frames of each, or why it cannot be read; see `ItemReader.items`.
        answerer: As of `predict`.
        provenance: As of `predict`.
        out: The output folder.
        batch_size: Items a forward pass.
        on_progress: Called with a description, the items that this call has answered and those that
            it has read.
        tell: As of `predict`, once all are read.

    Returns:
        One row an item, in their order.

    Raises:
        UsageError: As of `predict`; or two items share a name, or have another number of frames
            than the run was trained with.
        StorageError: The output cannot be written.
    """
    earlier = _earlier(answerer, provenance, out)
    done: dict[str, Row] = {}
    names: dict[str, None] = {}
    waiting: list[str] = []
    answered = 0

    def new() -> Iterator[tuple[str, Sequence[Image.Image] | ImageError]]:
        for name, frames in items:
            if name in names:
                raise UsageError(
                    f"two items are called {name}",
                    whose="the kit's reader",
                    fix="give each input once; if that is so, report it to the kit's authors",
                    code="usage/same-name",
                )
            names[name] = None
            row = _known(earlier, name, frames)
            if row is None:
                waiting.append(name)
                yield name, frames
            else:
                done[name] = row

    batches = item_batches(new(), answerer.preprocess, batch_size=batch_size, pictures=LONG_SIDE)
    with Journal(out / JOURNAL, provenance) as file:
        for rows in _answer(
            *(batches, waiting.__getitem__, answerer, out, batch_size, on_progress)
        ):
            file.append(rows)
            done |= {row["file"]: row for row in rows}
            answered += len(rows)
            on_progress("items", answered, len(waiting))
    for text in earlier.in_words():
        tell(text)
    if not names:
        raise DataError(
            "the inputs hold no item",
            whose="the kit's reader",
            fix="check what was given",
            code="data/no-image",
        )
    return _finished(list(names), done, answerer, out)


def _earlier(answerer: Answerer, provenance: dict[str, Any], out: Path) -> Earlier:
    return Earlier(read_rows(out / JOURNAL, provenance, _columns(answerer)), out)


def _known(earlier: Earlier, name: str, frames: Sequence[Image.Image] | ImageError) -> Row | None:
    """The row of an item that was answered before as it is now."""
    if name not in earlier:
        return None
    if isinstance(frames, ImageError):
        return earlier.answer(name, "", error=frames.what)
    return earlier.answer(name, content_of_frames(frames))


def _finished(
    names: Sequence[str], done: Mapping[str, Row], answerer: Answerer, out: Path
) -> list[Row]:
    rows = [done[name] for name in names]
    write_csv(out / "predictions.csv", rows, _columns(answerer))
    return rows


def _columns(answerer: Answerer) -> tuple[str, ...]:
    return ("file", *answerer.task.show.columns)


def read_rows(journal: Path, provenance: dict[str, Any], columns: Sequence[str]) -> Iterator[Row]:
    """Yields the finished rows of a journal that have these columns; see `read_journal`.

    Raises:
        UsageError: The journal was begun with another provenance.
    """
    for values in read_journal(journal, provenance):
        whole = set(columns) <= set(values)
        if whole and isinstance(values["file"], str) and isinstance(values["verdict"], str):
            yield values


def _answer(
    batches: Iterable[ImageBatch],
    name: Callable[[int], str],
    answerer: Answerer,
    out: Path,
    batch_size: int,
    on_progress: OnProgress,
) -> Iterator[list[Row]]:
    """Yields the finished rows of one batch while the next one is computed."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pending: list[concurrent.futures.Future[Row]] = []
        contents: dict[str, str] = {}
        for batch in batches:
            contents |= {name(row): content for row, content in batch.contents.items()}
            rows = [answerer.unreadable(skip.id, skip.reason) for skip in batch.skipped]
            started: list[concurrent.futures.Future[Row]] = []
            pictures = {name(row): one for row, one in zip(batch.rows, batch.pictures, strict=True)}
            remarks = {name(row): one for row, one in zip(batch.rows, batch.remarks, strict=True)}
            of_cut = f"windows of {name(batch.rows[0])}" if any(batch.stacks) else ""
            for items, computed in answerer.computed(
                batch,
                name,
                batch_size=batch_size,
                on_windows=functools.partial(on_progress, of_cut),
            ):
                if computed.reused:
                    remarks[items[0].id] += (Remark(FLAT, computed.reused),)
                # All of a batch at once: vectorised arithmetic rounds one item alone otherwise.
                found = pool.submit(answerer.answers, computed.kit, items)
                started += [
                    pool.submit(
                        _finish,
                        answerer,
                        item,
                        pictures[item.id],
                        remarks[item.id],
                        found,
                        place,
                        out,
                    )
                    for place, item in enumerate(items)
                ]
            finished = [*rows, *(future.result() for future in pending)]
            yield [{**row, CONTENT: contents.pop(row["file"], "")} for row in finished]
            pending = started
        finished = [future.result() for future in pending]
        yield [{**row, CONTENT: contents.pop(row["file"], "")} for row in finished]


def _finish(
    answerer: Answerer,
    item: Item,
    picture: Image.Image,
    remarks: Sequence[Remark],
    found: concurrent.futures.Future[Sequence[Answer]],
    place: int,
    out: Path,
) -> Row:
    task = answerer.task
    answer = found.result()[place]  # begun before, so that some worker is at it
    overlay = ""
    drawn = task.show.draw(picture, answer, item, answerer.context)
    if drawn is not None:
        overlay = f"overlays/{fitting_name(out / 'overlays', item.id, '.jpg')}"
        save_jpeg(out / overlay, drawn)
    files = {}
    for column, (suffix, content) in task.show.files(answer).items():
        files[column] = f"{column}/{fitting_name(out / column, item.id, suffix)}"
        with atomic_path(out / files[column]) as temporary:
            temporary.write_bytes(content)
    return answerer.row(item.id, answer, overlay=overlay, files=files, remarks=remarks)


def notes_on(rows: Iterable[Row]) -> tuple[str, ...]:
    """Sentences on what was guessed of the files of rows."""
    tally = RemarkTally()
    for row in rows:
        tally.add(row["file"], remarks_in(row))
    return tally.sentences()


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Writes rows as a CSV file; cells of lists and of tables are JSON."""
    with atomic_text(path) as file:
        writer = CsvWriter(file)
        writer.writerow(columns)
        writer.writerows([_cell(row[name]) for name in columns] for row in rows)


def _cell(value: Any) -> Any:
    return to_json(value) if isinstance(value, list | dict) else value
