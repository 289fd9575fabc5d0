"""The optional libraries of exports; without them an error names the extra that brings them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from typing import Any

from moekit.errors import UsageError
from moekit.text import first_line

INSTALL = 'pip install -e "core[export]"'
_REPORTING = "openvino_telemetry"
_LIMIT = "ONEDNN_MAX_CPU_ISA"
_LIBRARIES = ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


def need(name: str) -> Any:
    """Imports one of the libraries.

    Raises:
        UsageError: It is not installed.
    """
    try:
        with _unreported():
            library = importlib.import_module(name)
            if name == "openvino":
                _settle_instructions(library)
            return library
    except ImportError as error:
        raise UsageError(
            f"this needs {name}, which cannot be imported ({first_line(error)})",
            whose=name,
            fix=f"in a clone of the repository: {INSTALL}",
            code="usage/not-installed",
        ) from error


@functools.cache
def _settle_instructions(openvino: Any) -> None:
    """Lets OpenVINO find the instructions of the processor by itself.

    `ONEDNN_MAX_CPU_ISA` is meant for torch. OpenVINO has a oneDNN of its own that reads it too,
    once, while its other kernels do not: on a processor with more instructions a graph may then
    crash the process, or find no kernel. So it is read here without the variable.
    """
    limit = os.environ.pop(_LIMIT, None)
    if limit is None:
        return
    try:
        openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    finally:
        os.environ[_LIMIT] = limit


@contextlib.contextmanager
def _unreported() -> Iterator[None]:
    """Keeps the libraries from reporting their use over the network, and from the home folder.

    OpenVINO reports each import if its package for that can be imported, NNCF if a variable
    is not set.
    """
    os.environ.setdefault("NNCF_CI", "1")
    hidden = _REPORTING not in sys.modules
    if hidden:
        sys.modules[_REPORTING] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_REPORTING]


def library_versions() -> dict[str, str]:
    """The versions of those of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
