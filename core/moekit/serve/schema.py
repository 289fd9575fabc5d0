"""What requests and responses look like, as OpenAPI shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from moekit.errors import MoekitError

_LONGEST_NAME = 200
_MOST = 4096
_OVERLAYS = "Whether the image and each answer drawn on it are wanted as pictures."
_ROUTING = "Whether it is wanted which experts computed which part, by one more pass a kit."
_DRAFTS = "Whether each answer is wanted in the form of a correction too, which confirms it."
_LEVELS = "Numbers from 0 to 1 that take the place of what a kit's run chose, by kit."
_KITS = (
    "Names of kits, as /v1/kits lists them; all if none is named. Only `auto`: each image is "
    "answered by the kit that it belongs to by its looks, or by none."
)
HASH = "^[0-9a-f]{64}$"
"""The SHA-256 of a file, as text."""
_TELLS = "discriminator"


class Strict(BaseModel):
    """Takes no unknown field, and converts no value."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerRequest(Strict):
    """The JSON body of a request."""

    images: list[str] = Field(
        min_length=1, max_length=_MOST, fail_fast=True, description="Image files, each in base64."
    )
    kits: list[str] = Field(
        default=[],
        max_length=_MOST,
        fail_fast=True,
        description=_KITS,
    )
    deadline_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that the request may take; no more than the server allows.",
    )
    overlays: bool = Field(default=False, description=_OVERLAYS)
    routing: bool = Field(default=False, description=_ROUTING)
    drafts: bool = Field(default=False, description=_DRAFTS)
    levels: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, max_length=_MOST, description=_LEVELS
    )


class Computed(Strict):
    """By what an answer was computed: what the same bits need besides the hashes."""

    images: int = Field(
        ge=1, description="Images of the pass; rounding depends on them if it is not 1."
    )
    batch_size: int = Field(ge=1, description="Most images or windows of a pass.")
    device: str
    processor: str
    threads: int = Field(ge=1, le=4096)
    versions: dict[str, str] = Field(
        description="Of Python, of libraries, and of the plugins that were used."
    )


class Receipt(Strict):
    """What an answer rests on. Hashes are SHA-256 in hexadecimal; `moekit verify` checks it."""

    image_sha256: str = Field(pattern=HASH, description="Of the bytes of the image file.")
    backbone_sha256: str = Field(pattern=HASH, description="Of the backbone's weights.")
    kit_sha256: str = Field(pattern=HASH, description="Of the kit's trained weights.")
    export_sha256: str | None = Field(
        default=None,
        pattern=HASH,
        description="Of the files of the exported graph that answers; null if none does.",
    )
    settings_sha256: str = Field(
        pattern=HASH,
        description="Of the settings in /v1/kits, as JSON with sorted keys and without spaces.",
    )
    asked_level: float | None = Field(
        default=None,
        description="The level that the request asked for (`levels`), part of the settings; null "
        "if it asked for none.",
    )
    computed: Computed | None = Field(description="Null if it is not known.")


class Fault(Strict):
    """What failed and what to do."""

    code: str = Field(description="Stays the same if the words change; see docs/ERRORS.md.")
    what: str
    fix: str
    image: int | None = Field(default=None, description="Index of the image, from 0.")


class Picture(Strict):
    """A picture, reduced."""

    media_type: str
    width: int = Field(description="In pixels.")
    height: int = Field(description="In pixels.")
    base64: str = Field(description="The file's bytes.")


class RoutedBlock(Strict):
    """Which experts of one router computed which patch."""

    block: int = Field(description="Number of the block, from 0.")
    of_kit: bool = Field(description="Whether these are the kit's own specialists.")
    experts: list[str] = Field(description="Their names; the kit's last one is to have none.")
    load: list[float] = Field(description="The share of all weights that each expert has.")
    all: bool = Field(
        description="Whether every token has every expert; the other fields are then empty."
    )
    chosen: list[int] = Field(
        description="Row by row the expert with the greatest weight of each patch; -1 for none."
    )
    weight: list[float] = Field(description="That weight.")


class Routing(Strict):
    """Which experts computed which part of an image, in the order of the blocks."""

    rows: int = Field(description="Rows of patches of the input.")
    columns: int = Field(description="Columns of patches of the input.")
    box: list[float] = Field(
        description="Left, top, width and height of the image in the input, as shares of its sides."
    )
    blocks: list[RoutedBlock]


class Draft(Strict):
    """An answer in the form of a correction."""

    size: list[int] = Field(description="Rows and columns of the upright image.")
    label: dict[str, Any] | None = Field(
        description="A label as /v1/corrections takes it; null if there is nothing to confirm."
    )


class ShownAnswer(Strict):
    """An answer as its task shows it, if that was asked for."""

    caption: str = Field(description="A line for the overlay.")
    overlay: Picture | None = Field(description="The image with the answer drawn on it.")
    routing: Routing | None
    draft: Draft | None = None
    failed: Fault | None = Field(description="Why it cannot be shown.")


