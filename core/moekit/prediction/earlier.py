"""What earlier calls have answered: an input is known by its content, never by its name."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from moekit.data.content import Contents
from moekit.names import fitting_name
from moekit.runtime.answerer import Row
from moekit.text import many

CONTENT = "content"
"""The field of a row that holds the SHA-256 of what was answered."""
_THREADS = 2


class Earlier:
    """The rows of earlier calls, the last one of each name.

    Args:
        rows: As the journal has them.
        out: The output folder, from which pictures of rows that no longer hold are removed.

    Attributes:
        changed: Names whose input has another content than the one that was answered.
        unknown: Names whose row does not say what it answers, since an older version wrote it.
    """

    def __init__(self, rows: Iterable[Row], out: Path) -> None:
        self._rows = {row["file"]: row for row in rows}
        self._out = out
        self.changed: list[str] = []
        self.unknown: list[str] = []

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def answer(self, name: str, content: str, *, error: str = "") -> Row | None:
        """The row of an input if it answers this very content; None if there is no such row.

        Args:
            name: Of the input.
            content: The hash of what it holds now; empty if it cannot be read.
            error: Why it cannot be read, if that is all that is known of it.
        """
        row = self._rows.get(name)
        if row is None:
            return None
        known = row.get(CONTENT)
        if known and known == content:
            return row
        if error and known == "" and row.get("error") == error:
            return row
        (self.unknown if known is None else self.changed).append(name)
        self._remove_files(row)
        return None

    def answers(
        self,
        inputs: Sequence[tuple[str, Path]],
        contents: Contents,
        on_progress: Callable[[str, int, int], None],
    ) -> dict[str, Row]:
        """The rows of the files that were answered as they are now, by name.

        Only files that have a row are hashed here.
        """
        found: dict[str, Row] = {}
        named = [(name, path) for name, path in inputs if name in self]
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            hashes = pool.map(contents.of, [path for _, path in named])
            for number, ((name, _), content) in enumerate(zip(named, hashes, strict=True), 1):
                row = self.answer(name, content)
                if row is not None:
                    found[name] = row
                on_progress("earlier answers checked", number, len(named))
        return found

    def in_words(self) -> list[str]:
        """Sentences on what is answered again."""
        said = []
        if self.changed:
            what = many(len(self.changed), "input has", "inputs have")
            said.append(
                f"{what} another content than when their names were answered in this folder "
                f"({_few(self.changed)}); they are answered again"
            )
        if self.unknown:
            what = many(len(self.unknown), "answer", "answers")
            said.append(
                f"{what} of an earlier version in this folder do not say of what content they are "
                f"({_few(self.unknown)}); they are made again"
            )
        return said

    def _remove_files(self, row: Row) -> None:
        """Removes the pictures of an answer that no longer holds."""
        for column, value in row.items():
            folder = "overlays" if column == "overlay" else column
            if isinstance(value, str) and value.startswith(f"{folder}/"):
                suffix = Path(value).suffix
                name = fitting_name(self._out / folder, row["file"], suffix)
                if suffix and value == f"{folder}/{name}":
                    (self._out / value).unlink(missing_ok=True)


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
