"""What the loaders of volumes share: candidates of a table, their crops in the cache, the set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from moekit import Dataset, Sample, Skipped
from moekit.data import SPLITS
from moekit.files import to_json
from moekit_medical.loaders.cache import Cached, Writer, cached, key_of
from moekit_medical.loaders.crops import CROP_MM, PIXEL_MM, STEP_MM, CropError, Form, Stack
from moekit_medical.loaders.facts import subtypes_of_rows, unread
from moekit_medical.loaders.labels import CLASSES, Row, Table, split_of, split_problem
from moekit_medical.loaders.mended import repairs_in, words_of

_VERSION = "3"
"""Of how crops are made. Raise it if a change of `crops`, of a reader or of the assembler makes
other crops of the same bytes: keys change with it."""

SPLIT = "split"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the rows of a table.

    Attributes:
        form: How places are shown.
        crops: The folder of the cache that holds the crop of a line, by line.
        reasons: Why a line has no crop, by line.
        mended: The repairs of each volume that has any.
    """

    form: Form
    crops: dict[int, Cached] = dataclasses.field(default_factory=dict)
    reasons: dict[int, str] = dataclasses.field(default_factory=dict)
    mended: list[list[str]] = dataclasses.field(default_factory=list)

    def skip(self, rows: Iterable[Row], reason: str) -> None:
        """Leaves rows out."""
        self.reasons.update((row.line, reason) for row in rows)

    def take(self, rows: Iterable[Row], images: Cached) -> None:
        """Takes the crops of rows, or the reasons that were noted in place of them."""
        self.mended.extend(repairs_in(images))
        for row in rows:
            name = image_name(row, self.form)
            if name in images.images:
                self.crops[row.line] = images
            else:
                self.reasons[row.line] = images.notes[name]

    @property
    def beyond(self) -> int:
        """Stacks of which a part lies beyond the volume."""
        names = {line: f"{line:07}{_suffix(self.form)}" for line in self.crops}
        return sum(names[line] in images.notes for line, images in self.crops.items())


def image_name(row: Row, form: Form) -> str:
    """The file name of a row's crop or stack."""
    return f"{row.line:07}{_suffix(form)}"


def _suffix(form: Form) -> str:
    return ".png" if form.slices == 1 else ".tif"


def split_column(table: Table) -> str | None:
    """The column that says the split, or None."""
    return SPLIT if SPLIT in table.columns else None


def known_split(row: Row, column: str | None) -> str | None:
    """The split of a row, or None if it has none of those that are used."""
    split = split_of(row, column)
    return split if split in SPLITS else None


def wanted_rows(table: Table, outcome: Outcome) -> list[Row]:
    """The rows whose split is used; the others are skipped."""
    column = split_column(table)
    wanted = []
    for row in table.rows:
        reason = split_problem(row, column)
        if reason is None:
            wanted.append(row)
        else:
            outcome.skip([row], reason)
    return wanted


def write_crops(
    kind: str,
    content: Sequence[str],
    rows: Sequence[Row],
    *,
    form: Form,
    make: Callable[[Writer], None],
) -> Cached:
    """The crops of some rows, from the cache or made now.

    Args:
        kind: Sub-folder of the cache.
        content: Hashes of all the files that the crops are made from.
        rows: Rows of the table.
        form: How places are shown.
        make: Writes for each row an image, or a note that says why there is none, both under its
            `image_name`.

    Raises:
        DataError: An image in the cache was damaged.
        StorageError: The cache cannot be written.
    """
    lines = to_json([(row.line, sorted(row.cells.items())) for row in rows])
    low, high = form.window
    shown = f"{_VERSION},{CROP_MM},{PIXEL_MM},{low!r},{high!r}"
    if form.slices > 1:
        shown += f",{form.slices},{STEP_MM}"
    return cached(kind, key_of(shown, lines, *content), make)


def write_or_note(writer: Writer, row: Row, form: Form, make: Callable[[], Stack]) -> None:
    """Writes the crop or stack of a row, or notes why there is none.

    Of a stack that reaches beyond the volume it is noted how many frames do.
    """
    name = image_name(row, form)
    try:
        stack = make()
    except CropError as error:
        writer.note(name, str(error))
        return
    if form.slices == 1:
        writer.image(name, stack.pixels_THW[0])
        return
    writer.stack(name, stack.pixels_THW)
    if stack.beyond:
        writer.note(name, f"{stack.beyond} of {form.slices} frames repeat the outermost slice")


def to_dataset(
    table: Table,
    outcome: Outcome,
    *,
    name: str,
    ids: Mapping[int, str],
    groups: Mapping[int, str],
    facts: Mapping[int, Mapping[str, str]],
    source: str,
    columns: Sequence[str],
) -> Dataset:
    """The set of all rows that have a crop.

    Args:
        table: The table.
        outcome: Of each row.
        name: Name of the loader.
        ids: Id of each line.
        groups: Group of each line.
        facts: Facts of each line.
        source: Words for `Dataset.source`, which are followed by those on the crops.
        columns: What the loader reads of the table, but for facts and the split.
    """
    column = split_column(table)
    subtypes = subtypes_of_rows(table)
    beyond = outcome.beyond
    repeats = f"; {beyond} repeat the outermost slice beyond their volume" if beyond else ""
    samples = [
        Sample(
            id=ids[row.line],
            path=outcome.crops[row.line].folder / image_name(row, outcome.form),
            label=row.label,
            group=groups.get(row.line),
            subtype=subtypes.get(row.line),
            split=split_of(row, column),
            facts=facts[row.line],
        )
        for row in table.rows
        if row.line in outcome.crops
    ]
    return Dataset(
        name=f"{name} {table.name}",
        samples=tuple(samples),
        classes=CLASSES,
        licence="yours",
        source=f"{source}; {outcome.form.words}{repeats}{words_of(outcome.mended)}",
        frames=outcome.form.slices,
        skipped=tuple(
            Skipped(
                id=ids[row.line],
                reason=outcome.reasons[row.line],
                label=row.label,
                split=known_split(row, column),
                facts=facts[row.line],
            )
            for row in table.rows
            if row.line in outcome.reasons
        ),
        notes=unread(table, SPLIT, *columns),
    )
