"""`moekit anomalib`: models of anomalib on moekit's data, backbone weights and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit import CommandSpec

if TYPE_CHECKING:
    import click


def _build() -> click.Command:
    from moekit_industrial.bridge.command import anomalib

    return anomalib


ANOMALIB = CommandSpec(
    name="anomalib", build=_build, summary="Fit and evaluate a model of anomalib as a baseline."
)
