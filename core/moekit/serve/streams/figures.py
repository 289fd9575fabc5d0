"""Figures of cameras for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from moekit.serve.streams.camera import Camera

_LATENCY = "moekit_camera_latency_seconds"
_QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}


class CameraFigures(Collector):
    """Counts and latencies of cameras, read when they are asked for.

    Args:
        cameras: The cameras.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        self._cameras = cameras

    def collect(self) -> Iterable[Metric]:
        """The figures of all cameras."""
        frames = CounterMetricFamily(
            "moekit_camera_frames", "Frames by what became of them.", labels=("camera", "outcome")
        )
        retries = CounterMetricFamily(
            "moekit_camera_retries", "New tries after a failure.", labels=("camera",)
        )
        running = GaugeMetricFamily(
            "moekit_camera_running", "Whether frames come.", labels=("camera",)
        )
        latency = Metric(_LATENCY, "From frame to answer, of the last frames.", "summary")
        for camera in self._cameras:
            for outcome in camera.counts:
                frames.add_metric((camera.name, outcome), camera.counts[outcome])
            retries.add_metric((camera.name,), camera.retries)
            running.add_metric((camera.name,), float(camera.state == "running"))
            labels = {"camera": camera.name}
            known, total = camera.latencies()
            for name, quantile in _QUANTILES.items():
                if known is not None:
                    latency.add_sample(_LATENCY, {**labels, "quantile": quantile}, known[name])
            latency.add_sample(f"{_LATENCY}_count", labels, camera.counts["answered"])
            latency.add_sample(f"{_LATENCY}_sum", labels, total)
        return frames, retries, running, latency
