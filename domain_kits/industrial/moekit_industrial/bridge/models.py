"""A model of anomalib by its name and arguments."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torchvision.transforms.v2 import Resize

from moekit import MoekitError, UsageError, WeightsError
from moekit_industrial.bridge.library import AnomalibModule, PreProcessor, first_line, models, quiet

_SWITCHES = ("pre_processor", "post_processor", "evaluator", "visualizer")
"""Parts of a model that moekit does itself: images as moekit reads them, scores as they are."""

BACKBONE_ARGUMENTS = ("backbone", "encoder_name", "teacher", "rgb_backbone_name")
"""What models call the argument that names a timm backbone."""


def find_class(name: str) -> type[AnomalibModule]:
    """The class of a model: `Patchcore`, `patchcore` or a path such as `package.module.Class`.

    Raises:
        UsageError: There is none of that name.
    """
    home, _, last = name.rpartition(".")
    if home:
        try:
            found = getattr(importlib.import_module(home), last)
        except (ImportError, AttributeError, ValueError) as error:
            raise _unknown(name, f"it cannot be imported ({error})") from error
    else:
        known = {_plain(one): one for one in models.list_models("pascal")}
        if _plain(name) not in known:
            raise _unknown(name, f"anomalib knows {', '.join(sorted(known.values()))}")
        found = getattr(models, known[_plain(name)])
    if not (inspect.isclass(found) and issubclass(found, AnomalibModule)):
        raise _unknown(name, "it is not a subclass of anomalib.models.AnomalibModule")
    return found


def parse_arguments(settings: Iterable[str]) -> dict[str, Any]:
    """Arguments of a model from texts `KEY=VALUE`; a value is a Python literal, else a text.

    Raises:
        UsageError: A text has no `=` or names a key twice.
    """
    arguments: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier() or key in arguments:
            raise UsageError(
                "the argument has no value" if key not in arguments else f"{key} is given twice",
                whose=f"--set {text}",
                fix="write --set KEY=VALUE, once for each argument of the model",
                code="usage/bad-argument",
            )
        try:
            arguments[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[key] = value
    return arguments


def with_shared_backbone(
    model_class: type[AnomalibModule], arguments: Mapping[str, Any], architecture: str
) -> dict[str, Any]:
    """The arguments with the shared backbone's name if the model takes one and none is given."""
    known = inspect.signature(model_class).parameters
    named = {name: architecture for name in BACKBONE_ARGUMENTS[:2] if name in known}
    return {**named, **arguments}


def build_model(
    model_class: type[AnomalibModule], arguments: Mapping[str, Any], *, image_size: int
) -> AnomalibModule:
    """Builds a model without the parts that moekit does itself.

    Of anomalib's preprocessing only the size is left, from which models learn how large their input
    is; images of that size pass through it as they are.

    Args:
        model_class: Its class.
        arguments: Its arguments.
        image_size: Side of the square images that it will get, in pixels.

    Raises:
        UsageError: The model refuses the arguments.
        WeightsError: It wants weights that are not there.
    """
    known = inspect.signature(model_class).parameters
    taken = sorted(set(arguments) & set(_SWITCHES))
    if taken:
        raise UsageError(
            "moekit reads the images and judges the scores itself",
            whose=f"--set {taken[0]}",
            fix="leave the argument out",
            code="usage/bad-argument",
        )
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        offered = [name for name in known if name not in _SWITCHES]
        raise UsageError(
            f"{model_class.__name__} takes no such argument",
            whose=f"--set {unknown[0]}",
            fix=f"it takes {', '.join(offered) or 'none'}",
            code="usage/bad-argument",
        )
    switched: dict[str, Any] = {name: False for name in _SWITCHES if name in known}
    if "pre_processor" in switched:
        switched["pre_processor"] = PreProcessor(transform=Resize((image_size, image_size)))
    try:
        with quiet():
            return model_class(**arguments, **switched)
    except MoekitError:
        raise
    except (ImportError, OSError) as error:
        raise WeightsError(
            f"{model_class.__name__} needs something that is not there ({first_line(error)})",
            whose=model_class.__name__,
            fix="install or provide it, or choose another model",
            code="weights/not-found",
        ) from error
    except Exception as error:  # a model may raise anything
        raise UsageError(
            f"{model_class.__name__} refuses its arguments ({first_line(error)})",
            whose="--set",
            fix="change them; layers of a vision transformer are blocks.0, blocks.1 and so on",
            code="usage/bad-argument",
        ) from error


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _unknown(name: str, why: str) -> UsageError:
    return UsageError(
        f"there is no model {name!r}: {why}",
        whose="MODEL",
        fix="give the name of a class in anomalib.models, or the path of one",
        code="usage/unknown-name",
    )
