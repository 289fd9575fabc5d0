"""The HTTP interface of corrections: what people say of answers, and what they should look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.params import Depends
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from moekit.errors import DataError, StorageError, UsageError
from moekit.serve import refusals
from moekit.serve.corrections.keeper import Keeper
from moekit.serve.corrections.review import ReviewList
from moekit.serve.corrections.schema import (
    CorrectionReply,
    CorrectionRequest,
    CorrectionsReply,
    ReviewReply,
    request_body,
)
from moekit.serve.intake import Intake, parsed
from moekit.serve.replies import json_reply
from moekit.serve.schema import HASH, ErrorReply

_MOST_LISTED = 1000


def add_corrections(
    app: FastAPI,
    keeper: Keeper,
    *,
    intake: Intake,
    timeout_s: float,
    protected: Sequence[Depends],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    """Adds the paths of corrections.

    Args:
        app: The application.
        keeper: Keeps them.
        intake: Reads bodies within bounds.
        timeout_s: Seconds within which a body must arrive.
        protected: Dependencies of each path.
        responses: The errors of each path.
    """
    errors = {**responses, 507: {"model": ErrorReply}}

    @app.post(
        "/v1/corrections",
        response_model=CorrectionReply,
        status_code=201,
        responses={**errors, 200: {"model": CorrectionReply}},
        openapi_extra={"requestBody": request_body()},
        dependencies=protected,
    )
    async def correct(request: Request) -> Response:
        """Keeps what is said of an image: 201, or 200 if the same was kept already."""
        async with intake.read_json(request, timeout_s=timeout_s) as body:
            return await run_in_threadpool(_kept, body, keeper)

    @app.get(
        "/v1/corrections",
        response_model=CorrectionsReply,
        responses=errors,
        dependencies=protected,
    )
    def corrections() -> Response:
        """How many corrections of each kit there are."""
        return json_reply({"kits": keeper.summary()})


def add_review(
    app: FastAPI,
    review: ReviewList,
    keeper: Keeper | None,
    *,
    protected: Sequence[Depends],
    responses: dict[int | str, dict[str, Any]],
) -> None:
    """Adds the paths of images to look at.

    Args:
        app: The application.
        review: The images.
        keeper: Knows which are corrected already; None if nothing is kept.
        protected: Dependencies of each path.
        responses: The errors of each path.
    """

    @app.get("/v1/review", response_model=ReviewReply, responses=responses, dependencies=protected)
    def listed(most: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = 100) -> Response:
        """Images to look at that nobody has corrected yet, the most useful first."""
        done = set() if keeper is None else keeper.corrected()
        left = [(rank, one) for rank, one in enumerate(review.images, 1) if one.content not in done]
        images = [
            {
                "rank": rank,
                "image_sha256": one.content,
                "verdict": one.verdict,
                "gain": one.gain,
                "why": one.why,
            }
            for rank, one in left[:most]
        ]
        return json_reply({"images": images, "left": len(left), "listed": len(review.images)})

    @app.get(
        "/v1/review/{image}",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}, **responses},
        dependencies=protected,
    )
    def image(image: Annotated[str, Path(pattern=HASH)]) -> Response:
        """The file of a listed image, by the SHA-256 of its bytes."""
        content = review.content_of(image)
        if content is None:
            raise refusals.unknown_image()
        return Response(
            content,
            media_type="application/octet-stream",
            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
        )


def _kept(body: bytes, keeper: Keeper) -> Response:
    asked = parsed(body, CorrectionRequest)
    try:
        kept, new = keeper.add(asked)
    except StorageError as error:
        raise refusals.no_space(error) from error
    except (DataError, UsageError) as error:
        raise refusals.unusable(error) from error
    reply = {
        "id": kept.id,
        "number": kept.number,
        "kit": asked.kit,
        "image_sha256": kept.image,
        "at": kept.at,
        "stored": new,
        "supersedes": kept.supersedes,
    }
    return json_reply(reply, 201 if new else 200)
