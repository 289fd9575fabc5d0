"""Servers for the benchmarks, each in a process of its own, and the bare predictor in another.

The predictor's process is this file: it answers pictures that it has read before, with the same
threads and the same way of waiting for them as `moekit` has, and prints how long that took.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from moekit.testing.child import child_command, child_environment
from tests.benchmarks.task_runs import TINY

ROOT = Path(__file__).parents[2]
CELLS = {0.0: ("good", 80), 1.0: ("defective", 60)}
"""Pictures of each defect probability: their class, and how many."""
_LONGEST_START_S = 300


def run_of(folder, side, precision="fp32"):
    """A finished run of the industrial kit on real solar cells, by its input's side.

    Args:
        folder: Where runs lie; one that is there is taken as it is.
        side: Of the input, in pixels.
        precision: fp32 or bf16, in which it is trained and answers.
    """
    made = folder / (f"serve-{side}" if precision == "fp32" else f"serve-{side}-{precision}")
    record = made / "run.json"
    if not record.is_file() or not json.loads(record.read_text(encoding="utf-8"))["done"]:
        shutil.rmtree(made, ignore_errors=True)
        arguments = [
            *("adapt", "industrial", "--data", f"folder={cells(folder)}", "--out", str(made)),
            *("--image-size", str(side), "--epochs", "1" if TINY else "2", "--views", "1"),
            *("--precision", precision, "--seed", "0"),
        ]
        _moekit(*arguments, check=True, stdout=subprocess.DEVNULL)
    return made


def cells(folder):
    """Files of real solar cells, by class."""
    found = folder / "serve_cells"
    if not found.is_dir():
        utils = pytest.importorskip("elpv_dataset.utils", reason="elpv-dataset is not installed")
        from PIL import Image

        images, defects, _ = utils.load_dataset()
        for value, (name, count) in CELLS.items():
            (found / name).mkdir(parents=True)
            rows = [row for row, one in enumerate(defects) if one == value]
            for row in rows[:count]:
                Image.fromarray(images[row]).save(found / name / f"{row:04}.png")
    return found


def environment():
    """The environment in which another Python finds moekit and these files."""
    paths = child_environment()["PYTHONPATH"]
    return child_environment(PYTHONPATH=os.pathsep.join([str(ROOT), paths]))


def _moekit(*arguments, **options):
    command = child_command("-m", "moekit", *arguments)
    return subprocess.run(command, env=environment(), **options)


class Server:
    """`moekit serve` in a process of its own.

    Args:
        run: The run folder.
        log: Where its messages go.
        port: 0 for any that is free.
        options: Of the command.
    """

    def __init__(self, run, *, log, port=0, options=()):
        self._arguments = {"run": run, "log": log, "options": options}
        command = child_command("-m", "moekit", "serve", f"kit={run}", "--port", str(port))
        command += ["--json", "--device", "cpu", *map(str, options)]
        with log.open("a") as file:
            self.process = subprocess.Popen(
                command, env=environment(), stdout=subprocess.PIPE, stderr=file, text=True
            )
        line = self.process.stdout.readline()
        assert line, log.read_text()
        self.url = json.loads(line)["url"]
        self.log = log

    def stop(self):
        """Ends it as a supervisor does; its code."""
        self.process.send_signal(signal.SIGTERM)
        with self.process.stdout:
            return self.process.wait(_LONGEST_START_S)

    def again(self):
        """Another such server on the same port, once this one has ended."""
        port = int(self.url.rpartition(":")[2])
        return Server(**self._arguments, port=port)

    def close(self):
        """Ends it in any case."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def cpu_s(self):
        """Seconds of processor time so far."""
        return cpu_s(self.process)

    @property
    def answered(self):
        """Images that have an answer so far."""
        with urllib.request.urlopen(f"{self.url}/metrics") as reply:
            rows = [row.split() for row in reply.read().decode().splitlines()]
        counted = 'moekit_images_total{kit="kit",outcome="answered"}'
        return sum(float(row[1]) for row in rows if row[0] == counted)

    def holds(self):
        """What it holds: open files, threads, and MiB of memory."""
        own = Path("/proc") / str(self.process.pid)
        status = dict(
            line.split(":", 1) for line in (own / "status").read_text().splitlines() if ":" in line
        )
        return {
            "files": len(list((own / "fd").iterdir())),
            "threads": int(status["Threads"]),
            "mib": int(status["VmRSS"].split()[0]) / 1024,
        }


def cpu_s(process):
    """Seconds of processor time of a process and all its threads, which other programs change
    little.
    """
    text = (Path("/proc") / str(process.pid) / "stat").read_text()
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(run, folder, *options):
    """A server that is ended at the end."""
    server = Server(run, log=folder / f"server-{time.monotonic_ns()}.log", options=options)
    try:
        yield server
    finally:
        server.close()


class Bare:
    """The predictor in a process of its own.

    Args:
        run: The run folder.
        files: The pictures that it answers in turn.
        log: Where its messages go.
    """

    def __init__(self, run, files, *, log):
        command = child_command("-m", "tests.benchmarks.served", str(run), *map(str, files))
        with log.open("a") as file:
            self._process = subprocess.Popen(
                command,
                env=environment() | {"OMP_WAIT_POLICY": "PASSIVE"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        assert self._ask("ready", 0, 0) == 0, log.read_text()

    def seconds(self, images, batch_size, *, reads=False):
        """How long it takes to answer `images` of the pictures.

        Args:
            images: How many.
            batch_size: Pictures a forward pass.
            reads: Whether it reads their files' bytes in that time, as a server must.
        """
        return self._ask("bytes" if reads else "pictures", images, batch_size)

    def _ask(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline() or "nan")

    @property
    def cpu_s(self):
        """Seconds of processor time so far."""
        return cpu_s(self._process)

    def close(self):
        """Ends it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()


def _answer_requests(run, files):
    import itertools

    from moekit.jobs.session import backbone_of
    from moekit.runtime.runtime import Runtime
    from moekit.serve.reading import read_content

    backbone = backbone_of({"kit": run}, device="cpu", weights="auto", form="auto")
    runtime = Runtime(backbone)
    runtime.load(run, name="kit")
    contents = [path.read_bytes() for path in files]

    def read(content):
        return read_content(content, bits=None, most_pixels=10**8)[0][0]

    pictures = [read(content) for content in contents]
    numbers = itertools.cycle(range(len(files)))
    for line in sys.stdin:
        word, images, batch_size = line.split()
        asked = [next(numbers) for _ in range(int(images))]
        began = time.perf_counter()
        for first in range(0, len(asked), int(batch_size) or 1):
            part = asked[first : first + int(batch_size)]
            given = [read(contents[n]) if word == "bytes" else pictures[n] for n in part]
            runtime.answer(given, kits=["kit"], batch_size=int(batch_size))
        sys.stdout.write(f"{time.perf_counter() - began if asked else 0.0}\n")
        sys.stdout.flush()


def in_threads(count, target):
    """Calls a function in `count` threads, and waits for all; what one raises is raised."""
    failed = []

    def call():
        try:
            target()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    _answer_requests(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
