"""Features of images by the frozen backbone, as a file: the call behind `moekit embed`.

Shapes: N images, D width of the backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moekit.contract.frames import check_side
from moekit.data.content import Contents
from moekit.data.geometry import Fit, Frame
from moekit.data.stream import Preprocess, image_batches
from moekit.errors import DataError, UsageError
from moekit.files import atomic_path, check_writable, to_json
from moekit.jobs.session import open_backbone
from moekit.prediction.inputs import collect_inputs
from moekit.runs.facts import backbone_facts, versions
from moekit.runtime.device import autocast, pick_arithmetic


def embed_images(
    inputs: Sequence[Path],
    *,
    out: Path,
    on_progress: Callable[[str, int, int], None],
    image_size: int = 224,
    fit: Fit = "squash",
    batch_size: int = 16,
    weights: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    top_k: int | None = None,
) -> dict[str, Any]:
    """Writes features of images as a NumPy archive; no kit takes part.

    The archive holds `names` (N), `sha256` (N) of the files, `class_ND` (N, D) the final class
    token, `patch_mean_ND` (N, D) the mean of the final patch tokens, both float32, and `about`,
    JSON with the weights' hash and the settings. `numpy.load` reads it; nothing in it is pickled.

    Args:
        inputs: Image files, and folders of them.
        out: The file, `.npz`.
        on_progress: Called with a description, the images done and their total.
        image_size: Side of the square input, in pixels, a multiple of the patch.
        fit: How pictures are fitted to it.
        batch_size: Images a forward pass.
        weights: As of `build_backbone`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32` or `bf16`.
        top_k: Generic experts a token; as the backbone says if None.

    Returns:
        `n`, the number of images, `width` D, `skipped`: id and reason of each image that could not
        be read, and `notes` on what was left out.

    Raises:
        DataError: There is no image, or none can be read.
        StorageError: The file cannot be written.
        UsageError: The size does not suit the backbone, or the output is no `.npz` or an input.
    """
    notes: list[str] = []
    found = collect_inputs(inputs, tell=notes.append)
    _check_output(out, [path for _, path in found])
    check_writable(out.parent)
    backbone = open_backbone(device=device, weights=weights, top_k=top_k)
    check_side(image_size, backbone.patch, "image_size")
    place = next(backbone.parameters()).device
    arithmetic = pick_arithmetic(precision, place)
    frame = Frame(height=image_size, width=image_size, fit=fit)
    preprocess = Preprocess(frame=frame, mean=backbone.mean, std=backbone.std)
    names: list[str] = []
    hashes: list[str] = []
    arrays: dict[str, list[np.ndarray]] = {"class_ND": [], "patch_mean_ND": []}
    skipped: list[dict[str, str]] = []
    done = 0
    for batch in image_batches(found, preprocess, batch_size=batch_size, contents=Contents()):
        skipped += [{"id": one.id, "reason": one.reason} for one in batch.skipped]
        done += len(batch.rows) + len(batch.skipped)
        if batch.rows:
            with torch.inference_mode(), autocast(place, arithmetic):
                features = backbone(batch.images.to(place))
            names += [found[row][0] for row in batch.rows]
            hashes += [batch.contents[row] for row in batch.rows]
            arrays["class_ND"].append(_plain(features.pooled_BD))
            arrays["patch_mean_ND"].append(_plain(features.patches_BND.mean(1)))
        on_progress("images", done, len(found))
    if not names:
        raise DataError(
            "not one image could be read",
            whose=skipped[0]["id"],
            fix=f"check the images; the first fault: {skipped[0]['reason']}",
            code="data/none-readable",
        )
    about = {
        "backbone": backbone_facts(backbone),
        "input": {"height": frame.height, "width": frame.width, "fit": frame.fit},
        "precision": arithmetic,
        "skipped": skipped,
        "notes": notes,
        "versions": versions(),
    }
    whole = {name: np.concatenate(parts) for name, parts in arrays.items()}
    texts = {"names": names, "sha256": hashes, "about": to_json(about)}
    kept: dict[str, Any] = {**{key: np.array(text) for key, text in texts.items()}, **whole}
    with atomic_path(out) as temporary, temporary.open("wb") as file:
        np.savez(file, **kept)
    width = whole["class_ND"].shape[1]
    return {"n": len(names), "width": width, "skipped": skipped, "notes": notes}


def _check_output(out: Path, inputs: Sequence[Path]) -> None:
    """Refuses an output that would take the place of a picture.

    Raises:
        UsageError: It would, or it is no `.npz`.
    """
    if out.suffix != ".npz" or out.resolve() in {path.resolve() for path in inputs}:
        raise UsageError(
            "the output is no .npz file, or one of the inputs",
            whose=str(out),
            fix="name a new file that ends in .npz",
            code="usage/bad-output",
        )


def _plain(x_BD: torch.Tensor) -> np.ndarray:
    values: np.ndarray = x_BD.float().cpu().numpy()
    return values
