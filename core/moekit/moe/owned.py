"""Calls of modules that plugins wrote: what they raise or return wrongly names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from moekit.errors import PluginError, is_nobodys
from moekit.moe.routing import Routing, is_traced


def owned(whose: str, call: Callable[[], Any], *, part: str = "") -> Any:
    """What a call returns; what it raises becomes an error that names its owner.

    While a graph is recorded the call is made as it is.

    Args:
        whose: The owner, such as `expert moekit-texture/texture`.
        call: The call.
        part: What failed, for the message; the owner if empty.

    Raises:
        PluginError: The call raised.
    """
    if is_traced():
        return call()
    try:
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


def expert_output(whose: str, y: object, x: Tensor) -> Tensor:
    """An expert's output, of the shape of its input.

    Raises:
        PluginError: It is something else.
    """
    if isinstance(y, Tensor) and y.shape == x.shape:
        return y
    got = f"the shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
    raise PluginError(
        f"{whose} gave {got} for the shape {tuple(x.shape)}",
        whose=whose,
        fix="report it to its authors: an expert gives a tensor of the shape of its input",
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
