"""How commands import what computes."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

_COMPILER = "torch._dynamo.utils"
STEP = "loading the libraries"
"""What a command does while it imports."""


def _unheard(what: str, done: int, total: int) -> None:
    del what, done, total


@contextlib.contextmanager
def quick_imports(on_progress: Callable[[str, int, int], None] = _unheard) -> Iterator[None]:
    """Imports modules without looking for cycles of objects, and timm without torch's compiler.

    Modules stay, so the collector finds nothing, and takes a fifth of the time that torch and timm
    need. What the first imports made is left out of later collections too (`gc.freeze`).

    Args:
        on_progress: Called with the name of this step, what is done and the total.
    """
    on_progress(STEP, 0, 1)
    first = "torch" not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        if first:
            with _compiler_later():
                importlib.import_module("timm")
        yield
        on_progress(STEP, 1, 1)
    finally:
        if first:
            gc.freeze()
            gc.enable()


@contextlib.contextmanager
def _compiler_later() -> Iterator[None]:
    """Imports torch's compiler when something is compiled.

    Of the time that timm needs, 44% go into the compiler: torchvision imports it for a function
    that it calls on GPUs only, timm to mark methods that are not to be compiled. Both get what
    imports the compiler once it is called.
    """
    import torch.compiler

    if "torch._dynamo" in sys.modules:
        yield
        return
    disable = torch.compiler.disable
    torch.compiler.disable = functools.partial(_disable_later, disable)
    sys.modules[_COMPILER] = _Later(_COMPILER)
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if isinstance(sys.modules.get(_COMPILER), _Later):
            del sys.modules[_COMPILER]


class _Later(types.ModuleType):
    """In the place of a module: its functions import it when they are called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name != "is_compile_supported":
            return getattr(self._real(), name)
        return lambda *given: getattr(self._real(), name)(*given)

    def _real(self) -> types.ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)


def _disable_later(
    disable: Callable[..., Any], fn: Any = None, recursive: bool = True, **options: Any
) -> Any:
    """What `torch.compiler.disable` gives, made when the function is called for the first time."""
    if fn is None:
        return lambda given: _disable_later(disable, given, recursive, **options)
    if not isinstance(fn, types.FunctionType):
        return disable(fn, recursive, **options)

    @functools.cache
    def made() -> Callable[..., Any]:
        found: Callable[..., Any] = disable(fn, recursive, **options)
        return found

    return functools.wraps(fn)(lambda *given, **named: made()(*given, **named))
