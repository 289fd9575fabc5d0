"""What the benchmarks share: where results go, and the facts they carry."""

import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moekit.files import write_json
from moekit.runs.facts import machine, now, versions

RESULTS = Path(__file__).parent / "results"


@pytest.fixture
def record() -> Callable[[str, dict[str, Any]], None]:
    """Writes the figures of one benchmark beside the command that made them."""

    def write(name: str, figures: dict[str, Any]) -> None:
        RESULTS.mkdir(exist_ok=True)
        facts = {
            "command": f"make bench (tests/benchmarks/test_{name}.py)",
            "created": now(),
            "versions": versions(),
            "machine": machine(),
        }
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps({**facts, **figures}, indent=2) + "\n", encoding="utf-8")
        sys.stderr.write(json.dumps(figures, indent=2) + "\n")

    return write


FIGURES = Path(__file__).parent / "results" / "figures.json"


@pytest.fixture(scope="session")
def record_figure():
    """Writes one figure into results/figures.json; the others stay as they are.

    Called as `record_figure(key, value, command=..., ci95=(low, high), seeds=(0, 1, 2))`.
    """

    def write(key, value, *, command, ci95=None, seeds=()):
        known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
        known[key] = {
            "value": value,
            "ci95": None if ci95 is None else list(ci95),
            "seeds": list(seeds),
            "command": command,
            "date": datetime.date.today().isoformat(),
        }
        write_json(FIGURES, dict(sorted(known.items())))

    return write
