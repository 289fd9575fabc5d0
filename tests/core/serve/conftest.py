"""Small runs of an installed kit, and servers for them: in this process and in one of their own."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

from moekit.backbone.build import build_backbone
from moekit.cli.main import main
from moekit.errors import PluginError
from moekit.plugins.registry import Registry
from moekit.runtime.runtime import Runtime
from moekit.serve.app import build_app
from moekit.serve.batching import Batcher
from moekit.serve.corrections.keeper import Keeper
from moekit.serve.facts import KitFacts
from moekit.serve.metrics import ServeMetrics
from moekit.serve.opening import open_service
from moekit.serve.options import ServeOptions
from moekit.serve.reading import content_of
from moekit.serve.server import address_of, bound_socket
from moekit.serve.service import Outcome
from moekit.serve.streams.loop import Streams
from moekit.serve.tokens import Tokens
from tests.small_parts import ARCHITECTURE, SIDE, png, write_parts

TOKEN = "a-token-of-the-tests-0123456789"
RUNS = {"all": (), "other": ("--seed", "1"), "few": ("--top-k", "4")}
"""Options of each run; the first two share all blocks before their own."""


@pytest.fixture(scope="session")
def picture():
    """Makes the bytes of a picture from a seed."""
    return png


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The weights of a small backbone, and finished runs on them."""
    home = tmp_path_factory.mktemp("serve")
    write_parts(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(home / "cache"))
        for name, options in RUNS.items():
            with pytest.raises(SystemExit) as stop:
                main(
                    [
                        *("adapt", "industrial", "--data", f"folder={home / 'parts'}"),
                        *("--out", str(home / name), "--architecture", ARCHITECTURE),
                        *("--weights", str(home / "weights.safetensors"), "--form", "none"),
                        *("--image-size", str(SIDE), "--epochs", "1", "--views", "1"),
                        *("--precision", "fp32", *options),
                    ]
                )
            assert stop.value.code == 0
    return home


@pytest.fixture(scope="session")
def small(folder):
    """The backbone of the runs."""
    weights = str(folder / "weights.safetensors")
    return build_backbone(ARCHITECTURE, weights=weights, top_k=None, form="none")


@pytest.fixture(scope="session")
def runs(folder):
    """The run folders by name."""
    return {name: folder / name for name in RUNS}


@pytest.fixture(scope="session")
def runtime(small, runs):
    """All runs, as a program in Python uses them."""
    made = Runtime(small, registry=Registry())
    for name, run in runs.items():
        made.load(run, name=name)
    return made


@pytest.fixture(scope="session")
def service(small, runs):
    """All runs, as the server uses them; eight images a pass."""
    with contextlib.closing(
        open_service(runs, options=ServeOptions(most_pixels=1_000_000), backbone=small)
    ) as made:
        yield made


class Counted:
    """Hands on to a service, and keeps what it was asked."""

    def __init__(self, service):
        self.service = service
        self.calls = []

    def __call__(self, kits, images):
        self.calls.append((tuple(kits), len(images)))
        return self.service(kits, images)


class Slow:
    """In the place of a service: answers when it is let go, with the hash of each image."""

    def __init__(self):
        self.free = threading.Event()
        self.begun = threading.Event()
        self.calls = []

    def __call__(self, kits, images):
        self.calls.append((tuple(kits), tuple(images)))
        self.begun.set()
        assert self.free.wait(30)
        return [outcome(kits, image) for image in images]


def outcome(kits, image):
    """What a fake says of an image."""
    hashed = content_of(image)
    return Outcome(content=hashed, rows={kit: {"verdict": hashed} for kit in kits}, failed={})


class Broken:
    """In the place of a service: a kit of it fails, or everything does."""

    def __init__(self, error=None):
        self.error = error

    def __call__(self, kits, images):
        if self.error is not None:
            raise self.error
        found = [outcome(kits, image) for image in images]
        fault = PluginError("its head fell off", whose="-", fix="mend it", code="plugin/other")
        return [dataclasses.replace(one, rows={}, failed={kits[0]: fault}) for one in found]


@pytest.fixture
def slow():
    """A slow kit; it is let go at the end."""
    made = Slow()
    yield made
    made.free.set()


def fact(name):
    """What is known of a fake kit."""
    hashed = content_of(name.encode())
    return KitFacts(
        name=name,
        kit=name,
        task="-",
        columns=("verdict",),
        backbone_sha256=hashed,
        kit_sha256=hashed,
        settings={},
        bits=None,
        disclaimer="",
        caution="",
    )


@pytest.fixture
def facts():
    """Facts of fake kits, from their names."""
    return lambda *names: [fact(name) for name in names]


@pytest.fixture
def broken():
    """Makes a kit that fails."""
    return Broken


