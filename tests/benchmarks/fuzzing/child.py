"""Fuzzes readers one after the other, each for a time, in a process of its own.

What is expected of each input is an answer, or an error of moekit with a code. A failure is any
other exception, a warning, more than `MOST_SECONDS` of processor time, more than `MOST_BYTES` of
memory, a file written elsewhere, a process or a connection begun, pickled code looked up, or a
screenful of output. The process itself may hang or die: the input is on disk before it is read.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import importlib
import json
import logging
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from moekit.errors import MoekitError
from tests.benchmarks.fuzzing.draw import Content, folders
from tests.benchmarks.fuzzing.reader import Reader

MOST_SECONDS = 5.0
MOST_WAIT = 120.0
"""By the clock, which other programs make long."""
MOST_BYTES = 2**30
MOST_OUTPUT = 2**14
LONGEST_MESSAGE = 6200
ROUND = 100
"""Inputs that hypothesis draws before the time is looked at."""
HARNESS = ("options.txt", "place.txt")
"""Files that stand for what is typed: they are read by the harness, and always are files."""
_FILES = 8
"""Files of a reader that are replaced by things that are no files."""


class TooSlowError(BaseException):
    """Raised by the timer; no reader may catch it."""


class Guard:
    """Sees what Python does that no reader may do, by its audit events."""

    def __init__(self, allowed: Path) -> None:
        self.faults: list[str] = []
        self.on = False
        self._allowed = (f"{allowed}{os.sep}", "/dev/null", "/proc/self/")
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn"):
            self.faults.append(f"{event} {arguments[0]!r}"[:200])
        elif event in ("socket.connect", "pickle.find_class"):
            self.faults.append(f"{event} {arguments[1:]!r}"[:200])
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._written(event, path)
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink"):
            several = event in ("os.rename", "os.link", "os.symlink")
            folder = arguments[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else -1
            for path in arguments[: 1 + several]:
                self._written(event, path, folder)

    def _written(self, event: str, path: Any, folder: Any = -1) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            opened = isinstance(folder, int) and folder >= 0  # the path begins in this open folder
            start = Path(f"/proc/self/fd/{folder}").resolve() if opened else Path.cwd()
            place = (start / os.fsdecode(path)).parent.resolve()
            if not f"{place}{os.sep}".startswith(self._allowed):
                self.faults.append(f"{event} {os.fsdecode(path)}"[:200])


class Fuzzing:
    """Counts what a reader makes of inputs, and keeps those on which it fails.

    Args:
        reader: The reader.
        work: An empty folder.
        found: Where inputs go on which it fails.
        guard: Of the process.
    """

    def __init__(self, reader: Reader, work: Path, found: Path, guard: Guard) -> None:
        self.reader, self.found = reader, found
        self.answers: collections.Counter[str] = collections.Counter()
        self.codes: collections.Counter[str] = collections.Counter()
        self.failures: dict[str, dict[str, Any]] = {}
        self.inputs = 0
        self.slowest = 0.0
        lift_limit()
        self._here = work / "here"
        self._here.mkdir()
        self._known = reader.prepare(self._here)
        self.base: Content = {
            path.relative_to(self._here).as_posix(): path.read_bytes()
            for path in sorted(self._here.rglob("*"))
            if path.is_file()
        }
        self._guard = guard
        self._cache = Path(os.environ["MOEKIT_CACHE_DIR"])

    def run(self, seconds: float, start: int) -> None:
        """Reads the sound files, what is no file, and drawn inputs until the time is up."""
        end = time.process_time() + seconds
        with contextlib.suppress(Exception):
            self.reader.read(self._here, self._known)  # imports what it needs, however long
        self.try_one({})
        limit_memory()
        if not self.answers:
            raise AssertionError(f"the sound files are not read: {self.codes} {self.failures}")
        files = [name for name in self.base if name not in HARNESS]
        for name in sorted(files, key=lambda name: (name.endswith(".png"), name))[:_FILES]:
            for kind in KINDS:
                self.try_one({}, (name, kind))

        @settings(
            max_examples=ROUND,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(folders(self.base))
        def draw(changed: Content) -> None:
            if time.process_time() < end:
                self.try_one(changed)

        while time.process_time() < end:
            start += 1
            seed(start)(draw)()

    def try_one(self, changed: Content, odd: tuple[str, str] | None = None) -> None:
        """Reads the files with some of them changed, or one replaced by something else."""
        self._put(changed)
        if odd is not None:
            KINDS[odd[1]](self._here / odd[0])
        outcome = self._outcome()
        self.inputs += 1
        if outcome is not None:
            self._keep(outcome, changed, odd)
        for name in changed:
            (self._here / name).write_bytes(self.base[name])
        if odd is not None:
            self._restore(odd[0])
        if self.inputs % 50 == 0:
            shutil.rmtree(self._cache, ignore_errors=True)

    def _put(self, changed: Content) -> None:
        last = {name: content.decode("latin-1") for name, content in changed.items()}
        (self.found / "last.json").write_text(json.dumps(last), encoding="utf-8")
        for name, content in changed.items():
            (self._here / name).write_bytes(content)

    def _restore(self, name: str) -> None:
        path = self._here / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()
        path.write_bytes(self.base[name])

    def _outcome(self) -> tuple[str, str] | None:
        """Reads once; a failure as its kind and where it is."""
        written = os.fstat(2).st_size
        reset_peak()
        began, before = time.process_time(), peak_bytes()
        self._guard.faults.clear()
        self._guard.on = True
        failure: tuple[str, str] | None = None
        try:
            with warnings.catch_warnings(), timer():
                warnings.simplefilter("error")
                answer = self.reader.read(self._here, self._known)
            self.answers[answer or "read"] += 1
        except MoekitError as error:
            self.codes[error.code] += 1
            if len(str(error)) > LONGEST_MESSAGE:
                failure = "a message of many lines", f"{error.code}, {len(str(error))} characters"
        except TooSlowError:
            failure = "slow", where()
        except BaseException as error:
            failure = type(error).__name__, where(str(error))
        finally:
            self._guard.on = False
        seconds = time.process_time() - began
        self.slowest = max(self.slowest, seconds)
        if failure is None and self._guard.faults:
            failure = "what no reader does", self._guard.faults[0]
        if failure is None and peak_bytes() - before > MOST_BYTES:
            failure = "memory", f"{(peak_bytes() - before) >> 20} MiB"
        if failure is None and os.fstat(2).st_size - written > MOST_OUTPUT:
            failure = "output", f"{os.fstat(2).st_size - written} bytes"
        return failure

    def _keep(
        self, outcome: tuple[str, str], changed: Content, odd: tuple[str, str] | None
    ) -> None:
        kind, place = outcome
        key = f"{kind} | {place.splitlines()[0]}"
        entry = self.failures.setdefault(key, {"count": 0, "size": sys.maxsize, "detail": place})
        entry["count"] += 1
        size = sum(map(len, changed.values()))
        if size < entry["size"]:
            folder = self.found / hashlib.sha256(key.encode()).hexdigest()[:12]
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            about = {"reader": self.reader.name, "failure": key, "odd": odd, "detail": place}
            (folder / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
            for name, content in changed.items():
                (folder / name.replace("/", "__")).write_bytes(content)
            entry.update(size=size, detail=place, kept=folder.name, odd=odd)

    def as_json(self) -> dict[str, Any]:
        """The counts."""
        return {
            "inputs": self.inputs,
            "answers": dict(self.answers.most_common()),
            "refused": dict(self.codes.most_common()),
            "failures": self.failures,
            "slowest_s": round(self.slowest, 2),
        }


def where(told: str = "") -> str:
    """The innermost place in moekit of the exception at hand, and below it the whole trace."""
    error = sys.exc_info()[1]
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    own = [one for one in frames if "/moekit" in one.filename and "fuzzing" not in one.filename]
    last = (own or list(frames))[-1]
    deepest = frames[-1]
    name = "/".join(Path(last.filename).parts[-3:])
    head = f"{name}:{last.lineno} ({Path(deepest.filename).name}:{deepest.lineno})"
    return "\n".join([head, told[:500], traceback.format_exc()[-3000:]])


@contextlib.contextmanager
def timer() -> Iterator[None]:
    """Ends what takes too much processor time, or waits for what never comes."""

    def stop(*_: object) -> None:
        raise TooSlowError

    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MOST_WAIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def reset_peak() -> None:
    """Forgets the greatest memory so far, if the system lets a process do so."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def lift_limit() -> None:
    """As it was before `limit_memory`."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def limit_memory() -> None:
    """A reader without bounds ends in an error here, and not with the machine's other programs."""
    most = status_bytes("VmData") + 2 * MOST_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def status_bytes(name: str) -> int:
    """What Linux says of this process; 0 elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def peak_bytes() -> int:
    """The greatest memory since then."""
    known = status_bytes("VmHWM")
    return known or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


KINDS: dict[str, Callable[[Path], None]] = {
    "absent": Path.unlink,
    "empty": lambda path: path.write_bytes(b"") and None,
    "a folder": _folder,
    "a pipe": _pipe,
    "a device": _endless,
    "a link to itself": _loop,
}


GROUPS = ("pictures", "data", "medical", "runs", "plugins")


def readers(group: str) -> tuple[Reader, ...]:
    """The readers of a group."""
    module = importlib.import_module(f"tests.benchmarks.fuzzing.readers_{group}")
    return tuple(module.READERS)


def main() -> None:
    """Fuzzes some readers of a group; writes counts.json into a folder of each."""
    group, seconds, start, work, found, *names = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    place = Path(work)
    os.environ["MOEKIT_CACHE_DIR"] = str(place / "cache")
    os.environ["MOEKIT_CONFIG_DIR"] = str(place / "settings")
    os.environ["TMPDIR"] = str(place)
    guard = Guard(place)
    for reader in readers(group):
        if reader.name in names:
            own, kept = place / folder_of(reader.name), Path(found) / folder_of(reader.name)
            own.mkdir(parents=True)
            kept.mkdir(parents=True, exist_ok=True)
            fuzzing = Fuzzing(reader, own, kept, guard)
            try:
                fuzzing.run(float(seconds), int(start))
            finally:
                counts = json.dumps(fuzzing.as_json())
                (kept / "counts.json").write_text(counts, encoding="utf-8")


def folder_of(name: str) -> str:
    """The folder of a reader."""
    return re.sub(r"\W+", "-", name)


if __name__ == "__main__":
    main()