class KitAnswer(Strict):
    """The answer of one kit to one image."""

    verdict: str = Field(description="One word, or the answer in short.")
    values: dict[str, Any] = Field(
        description="By the names of the kit's columns; the same as in a row of `moekit predict`."
    )
    receipt: Receipt
    shown: ShownAnswer | None = Field(default=None, description="If it was asked for.")


class Selection(Strict):
    """Which kit an image was sent to."""

    kit: str | None = Field(description="Null if it belongs to none.")
    nearest: str = Field(description="The kit that it is nearest to.")
    score: float = Field(
        description="How far it is from that kit's pictures, as a multiple of the kit's limit; up "
        "to 1 it is one of them."
    )
    scores: dict[str, float] = Field(description="The same for each kit that may be chosen.")


class ImageAnswers(Strict):
    """What became of one image."""

    image: int = Field(description="Its index in the request, from 0.")
    image_sha256: str = Field(pattern=HASH)
    answers: dict[str, KitAnswer] = Field(description="By the names of the kits.")
    failed: dict[str, Fault] = Field(description="Of the kits that have no answer.")
    error: Fault | None = Field(description="Why it cannot be read.")
    selected: Selection | None = Field(
        default=None, description="If the request named `auto` in the place of a kit."
    )
    remarks: dict[str, float] = Field(description="What was guessed when it was read.")
    picture: Picture | None = Field(
        default=None, description="The image as it was read, if overlays were asked for."
    )


class AnswerReply(Strict):
    """The answers to a request, one entry an image, in the order of the images."""

    images: list[ImageAnswers]


class Corrects(Strict):
    """How answers of a kit are corrected."""

    form: str = Field(description="The form of labels: class, objects, or one for each pixel.")
    classes: list[str]
    several: bool = Field(description="Whether an image may have several classes.")
    outlined: bool = Field(description="Whether objects need outlines.")
    ignored: int = Field(description="The value of pixels that count for nothing.")


class SharedPrefix(Strict):
    """The blocks of the backbone that exports share."""

    sha256: str = Field(pattern=HASH, description="Of their graph; equal ones run once a pass.")
    shared_with: list[str] = Field(description="The other kits that are served by it.")


class ServedKit(Strict):
    """A kit that is served, and what its answers rest on."""

    name: str
    kit: str
    task: str
    columns: list[str]
    backbone_sha256: str
    kit_sha256: str
    settings_sha256: str
    settings: dict[str, Any]
    disclaimer: str
    caution: str
    can_be_chosen: bool = Field(description="Whether `auto` may choose it.")
    level: float | None = Field(
        description="The number from 0 to 1 that `levels` of a request may move; null if none."
    )
    corrects: Corrects | None = Field(
        description="What /v1/corrections takes for it; null if it takes nothing."
    )
    prefix: SharedPrefix | None = Field(
        default=None, description="If a split export answers, its prefix."
    )


class KitsReply(Strict):
    """All kits that are served."""

    kits: list[ServedKit]


class StateReply(Strict):
    """Whether the server works."""

    state: str


class ErrorReply(Strict):
    """Why a request has no answer."""

    error: Fault
    images: list[ImageAnswers] = Field(
        default=[], description="If no image of the request has an answer, why each has none."
    )


def inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model as one piece, since references into it do not hold in OpenAPI.

    Args:
        model: Without itself among its parts.
    """
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, list):
            return [whole(one) for one in value]
        if not isinstance(value, dict):
            return value
        kept = {key: whole(one) for key, one in value.items() if key not in ("$ref", _TELLS)}
        name = str(value.get("$ref", "")).rpartition("/")[2]
        return {**whole(parts[name]), **kept} if name else kept

    found: dict[str, Any] = whole(schema)
    return found


def fault_of(error: MoekitError, *, image: int | None = None) -> dict[str, Any]:
    """An error as a `Fault`. Whose it is stays with the server, since it may be a path."""
    found: dict[str, Any] = {"code": error.code, "what": error.what, "fix": error.fix}
    return {**found, "image": image}


def body_schema() -> Mapping[str, Any]:
    """The request body of /v1/answer for OpenAPI: JSON, or a form with files."""
    form = {
        "type": "object",
        "required": ["images"],
        "additionalProperties": False,
        "properties": {
            "images": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "format": "binary"},
                "description": "Image files. Their names are not looked at.",
            },
            "kits": {
                "type": "array",
                "items": {"type": "string", "maxLength": _LONGEST_NAME},
                "description": f"One a field. {_KITS}",
            },
            "deadline_s": {"type": "number", "exclusiveMinimum": 0},
            "overlays": {"type": "boolean", "default": False, "description": _OVERLAYS},
            "routing": {"type": "boolean", "default": False, "description": _ROUTING},
            "drafts": {"type": "boolean", "default": False, "description": _DRAFTS},
            "levels": {
                "type": "array",
                "items": {"type": "string", "maxLength": _LONGEST_NAME},
                "description": f"Each as KIT=NUMBER. {_LEVELS}",
            },
        },
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "application/json": {"schema": AnswerRequest.model_json_schema()},
        },
    }
