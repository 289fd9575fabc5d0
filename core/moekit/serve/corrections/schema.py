"""What corrections look like, as OpenAPI shows it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from moekit.corrections.labels import Label
from moekit.serve.schema import HASH, Receipt, Strict, inlined

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"


class CorrectionRequest(Strict):
    """What is said of an image, in place of a kit's answer or to confirm it."""

    kit: str = Field(max_length=200, description="Name of a kit, as /v1/kits lists it.")
    image: str = Field(min_length=1, description="The image file that was answered, in base64.")
    label: Label = Field(description="In the form that /v1/kits says under `corrects`.")
    confirmed: bool = Field(
        default=False, description="Whether the label is the answer itself, confirmed."
    )
    by: str = Field(
        default="", max_length=200, pattern=_PRINTABLE, description="Who says so, if it is kept."
    )
    group: str = Field(
        default="",
        max_length=200,
        pattern=_PRINTABLE,
        description="What the image belongs to, such as one part in several images. A group is "
        "learned from or held out as a whole.",
    )
    key: str = Field(
        default="",
        max_length=100,
        pattern=_PRINTABLE,
        description="A name for this request: sent again with it, it is kept once.",
    )
    receipt: Receipt | None = Field(default=None, description="Of the answer that is corrected.")


class CorrectionReply(Strict):
    """A correction as it is kept."""

    id: str = Field(pattern=HASH)
    number: int = Field(ge=1, description="Its place among all corrections of the kit.")
    kit: str
    image_sha256: str = Field(pattern=HASH)
    at: str = Field(description="When it was made, in UTC.")
    stored: bool = Field(description="False if the same was kept already.")
    supersedes: str = Field(description="The id of the one that held before; empty if none did.")


class KitCorrections(Strict):
    """How many corrections of a kit there are."""

    kit: str
    corrections: int
    images: int
    confirmed: int
    held_out: int = Field(description="Images that are not learned from.")


class CorrectionsReply(Strict):
    """How many corrections there are."""

    kits: list[KitCorrections]


class ToReview(Strict):
    """An image to look at."""

    rank: int
    image_sha256: str = Field(pattern=HASH)
    verdict: str
    gain: float = Field(description="What looking at it is expected to bring, from 0 to 1.")
    why: str


class ReviewReply(Strict):
    """The images to look at that nobody has corrected yet, the most useful first."""

    images: list[ToReview]
    left: int = Field(description="How many of them there are in all.")
    listed: int = Field(description="How many the server's lists hold, corrected ones too.")


def request_body() -> dict[str, Any]:
    """The request body of a correction for OpenAPI."""
    schema = inlined(CorrectionRequest)
    return {"required": True, "content": {"application/json": {"schema": schema}}}
