"""What loaders give, ready for JSON; as a program, in a process of its own.

`python -m moekit.plugins.contents` reads requests, a JSON list of the full name of a loader, its
path and the folder of the cache a line, and writes an answer a line. It imports what the loaders
need and nothing of the checks, whose libraries take seconds. What a loader prints goes nowhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moekit.files import to_json
from moekit.json_text import parse_json
from moekit.plugins.registry import Registry

if TYPE_CHECKING:
    from moekit.data.samples import Dataset


def contents(dataset: Dataset) -> list[Any]:
    """The classes, and id, label and split of each sample, as JSON."""
    return [
        list(dataset.classes),
        [[sample.id, sample.label, sample.split] for sample in dataset.samples],
    ]


def main() -> None:
    """Answers until there are no more requests."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    registry = Registry(strict=False)
    for line in sys.stdin:
        name, path, cache = parse_json(line)
        os.environ["MOEKIT_CACHE_DIR"] = cache
        dataset = registry.dataset(name).load(Path(path) if path else None, 0)
        print(to_json(contents(dataset)), file=answers, flush=True)


if __name__ == "__main__":
    main()
