"""The hooks of the texture plugin."""

from __future__ import annotations

from moekit import ExpertSpec, hookimpl
from moekit_texture.expert import TextureExpert


@hookimpl
def moekit_experts() -> list[ExpertSpec]:
    """The texture expert."""
    return [
        ExpertSpec(
            name="texture",
            build=TextureExpert,
            summary="a bottleneck on the local contrast of neighbouring patches",
            source="local contrast normalisation, Jarrett et al. 2009, ICCV",
        )
    ]
