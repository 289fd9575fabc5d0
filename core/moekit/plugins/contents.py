"""What a loader gives, ready for JSON; as a program, in a process of its own.

Called as `python -m moekit.plugins.contents DISTRIBUTION/NAME PATH ANSWER.json`. It imports what
the loader needs and nothing of the checks, whose libraries take seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moekit.files import to_json
from moekit.plugins.registry import Registry

if TYPE_CHECKING:
    from moekit.data.samples import Dataset


def contents(dataset: Dataset) -> list[Any]:
    """The classes, and id, label and split of each sample, as JSON."""
    return [
        list(dataset.classes),
        [[sample.id, sample.label, sample.split] for sample in dataset.samples],
    ]


def main(name: str, path: str, answer: str) -> None:
    """Writes the contents of what a loader gives to a file."""
    dataset = Registry(strict=False).dataset(name).load(Path(path) if path else None, 0)
    Path(answer).write_text(to_json(contents(dataset)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:4])
