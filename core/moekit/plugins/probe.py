"""Runs in a process of its own: imports one plugin under watch, and reports what it did.

Called as `python -m moekit.plugins.probe DISTRIBUTION ENTRY ANSWER.json`. While a plugin imports
torch the watch is off: what torch itself does is not the plugin's doing, and what the plugin
changes of torch after that is seen. A plugin that imports no torch is spared those seconds.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import os
import random
import sys
import tempfile
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from moekit.errors import PluginError
from moekit.plugins.activation import Activated, activate
from moekit.plugins.discovery import Plugin, discover

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILE_EVENTS = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink")
_ITSELF = "::1"
_SOCKET_EVENTS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")


class Watch:
    """Notes what is done while it is on. An audit hook cannot be removed, so it has a switch."""

    def __init__(self) -> None:
        self.on = False
        self.files: list[str] = []
        self.sockets: list[str] = []
        self.processes: list[str] = []
        self.changed: set[str] = set()
        self._before: dict[str, Any] = {}
        sys.addaudithook(self._hear)

    def begin(self) -> None:
        """Notes the global state, and listens."""
        self._before = global_state()
        self.on = True

    def end(self) -> None:
        """Listens no more, and adds what differs from the state that was noted to `changed`."""
        self.on = False
        after = global_state()
        self.changed |= {name for name, value in self._before.items() if after[name] != value}

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and _writes(arguments):
            self.files.append(str(arguments[0]))
        elif event in _FILE_EVENTS:
            self.files.append(f"{event} {arguments[0]}")
        elif event in _SOCKET_EVENTS and not _asks_for_ipv6(event, arguments):
            self.sockets.append(event)
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn"):
            self.processes.append(event)


def _asks_for_ipv6(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a free port of the machine itself is bound: so urllib3 asks for IPv6 on its import.

    It talks to nobody, and nobody can reach it.
    """
    address = arguments[1] if event == "socket.bind" else None
    return isinstance(address, tuple) and address[0] == _ITSELF and address[1] == 0


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if mode is not None:
        return any(letter in str(mode) for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITES)


def global_state() -> dict[str, Any]:
    """What a plugin must leave alone when it is imported."""
    return {
        **_state_of_torch(),
        "numpy's random state": str(np.random.get_state()),
        "Python's random state": hash(random.getstate()),
        "the working folder": str(Path.cwd()),
        "the environment": dict(os.environ),
        "the root logger": str((logging.root.level, logging.root.handlers)),
    }


def _state_of_torch() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):  # absent, or about to be imported
        return {}
    return {
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's number of threads": torch.get_num_threads(),
        "torch's random state": hash(bytes(torch.get_rng_state().tolist())),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


class _TorchUnwatched:
    """A finder of modules that ends a watch before torch is imported, and begins it again after.

    Args:
        watch: Is on.
        caught: Descriptor of the file that holds the output; what torch prints is cut off.
    """

    def __init__(self, watch: Watch, caught: int) -> None:
        self._watch = watch
        self._caught = caught
        self._looking = False

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        """The usual specification of torch; None of any other module."""
        del path, target
        if name != "torch" or self._looking:
            return None
        self._looking = True
        spec = importlib.util.find_spec(name)
        self._looking = False
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        run = loader.exec_module

        def unwatched(module: ModuleType) -> None:
            del loader.exec_module
            self._watch.end()
            said = self._flushed()
            try:
                run(module)
            finally:
                self._flushed()
                os.ftruncate(self._caught, said)
                os.lseek(self._caught, said, os.SEEK_SET)
                self._watch.begin()

        loader.exec_module = unwatched
        return spec

    def _flushed(self) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        return os.lseek(self._caught, 0, os.SEEK_CUR)


def watched(action: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Runs an action with its output caught at the level of file descriptors."""
    watch = Watch()
    sys.dont_write_bytecode = True
    with tempfile.TemporaryFile() as caught:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(caught.fileno(), number)
        finder = _TorchUnwatched(watch, caught.fileno())
        sys.meta_path.insert(0, finder)
        watch.begin()
        try:
            result = action()
        finally:
            watch.end()
            sys.meta_path = [one for one in sys.meta_path if one is not finder]
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
        caught.seek(0)
        output = caught.read().decode("utf-8", "replace")
    return result, {
        "output": output,
        "files": watch.files,
        "sockets": watch.sockets,
        "processes": watch.processes,
        "changed": sorted(watch.changed),
    }


def examine(plugin: Plugin) -> dict[str, Any]:
    """Activates a plugin under watch, then runs its health checks."""

    def attempt() -> Activated | PluginError:
        try:
            return activate(plugin)
        except PluginError as error:
            return error

    activated, noted = watched(attempt)
    if isinstance(activated, PluginError):
        return {**noted, "error": activated.what, "health": {}}
    checks = {
        name: spec for (kind, name), spec in activated.records.items() if kind == "health_checks"
    }
    return {**noted, "error": "", "health": {name: _ask(spec.run) for name, spec in checks.items()}}


def _ask(run: Callable[[], str | None]) -> str | None:
    try:
        answer = run()
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        return f"the check itself failed: {type(error).__name__}: {error}"
    if answer is None or (isinstance(answer, str) and answer):
        return answer
    return f"the check itself failed: it answered {answer!r}, not None or a sentence"


def main(distribution: str, entry: str, answer: str) -> None:
    """Writes the answer of `examine` to a file."""
    gc.disable()  # what is imported stays, and the process ends soon
    plugin = next(
        found for found in discover() if (found.distribution, found.entry) == (distribution, entry)
    )
    Path(answer).write_text(json.dumps(examine(plugin), allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:4])
