"""The optional libraries of the server; without them an error names the extra that brings them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from moekit.errors import UsageError
from moekit.text import first_line

NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
INSTALL = 'pip install -e "core[serve]"'


def check_libraries(needed: Sequence[str] = NEEDED, *, extra: str = "serve") -> None:
    """Imports what the server needs.

    Args:
        needed: Names of modules.
        extra: The extra that brings them.

    Raises:
        UsageError: One of the libraries is not installed, or cannot be imported.
    """
    for name in needed:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UsageError(
                f"the server needs {name}, which cannot be imported ({first_line(error)})",
                whose=name,
                fix=f"in a clone of the repository: {INSTALL.replace('serve', extra)}",
                code="usage/not-installed",
            ) from error
