"""Labels of annotation tools, kept as corrections: the call behind `moekit import`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moekit.corrections.imports.marked import Leftovers, Marked
from moekit.corrections.imports.reading import Images, label_of, read_export
from moekit.corrections.store import Correction, Store
from moekit.corrections.terms import Terms, terms_of
from moekit.data.images import read_size
from moekit.errors import DataError, ImageError, UsageError
from moekit.files import check_writable, read_plain
from moekit.jobs.session import quiet_libraries
from moekit.plugins.faults import names_owner
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run, resolve
from moekit.runs.choices import kept_model
from moekit.runs.run import Run
from moekit.runtime.load import point_of

_AGAIN = "images that are listed again; the last label of each counts"
_LARGEST = 2**30


@names_owner
def import_labels(
    export: Path,
    *,
    run_folder: Path,
    images: Path,
    corrections: Path,
    on_progress: Callable[[str, int, int], None],
    kit: str | None = None,
    by: str = "",
    unmarked: str | None = None,
) -> dict[str, Any]:
    """Keeps what an export says of images as corrections of a run's kit.

    Args:
        export: XML of CVAT, JSON of Label Studio, or a COCO file.
        run_folder: The run whose answers are corrected; it gives task and classes.
        images: Folder of the images.
        corrections: The folder that `moekit serve --corrections` is given.
        on_progress: Called with a description, what is done and the total.
        kit: Name of the kit there; that of the run's folder if None.
        by: Who marked the images, if the export does not say.
        unmarked: For masks the class of pixels that nobody marked; the first one if None.

    Returns:
        `format`, `images` of the export, `stored`, those that are `known` already, and `leftovers`
        with counts by reason.

    Raises:
        DataError: The export cannot be read or nothing of it can be used.
        UsageError: The task takes no corrections, or a class is unknown.
        StorageError: The folder cannot be written.
    """
    quiet_libraries()
    check_writable(corrections)
    terms = _terms_of_run(Run(run_folder))
    background = _background(terms, unmarked)
    leftovers = Leftovers()
    format_, found = read_export(export, leftovers)
    files = Images(images)
    store = Store(corrections / (kit or run_folder.resolve().name), terms)
    stored = known = 0
    seen: set[str] = set()
    for place, marked in enumerate(found, start=1):
        on_progress("keeping labels", place, len(found))
        correction = _correction(
            marked, files, terms, leftovers, background=background, by=by, source=format_
        )
        if correction is None:
            continue
        try:
            _, new = store.add(correction, labels=False)
        except DataError as error:
            leftovers.add(error.what, marked.name)
            continue
        stored += new
        known += not new
        if correction.sha256 in seen:
            leftovers.add(_AGAIN, marked.name)
        seen.add(correction.sha256)
    store.write()
    if not stored + known:
        raise DataError(
            f"nothing of the {len(found)} images can be used{_first(leftovers)}",
            whose=str(export),
            fix="check the classes and the folder of the images",
            code="data/bad-export",
        )
    return {
        "format": format_,
        "images": len(found),
        "stored": stored,
        "known": known,
        "leftovers": leftovers.as_json(),
    }


def _terms_of_run(run: Run) -> Terms:
    record = run.read_finished()
    registry = Registry()
    spec = kit_of_run(registry, record["request"]["kit"], record)
    resolved = resolve(spec, registry, frames=run.frames())
    point = point_of(run, resolved, rule="", model=kept_model(run))
    terms = terms_of(
        resolved.task, kit=record["request"]["kit"], classes=run.classes(), point=point
    )
    if terms is None:
        raise UsageError(
            f"answers of the task {resolved.task.name} cannot be corrected",
            whose=str(run.folder),
            fix="name another run",
            code="usage/not-for-task",
        )
    return terms


def _background(terms: Terms, unmarked: str | None) -> str:
    if unmarked is not None and unmarked not in terms.classes:
        raise UsageError(
            f"there is no class {unmarked!r}",
            whose="--unmarked",
            fix=f"name one of: {', '.join(terms.classes[:20])}",
            code="usage/unknown-name",
        )
    return terms.classes[0] if unmarked is None else unmarked


def _correction(
    marked: Marked,
    files: Images,
    terms: Terms,
    leftovers: Leftovers,
    *,
    background: str,
    by: str,
    source: str,
) -> Correction | None:
    """What is kept of an image; None if nothing can be, which is counted."""
    path = files.find(marked.name)
    if isinstance(path, str):
        leftovers.add(path, marked.name)
        return None
    try:
        size = read_size(path)
        content = read_plain(path, most=_LARGEST)
    except (ImageError, OSError):
        leftovers.add("images that cannot be read", marked.name)
        return None
    if marked.size is not None and marked.size != size:
        leftovers.add("images of another size than the export says", marked.name)
        return None
    label = label_of(marked, size, terms, leftovers, unmarked=background)
    if label is None:
        return None
    return Correction(
        content=content, size=size, label=label, by=(by or marked.by)[:200], source=source
    )


def _first(leftovers: Leftovers) -> str:
    told = leftovers.as_json()
    return f"; {told[0]['count']} times: {told[0]['reason']}" if told else ""
