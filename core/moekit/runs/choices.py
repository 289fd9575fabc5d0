"""What a run keeps of choices: the rule of its point, and which of its models answers.

`adapt` makes them, `evaluate` may change them, and all commands go by them unless they are asked
otherwise. A run of before there was a choice names no rule and answers with its specialist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from moekit.errors import UsageError
from moekit.runs.run import Run

Model = Literal["specialist", "baseline", "mean"]
SPECIALIST: Model = "specialist"
BASELINE: Model = "baseline"
MEAN: Model = "mean"
BEST = "best"
"""Stands for the model that `adapt` found best on the validation split."""


def kept_rule(run: Run) -> str:
    """The rule that is kept with a run; empty if it names none.

    Raises:
        DataError: The folder holds no run.
    """
    return str((run.read().get("rule") or {}).get("name") or "")


def kept_model(run: Run, asked: str | None = None) -> Model:
    """The model that answers.

    Args:
        run: A finished run.
        asked: specialist, baseline or best; None for what is kept with the run.

    Raises:
        UsageError: The run does not know which is best, or there is no such model.
    """
    known: Mapping[str, Any] = run.read_finished().get("use") or {}
    wanted = asked or known.get("kept") or (BEST if known.get("model") else SPECIALIST)
    if wanted in (SPECIALIST, BASELINE):
        return cast(Model, wanted)
    if wanted != BEST:
        raise UsageError(
            f"there is no model {wanted!r} in a run",
            whose="--use",
            fix=f"use one of: {SPECIALIST}, {BASELINE}, {BEST}",
            code="usage/no-such-model",
        )
    if known.get("model") not in (SPECIALIST, BASELINE, MEAN):
        raise UsageError(
            "the run does not say which of its models is best",
            whose=str(run.folder),
            fix=f"name one: --use {SPECIALIST} or {BASELINE}; or adapt again with this version",
            code="usage/no-such-model",
        )
    return cast(Model, known["model"])


def keep(run: Run, *, rule: str = "", use: str | None = None) -> None:
    """Keeps a rule or a model with a finished run, if it is another one than is kept."""
    record = run.read_finished()
    changes: dict[str, Any] = {}
    if rule and rule != kept_rule(run):
        changes["rule"] = {"name": rule, "by": "evaluate"}
    known = record.get("use") or {}
    if use is not None and use != known.get("kept"):
        changes["use"] = {**known, "kept": use}
    if changes:
        run.change(changes)


def model_in_words(run: Run, model: Model) -> str:
    """Which model answers and why; empty if it is the specialist and nothing else was found."""
    known = run.read_finished().get("use") or {}
    named = {
        SPECIALIST: "the specialist",
        BASELINE: "the baseline, not the specialist",
        MEAN: "the mean of specialist and baseline",
    }
    best = known.get("model")
    if best == model and model != SPECIALIST:
        return f"answers come from {named[model]}: {known.get('in_words', '')}"
    if best not in (None, model):
        return (
            f"answers come from {named[model]}, although the {best} was found to be better: "
            f"{known.get('in_words', '')}"
        )
    return "" if model == SPECIALIST else f"answers come from {named[model]}"
