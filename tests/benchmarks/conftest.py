"""What the benchmarks share: where results go, and the facts they carry."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
