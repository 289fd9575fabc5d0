"""What is known of a served kit, and on what its answers rest."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from moekit.backbone.model import MoEBackbone
from moekit.corrections.terms import Terms, terms_of
from moekit.data.views import view_numbers
from moekit.errors import UsageError
from moekit.jobs.replacing import REPLACED
from moekit.jobs.trained import Trained, check_reads_images
from moekit.json_text import finite, to_json
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import kit_of_run, resolve
from moekit.runs.choices import SPECIALIST, kept_model
from moekit.runs.domain import has_domain
from moekit.runs.run import Run
from moekit.runtime.device import pick_arithmetic
from moekit.runtime.load import point_of, rule_of

AUTO = "auto"
"""In the place of a kit: each image is answered by the kit that it belongs to."""
_GRAPH, _PREFIX = "graph_sha256", "prefix_sha256"


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitFacts:
    """What is known of a served kit.

    Attributes:
        name: What it is called here.
        kit: Its name.
        task: The kind of its answers.
        columns: Names of what an answer may hold.
        backbone_sha256: Hash of the backbone's weights.
        kit_sha256: Hash of the trained weights of the kit.
        export_sha256: Hash of the exported graph that answers and of its weights; None if none
            does.
        settings: What else an answer depends on: the model that answers, its point, the input, the
            views, `top_k`, the routing of tokens and the arithmetic.
        bits: Bits of the numbers in files of more than 8 bits; None if they fill 16.
        disclaimer: What readers of answers must know; empty if nothing.
        caution: What is said of the data that it was trained on; empty if nothing.
        level: The number in [0, 1] that a request may move (`Answering.level`); None if none.
        corrects: What corrections of its answers are; None if its task takes none.
        replaced_by: Folder of the run that was proven to be better; empty if there is none.
        can_be_chosen: Whether images that name no kit may be sent to it.
    """

    name: str
    kit: str
    task: str
    columns: tuple[str, ...]
    backbone_sha256: str
    kit_sha256: str
    export_sha256: str | None = None
    settings: dict[str, Any]
    bits: int | None
    disclaimer: str
    caution: str
    level: float | None = None
    corrects: Terms | None = None
    replaced_by: str = ""
    can_be_chosen: bool = False

    @property
    def settings_sha256(self) -> str:
        """SHA-256 of the settings as JSON with sorted keys and without spaces, in hexadecimal."""
        text = to_json(self.settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def prefix_sha256(self) -> str | None:
        """Hash of the prefix of the export that answers; None if it has none."""
        return self.settings.get(_PREFIX)

    def at(self, level: float) -> KitFacts:
        """The same with the level that a request asked for among its settings."""
        return dataclasses.replace(self, settings={**self.settings, "asked_level": level})

    def receipt(self, content: str) -> dict[str, Any]:
        """What an answer to the image with the SHA-256 `content` rests on."""
        return {
            "image_sha256": content,
            "backbone_sha256": self.backbone_sha256,
            "kit_sha256": self.kit_sha256,
            "export_sha256": self.export_sha256,
            "settings_sha256": self.settings_sha256,
            "asked_level": self.settings.get("asked_level"),
        }


def facts_of(
    name: str, run: Run, *, registry: Registry, computed_by: MoEBackbone | Trained
) -> KitFacts:
    """What is known of a run's kit.

    Args:
        name: What it is called here.
        run: A finished run.
        registry: The installed plugins.
        computed_by: The backbone that it is attached to, or its opened export.

    Raises:
        DataError: The run is not finished, or its validation tallies are gone.
        UsageError: The kit answers no single images.
    """
    record = run.read_finished()
    request = record["request"]
    spec = kit_of_run(registry, request["kit"], record)
    check_reads_images(spec, run)
    resolved = resolve(spec, registry, frames=run.frames())
    if isinstance(computed_by, MoEBackbone):
        model = kept_model(run)
        point = point_of(run, resolved, rule="", model=model)
        device = next(computed_by.parameters()).device
        how = {
            "computes": computed_by.computes_at(request["top_k"]),
            "precision": pick_arithmetic(record["arithmetic"], device),
        }
    else:
        model = computed_by.made_with.get("model", SPECIALIST)
        point = computed_by.answerer.point
        keys = ("precision", "backend", _GRAPH, _PREFIX)
        made_with = computed_by.made_with
        how = {key: made_with[key] for key in keys if key in made_with}
    level = resolved.task.answering.level
    recipe = run.recipe()
    tiling = run.tiling()
    weights = {"kit_sha256": record["weights"]["kit_sha256"]}
    if model != SPECIALIST:
        weights["baseline_sha256"] = record["weights"]["baseline_sha256"]
    settings = {
        "model": model,
        "rule": rule_of(resolved, None, run),
        **({} if point is None else point.brief()),
        "classes": run.classes(),
        "frame": dataclasses.asdict(run.frame()),
        "tiling": None if tiling is None else dataclasses.asdict(tiling),
        "bits": run.bits(),
        "views": view_numbers(recipe.scoring_views, recipe.scoring_order),
        "top_k": request["top_k"],
        **{name: value for name, value in recipe if name.startswith("token_")},
        **({} if run.placement() == "trunk" else {"placement": run.placement()}),
        **how,
        **weights,
    }
    return KitFacts(
        name=name,
        kit=spec.name,
        task=resolved.task.name,
        columns=tuple(resolved.task.show.columns),
        backbone_sha256=request["backbone_sha256"],
        kit_sha256=weights["kit_sha256"],
        export_sha256=how.get(_GRAPH),
        settings=finite(settings),
        bits=run.bits(),
        disclaimer=spec.disclaimer,
        caution=record.get("caution") or "",
        level=None if level is None or point is None else level.of(point),
        replaced_by=str((record.get(REPLACED) or {}).get("folder", "")),
        corrects=terms_of(resolved.task, kit=request["kit"], classes=run.classes(), point=point),
        can_be_chosen=isinstance(computed_by, MoEBackbone) and has_domain(run),
    )


def named_runs(given: list[str]) -> dict[str, Path]:
    """Runs by the names that requests call them.

    Args:
        given: Run folders, each as `FOLDER` or `NAME=FOLDER`. Without a name a run is called as
            its folder.

    Raises:
        UsageError: Two runs share a name, or one is called `AUTO`.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or "/" in name or Path(text).exists():
            name, folder = Path(text).resolve().name, text
        if not name or name in (*found, AUTO):
            told = "this name means that a kit is chosen" if name == AUTO else ""
            told = told or (f"two runs are called {name}" if name else f"{text} has no name")
            raise UsageError(
                told,
                whose=text,
                fix="give each a name of its own: NAME=FOLDER",
                code="usage/same-name",
            )
        found[name] = Path(folder)
    return found
