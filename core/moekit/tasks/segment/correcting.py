"""How masks are confirmed and corrected: each pixel gets a class, or counts for nothing."""

from __future__ import annotations

import base64
from typing import Any

from moekit.contract.answers import Answer, Item, TaskContext
from moekit.contract.tasks import Correcting
from moekit.tasks.segment.show import files


def draft(answer: Answer, item: Item, context: TaskContext) -> dict[str, Any] | None:
    """The mask of an answer as a PNG of class numbers; None of an answer of another task."""
    del item, context
    made = files(answer)
    if "mask" not in made:
        return None
    return {"form": "mask", "png": base64.b64encode(made["mask"][1]).decode("ascii")}


CORRECTING = Correcting(form="mask", loader="moekit/masks", draft=draft)
