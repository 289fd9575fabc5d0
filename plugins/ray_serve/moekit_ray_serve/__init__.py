"""moekit's service as a Ray Serve deployment."""

from moekit_ray_serve.deployment import NAME, application

__all__ = ["NAME", "application"]
