"""moekit's service as a Ray Serve deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moekit_ray_serve.deployment import NAME, application

__all__ = ["NAME", "application"]


def __getattr__(name: str) -> Any:
    """Imports the deployment if somebody asks for it, so that the hooks load without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from moekit_ray_serve import deployment

    return getattr(deployment, name)
