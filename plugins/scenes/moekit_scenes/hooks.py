"""The hooks of the plugin."""

from __future__ import annotations

from moekit import ExpertSpec, KitSpec, hookimpl
from moekit_scenes.context import ContextExpert
from moekit_scenes.kit import SCENES


@hookimpl
def moekit_experts() -> list[ExpertSpec]:
    """The context expert."""
    return [
        ExpertSpec(
            name="context",
            build=ContextExpert,
            summary="a bottleneck that sees a patch in rings around it, and in its row and column",
            source="strip pooling, Hou et al. 2020, arXiv:2003.13328; dilated rings, Yu and Koltun "
            "2016, arXiv:1511.07122",
        )
    ]


@hookimpl
def moekit_kits() -> list[KitSpec]:
    """The kit `scenes`."""
    return [SCENES]
