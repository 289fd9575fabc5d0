"""The shared backbone's weights in the place where a model would fetch weights of its own."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, cast

import timm
from safetensors.torch import load_file
from timm.models import vision_transformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from moekit import WeightsError
from moekit.backbone import WeightFile, keep_trained_positions
from moekit_industrial.bridge.library import first_line


@contextlib.contextmanager
def shared_weights(architecture: str, file: WeightFile) -> Iterator[list[nn.Module]]:
    """Gives pretrained timm models of one architecture inside the block the weights of a file.

    Models of anomalib build their backbone with `timm.create_model`, most of them from weights that
    timm would fetch. Inside the block the architecture gets the weights of `file` in their place. A
    vision transformer takes images of any size, its positions resampled as in `moekit.backbone`.
    What is built without pretrained weights, such as a student, stays as it is.

    Args:
        architecture: timm's name, without a tag.
        file: Its weights in timm's layout.

    Yields:
        The backbones that got the weights, as they are built.

    Raises:
        WeightsError: A pretrained model of another architecture is built, or the weights do not
            fit.
    """
    built: list[nn.Module] = []
    # anomalib turns antialiasing of position tables off for all of timm, which is put back here.
    kept = timm.create_model, vision_transformer.resample_abs_pos_embed
    timm.create_model = functools.partial(_create, kept[0], architecture, file, built)
    try:
        yield built
    finally:
        timm.create_model, vision_transformer.resample_abs_pos_embed = kept


def _create(
    create: Any,
    architecture: str,
    file: WeightFile,
    built: list[nn.Module],
    model_name: str,
    pretrained: bool = False,
    **options: Any,
) -> nn.Module:
    if pretrained and model_name.partition(".")[0] != architecture:
        raise WeightsError(
            f"the model is built on pretrained weights of {model_name}, which are not the shared "
            "ones, and this command downloads nothing",
            whose=model_name,
            fix=f"name the shared backbone if the model takes one (such as --set backbone="
            f"{architecture}), or give that one's weights with --architecture "
            f"{model_name.partition('.')[0]} --weights FILE.safetensors",
            code="weights/needs-download",
        )
    if not pretrained:
        return cast(nn.Module, create(model_name, pretrained=False, **options))
    options.pop("pretrained_cfg", None)
    is_transformer = "dynamic_img_size" in options or architecture.startswith("vit_")
    if is_transformer and not options.get("features_only"):
        options.pop("img_size", None)
        options["dynamic_img_size"] = True
    try:
        model: nn.Module = create(
            model_name,
            pretrained=True,
            pretrained_cfg_overlay={"file": str(file.path), "custom_load": False},
            **options,
        )
    except (RuntimeError, KeyError, OSError) as error:
        raise WeightsError(
            f"the weights do not fit {model_name} ({first_line(error)})",
            whose=file.path.name,
            fix="give the architecture that the file was made for",
            code="weights/misfit",
        ) from error
    _check(model, model_name, file)
    if isinstance(model, VisionTransformer) and not file.smooth_positions:
        keep_trained_positions(model)
    built.append(model)
    return model


def _check(model: nn.Module, name: str, file: WeightFile) -> None:
    """Every parameter must be one of the file's tensors, under whatever name.

    timm passes over what it does not find if it builds a part of a model, and leaves that at
    random numbers.
    """
    given = {_mark(tensor) for tensor in load_file(file.path).values()}
    strange = [name for name, one in model.named_parameters() if _mark(one.detach()) not in given]
    if strange:
        raise WeightsError(
            f"the weights do not fit {name}: {len(strange)} tensors are not in the file, such as "
            f"{strange[0]}",
            whose=file.path.name,
            fix="give the architecture that the file was made for",
            code="weights/misfit",
        )


def _mark(tensor: Tensor) -> tuple[tuple[int, ...], float]:
    return tuple(tensor.shape), float(tensor.float().double().sum())
