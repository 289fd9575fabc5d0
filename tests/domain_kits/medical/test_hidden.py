"""No path and no name of a file gets into runs and results of the medical kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moekit import Dataset, Sample, Skipped
from moekit.jobs.recorded import recorded_command
from moekit_detection.records import Objects
from moekit_medical.hidden import hide_names
from moekit_medical.kit import MEDICAL

KITS = (MEDICAL, *MEDICAL.variants)


@pytest.mark.parametrize("spec", KITS, ids=lambda spec: spec.task)
@pytest.mark.parametrize(
    ("data", "typed", "recorded"),
    [
        ("candidates=/data/Jane Doe", "candidates=/data/Jane Doe", "candidates=PATH"),
        ("folder=Doe", "folder=Doe", "folder=PATH"),
        ("nifti=Doe/ct?slices=5", "nifti=Doe/ct?slices=5", "nifti=PATH?slices=5"),
        ("ct_demo", "ct_demo", "ct_demo"),
    ],
)
def test_the_recorded_command_has_no_path(spec, data, typed, recorded) -> None:
    command = f"moekit adapt medical --data {typed} --out runs/Doe --weights auto --seed 3"
    assert recorded_command(command, spec, data=data, paths=(Path("runs/Doe"), None, "auto")) == (
        f"moekit adapt medical --data {recorded} --out PATH --weights auto --seed 3"
    )


def test_a_path_that_is_written_in_another_way_is_hidden_too() -> None:
    command = "moekit evaluate medical --data=folder=./Doe//x --run=./runs//Doe --split test"
    told = recorded_command(command, MEDICAL, data="folder=Doe/x", paths=(Path("runs/Doe"),))
    assert told == "moekit evaluate medical --data=folder=PATH --run=PATH --split test"


def some(name: str, truth: dict[str, Any] | None = None) -> Dataset:
    samples = tuple(
        Sample(
            id=f"Jane_Doe/{number}.png",
            path=Path(f"{number}.png"),
            label=0,
            group="Jane_Doe",
            truth=truth,
        )
        for number in range(3)
    )
    skipped = (Skipped(id="Jane_Doe/4.png", reason="damaged"),)
    notes = ("Jane_Doe/0.png holds 12 bits",)
    return Dataset(name=name, samples=samples, classes=("a", "b"), skipped=skipped, notes=notes)


@pytest.mark.parametrize("spec", KITS, ids=lambda spec: spec.task)
def test_names_of_files_are_tokens_that_are_the_same_each_time(spec) -> None:
    finds_objects = spec.task.startswith("moekit-detection/")
    truth = Objects.of([[1, 1, 4, 4]], [0]).as_truth() if finds_objects else None
    hidden = spec.prepare(some("folder Jane_Doe", truth), 0)
    assert hidden == hide_names(some("folder Jane_Doe", truth), 1)
    told = repr([(one.id, one.group) for one in hidden.samples])
    assert "Doe" not in told + hidden.name + hidden.skipped[0].id + "".join(hidden.notes)
    assert len(hidden.notes) == 1
    assert len({one.id for one in hidden.samples}) == 3
    assert len({one.group for one in hidden.samples}) == 1
    assert [one.path for one in hidden.samples] == [Path(f"{number}.png") for number in range(3)]


def test_sets_of_the_kits_own_loaders_stay() -> None:
    assert hide_names(some("candidates 0123"), 0) == some("candidates 0123")
