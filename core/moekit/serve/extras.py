"""What a request may ask for besides the answers: pictures of them, routing, moved levels."""

from __future__ import annotations

import base64
import dataclasses
import io
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from moekit.contract.answers import Answer
from moekit.data.pictures import LONG_SIDE, reduced
from moekit.errors import MoekitError
from moekit.evaluation.routing import options_of
from moekit.moe.stats import BlockRouting
from moekit.plugins.faults import named_fault
from moekit.runtime.shown import RoutedPicture
from moekit.serve.asked import AsksKits
from moekit.serve.unforeseen import unforeseen

_logger = logging.getLogger(__name__)
_QUALITY = 88
_DIGITS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extras:
    """What a request asks for besides the answers.

    Attributes:
        overlays: Whether pictures are wanted: of each image, and of each answer its overlay.
        routing: Whether it is wanted which experts computed which part.
        drafts: Whether answers are wanted in the form of corrections too.
        levels: Of kits the number that takes the place of the run's own; see `Answering.level`.
    """

    overlays: bool = False
    routing: bool = False
    drafts: bool = False
    levels: tuple[tuple[str, float], ...] = ()

    @property
    def wants_pictures(self) -> bool:
        """Whether anything is to be shown."""
        return self.overlays or self.routing or self.drafts


NOTHING = Extras()


def picture_json(picture: Image.Image) -> dict[str, Any]:
    """A picture of at most `LONG_SIDE` pixels a side, as `schema.Picture` describes it."""
    small = reduced(picture.convert("RGB"), LONG_SIDE)
    return _encoded(small)


def shown_json(
    runtime: AsksKits, kit: str, picture: Image.Image, answer: Answer, extras: Extras
) -> dict[str, Any]:
    """What is shown of an answer, as `schema.ShownAnswer` describes it.

    What cannot be shown is reported there; the answer is given all the same.

    Args:
        runtime: Has the kit attached.
        kit: Its name.
        picture: The RGB picture that was answered.
        answer: The kit's answer to it.
        extras: What is asked for.
    """
    found: dict[str, Any] = dict.fromkeys(("overlay", "routing", "draft", "failed"))
    found["caption"] = ""
    try:
        if extras.overlays:
            shown = runtime.shown(picture, answer, kit=kit)
            overlay = shown.overlay
            found["caption"] = str(shown.caption)
            found["overlay"] = None if overlay is None else _encoded(overlay.convert("RGB"))
        if extras.drafts:
            draft = runtime.draft(picture, answer, kit=kit)
            found["draft"] = {"size": list(draft.size), "label": draft.label}
        if extras.routing:
            found["routing"] = routing_json(runtime.routing(picture, kit=kit))
    except Exception as error:
        told = error if isinstance(error, MoekitError) else named_fault(error)
        told = told or unforeseen(error, what="the answer cannot be shown")
        _logger.warning("an answer of the kit %s cannot be shown", kit, exc_info=error)
        found["failed"] = {"code": told.code, "what": told.what, "fix": told.fix, "image": None}
    return found


def routing_json(routed: RoutedPicture) -> dict[str, Any]:
    """A routing as `schema.Routing` describes it.

    Args:
        routed: Of one picture.
    """
    options = options_of(routed.slots, routed.depth)
    grid, box, (height, width) = routed.grid, routed.box, routed.size
    shares = (box.left / width, box.top / height, box.width / width, box.height / height)
    return {
        "rows": grid.rows,
        "columns": grid.columns,
        "box": [round(one, 6) for one in shares],
        "blocks": [_block_json(one, grid.patches, options) for one in routed.trace.blocks],
    }


def _block_json(
    one: BlockRouting, patches: int, options: Mapping[int, tuple[str, ...]]
) -> dict[str, Any]:
    names = [str(number) for number in range(one.routing.experts)]
    if one.kit is not None:
        names = list(options[one.block])
    weight_TE = one.routing.weight_TE().float().cpu().numpy()
    weight_NE = weight_TE[-patches:]
    total = float(weight_TE.sum())
    load_E = weight_TE.sum(0) / total if total > 0 else weight_TE.sum(0)
    told = {
        "block": one.block,
        "of_kit": one.kit is not None,
        "experts": names,
        "load": [round(float(load), _DIGITS) for load in load_E],
        "all": one.kit is None and one.routing.chosen == one.routing.experts,
        "chosen": [],
        "weight": [],
    }
    if told["all"]:  # every token has every expert: there is nothing to tell
        return told
    first_N = np.where(weight_NE.max(1) > 0, weight_NE.argmax(1), -1)
    weight_N = weight_NE.max(1).astype(np.float64)
    return {**told, "chosen": first_N.tolist(), "weight": weight_N.round(_DIGITS).tolist()}


def _encoded(picture: Image.Image) -> dict[str, Any]:
    stored = io.BytesIO()
    picture.save(stored, format="JPEG", quality=_QUALITY)
    return {
        "media_type": "image/jpeg",
        "width": picture.width,
        "height": picture.height,
        "base64": base64.b64encode(stored.getvalue()).decode("ascii"),
    }
