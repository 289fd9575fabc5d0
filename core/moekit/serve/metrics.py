"""Figures of the server for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

from moekit.serve.service import Outcome

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ServeMetrics:
    """Counts and durations. They hold names of kits and no word of an image."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("moekit_requests", "Responses.", ("path", "status"))
        self._images = self._counter(
            "moekit_images", "Answers, and images without one.", ("kit", "outcome")
        )
        self._dropped = self._counter(
            "moekit_dropped_requests", "Requests given up before they were computed.", ("reason",)
        )
        self._waiting = Gauge(
            "moekit_waiting_images", "Images in the queue.", registry=self._registry
        )
        self._request_s = self._histogram(
            "moekit_request_seconds", "From the head of a request to its answers.", _SECONDS
        )
        self._batch_s = self._histogram(
            "moekit_batch_seconds", "Reading and computing a batch.", _SECONDS
        )
        self._batch_images = self._histogram("moekit_batch_images", "Images of a batch.", _COUNTS)
        self._batch_requests = self._histogram(
            "moekit_batch_requests", "Requests of a batch.", _COUNTS
        )

    def add(self, collector: Collector) -> None:
        """Adds figures that are read when they are asked for."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return generate_latest(self._registry)

    def response(self, path: str, status: int) -> None:
        """A response was sent; `path` is one of the interface's own."""
        self._requests.labels(path, str(status)).inc()

    def answered(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """A request has its answers."""
        self._request_s.observe(seconds)
        for one in outcomes:
            for kit in one.rows:
                self._images.labels(kit, "answered").inc()
            for kit in one.failed:
                outcome = "failed" if one.unreadable is None else "unreadable"
                self._images.labels(kit, outcome).inc()

    def waiting(self, images: int) -> None:
        """How many images wait."""
        self._waiting.set(images)

    def batch(self, requests: int, images: int, seconds: float) -> None:
        """A batch was computed."""
        self._batch_requests.observe(requests)
        self._batch_images.observe(images)
        self._batch_s.observe(seconds)

    def dropped(self, reason: str) -> None:
        """A request was not computed."""
        self._dropped.labels(reason).inc()

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self._registry)
