"""What the benchmarks share: where results go, and the facts they carry."""

import datetime
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moekit.files import write_json
from moekit.runs.facts import machine, now, versions
from tests.benchmarks.task_runs import TINY

RESULTS = Path(__file__).parent / "results"


@pytest.fixture(scope="session", autouse=True)
def quick() -> None:
    """Benchmarks have all threads and all bootstrap samples."""


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, dict[str, Any]], None]:
    """Writes the figures of one benchmark next to the command that made them."""

    def write(name: str, figures: dict[str, Any]) -> None:
        sys.stderr.write(json.dumps(figures, indent=2) + "\n")
        if TINY:
            return
        RESULTS.mkdir(exist_ok=True)
        facts = {
            "command": f"make bench (tests/benchmarks/{request.path.name})",
            "created": now(),
            "versions": versions(),
            "machine": machine(),
        }
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps({**facts, **figures}, indent=2) + "\n", encoding="utf-8")

    return write


def measured_before(name):
    """What `record` wrote by that name, or nothing."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


FIGURES = Path(__file__).parent / "results" / "figures.json"


@pytest.fixture(scope="session")
def record_figure():
    """Writes one figure into results/figures.json; the others stay as they are.

    Called as `record_figure(key, value, command=..., ci95=(low, high), seeds=(0, 1, 2))`; what else
    a figure depends on, such as the machine, is given by name.
    """

    def write(key, value, *, command, ci95=None, seeds=(), **about):
        if TINY:
            return
        known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
        known[key] = {
            "value": value,
            "ci95": None if ci95 is None else list(ci95),
            "seeds": list(seeds),
            "command": command,
            "date": datetime.date.today().isoformat(),
            **about,
        }
        write_json(FIGURES, dict(sorted(known.items())))

    return write


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Where runs of kits lie, for all benchmarks of a session: see `task_runs`."""
    given = os.environ.get("MOEKIT_BENCH_RUNS")
    return Path(given).resolve() if given else tmp_path_factory.mktemp("runs")