class Served:
    """A server in this process."""

    def __init__(self, client, batcher, metrics):
        self.client = client
        self.batcher = batcher
        self.metrics = metrics

    def ask(self, *images, kits=(), **fields):
        files = [("images", (f"secret-{n}.png", image)) for n, image in enumerate(images)]
        return self.client.post("/v1/answer", files=files, data={"kits": list(kits), **fields})

    def figure(self, line):
        """A figure of /metrics, by its name with labels; 0 if it is not there."""
        found = [row.split() for row in self.metrics.text().decode().splitlines()]
        return sum(float(row[1]) for row in found if row[0] == line)

    def waits_until(self, true):
        for _ in range(500):
            if true():
                return
            time.sleep(0.01)
        raise AssertionError("it does not come")


@pytest.fixture
def serve():
    """Starts a server in this process: `serve(service)`, with the options of `ServeOptions`."""
    with contextlib.ExitStack() as stack:

        def start(
            answer,
            *,
            kits=None,
            token=None,
            raise_server_exceptions=True,
            corrections=None,
            review=None,
            facts=None,
            **options,
        ):
            if facts is None:
                facts = [fact(name) for name in kits or ("slow",)]
            if hasattr(answer, "facts"):
                facts = list(answer.facts.values())
            chosen = ServeOptions(**{"gather_ms": 0.0, **options})
            keeper = corrections and Keeper(corrections, facts, most_pixels=chosen.most_pixels)
            metrics = ServeMetrics()
            batcher = Batcher(
                answer,
                batch_size=chosen.batch_size,
                gather_s=chosen.gather_ms / 1000,
                places=chosen.queue,
                observer=metrics,
            )
            app = build_app(
                facts,
                batcher=batcher,
                options=chosen,
                metrics=metrics,
                tokens=None if token is None else Tokens([token]),
                keeper=keeper,
                review=review,
            )
            client = TestClient(
                app,
                base_url="http://127.0.0.1",
                raise_server_exceptions=raise_server_exceptions,
            )
            stack.enter_context(client)
            return Served(client, batcher, metrics)

        yield start


class Listening:
    """A server in a thread of this process, on a socket of its own."""

    def __init__(self, url, streams):
        self.url = url
        self.streams = streams

    def json(self, path):
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as response:
            return json.loads(response.read())


@pytest.fixture
def listening():
    """Runs a server: `with listening(service, facts, sources=...) as server`."""

    @contextlib.contextmanager
    def run(answer, facts, *, sources=None, first_wait_s=0.05, keeper=None, review=None, **options):
        chosen = ServeOptions(**{"port": 0, "gather_ms": 0.0, **options})
        metrics = ServeMetrics()
        batcher = Batcher(
            answer, batch_size=chosen.batch_size, gather_s=0, places=chosen.queue, observer=metrics
        )
        names = [one.name for one in facts]
        streams = Streams(
            sources or {}, batcher=batcher, kits=names, within_s=30, first_wait_s=first_wait_s
        )
        app = build_app(
            facts,
            batcher=batcher,
            options=chosen,
            metrics=metrics,
            streams=streams,
            keeper=keeper,
            review=review,
        )
        with contextlib.closing(bound_socket("127.0.0.1", 0)) as socket:
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
            thread.start()
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            try:
                yield Listening(address_of(socket, tls=False), streams)
            finally:
                streams.end_events()
                server.should_exit = True
                thread.join(20)
                assert not thread.is_alive(), "the server ends"

    return run


class Process:
    """`moekit serve` in a process of its own."""

    def __init__(self, process, told, log):
        self.process = process
        self.url = told["url"]
        self.kits = told["kits"]
        self._log = log

    @property
    def log(self):
        return self._log.read_text()


@pytest.fixture(scope="session")
def start_process(folder, tmp_path_factory):
    """Starts `moekit serve` with runs and options, and waits until it listens."""
    started = []

    def start(*names, options=()):
        log = tmp_path_factory.mktemp("log") / "stderr"
        command = [
            *(sys.executable, "-m", "moekit", "serve", *(str(folder / name) for name in names)),
            *("--weights", str(folder / "weights.safetensors"), "--form", "none"),
            *("--port", "0", "--json", "--device", "cpu", *map(str, options)),
        ]
        with log.open("w") as file:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        started.append(process)
        line = process.stdout.readline()
        assert line, log.read_text()
        return Process(process, json.loads(line), log)

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def process(start_process):
    """A server of all runs that takes many requests at once."""
    return start_process("all", "other", options=("--queue", 256, "--gather", 20))


@pytest.fixture
def token_file(tmp_path):
    """A file with a comment and a token."""
    path = tmp_path / "tokens"
    path.write_text(f"# of the tests\n\n{TOKEN}\n")
    return Path(path)
