"""What the interface says of cameras, as OpenAPI shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from moekit.serve.schema import Fault, ImageAnswers, Strict


class Latency(Strict):
    """From frame to answer, in seconds, of the last frames."""

    n: int = Field(description="Of how many frames; 10,000 at most.")
    p50: float
    p95: float
    p99: float
    max: float = Field(description="Of all frames.")


class CameraReply(Strict):
    """What is known of a camera. Its address is not told."""

    name: str
    kind: Literal["folder", "file", "stream", "device"]
    kits: list[str] = Field(description="Names of the kits that answer it.")
    state: Literal["starting", "running", "failed", "ended"]
    error: Fault | None = Field(description="Why it failed; it is tried again.")
    frames: int = Field(description="How many came.")
    answered: int
    dropped: int = Field(description="Stale ones, and those for which the queue had no room.")
    failed: int = Field(description="Those that could not be read or answered.")
    retries: int
    latency_s: Latency | None = Field(description="null before the first answer.")


class CamerasReply(Strict):
    """All cameras."""

    cameras: list[CameraReply]


class CameraEvent(Strict):
    """The data of an event `answer`."""

    camera: str
    frame: int = Field(description="Number of the frame, from 1; numbers of a camera only rise.")
    dropped: int = Field(description="How many frames of the camera were dropped so far.")
    latency_s: float = Field(description="From frame to answer, in seconds.")
    answer: ImageAnswers = Field(
        description="`image_sha256` of a video's frame is the hash of its size and pixels."
    )
