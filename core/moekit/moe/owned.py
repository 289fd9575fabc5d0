"""Calls of modules that plugins wrote: what they raise or return wrongly names them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from moekit.errors import PluginError, is_nobodys
from moekit.moe.routing import Routing, is_traced


def owned(whose: str, call: Callable[[], Any], *, part: str = "") -> Any:
    """What a call returns; what it raises becomes an error that names its owner.

    The working folder and torch's default type, on which files and numbers of others depend, are
    put back. While a graph is recorded the call is made as it is.

    Args:
        whose: The owner, such as `expert moekit-texture/texture`.
        call: The call.
        part: What failed, for the message; the owner if empty.

    Raises:
        PluginError: The call raised.
    """
    if is_traced() or torch.compiler.is_compiling():
        return call()
    try:
        with in_place():
            return call()
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        if is_nobodys(error):
            raise
        said = f": {error}" if str(error) else ""
        raise PluginError(
            f"{part or whose} failed: {type(error).__name__}{said}",
            whose=whose,
            fix="report it to its authors with the traceback of --debug, or choose another",
            code="plugin/run-failed",
        ) from error


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """Puts back the working folder and torch's default type, within microseconds."""
    folder, dtype = _folder(), torch.get_default_dtype()
    try:
        yield
    finally:
        if torch.get_default_dtype() is not dtype:
            torch.set_default_dtype(dtype)
        if folder and _folder() != folder:
            with contextlib.suppress(OSError):
                os.chdir(folder)


def _folder() -> str:
    """The working folder; empty if it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 - in microseconds
    except OSError:
        return ""


def expert_output(whose: str, y: object, x: Tensor) -> Tensor:
    """An expert's output, of the shape of its input.

    Raises:
        PluginError: It is something else.
    """
    if isinstance(y, Tensor) and y.shape == x.shape and y.is_floating_point():
        return y
    got = f"a {type(y).__name__}"
    if isinstance(y, Tensor):
        got = f"the shape {tuple(y.shape)}" if y.shape != x.shape else f"numbers of {y.dtype}"
    raise PluginError(
        f"{whose} gave {got} for the shape {tuple(x.shape)}",
        whose=whose,
        fix="report it to its authors: an expert gives floating-point numbers of the shape of its"
        " input",
        code="plugin/bad-expert",
    )


def gate_output(whose: str, routing: object) -> Routing:
    """What a gate chose.

    Raises:
        PluginError: It is no `Routing`.
    """
    if isinstance(routing, Routing):
        return routing
    raise PluginError(
        f"{whose} gave a {type(routing).__name__}, not a moekit.Routing",
        whose=whose,
        fix="report it to its authors",
        code="plugin/bad-gate",
    )
