"""Cameras: the highest rate of eight that is sustained, frame to answer, and memory over 20,000.

A run of the industrial kit on solar cells, made here if `MOEKIT_BENCH_RUNS` holds none. Frames come
at a fixed rate from memory; decoding a video is not part of it. A rate is sustained if at most 1%
of its frames are dropped and none fails. `MOEKIT_SECONDS` is how long each rate is held, 10 if not
given. On a machine that others use the figures in seconds say little. Memory is measured with a kit
that answers at once: files are read, hashed and decoded, batches made and answers handed out.
"""

import contextlib
import gc
import os
import statistics
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from moekit.moe.instructions import cpu_computes_bf16
from moekit.plugins.registry import Registry
from moekit.runtime.together import Answers
from moekit.serve.batching import Batcher
from moekit.serve.facts import KitFacts
from moekit.serve.opening import open_runs
from moekit.serve.options import ServeOptions
from moekit.serve.service import Service
from moekit.serve.streams.loop import Streams
from moekit.serve.streams.sources import Grabbed
from moekit.tasks.classify.answers import ClassAnswer
from tests.benchmarks.served import _moekit, cells, run_of
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
CAMERAS = 8
SECONDS = 1 if TINY else float(os.environ.get("MOEKIT_SECONDS", "10"))
MOST_DROPPED = 0.01
SHARES = (1.0,) if TINY else (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
"""Rates that are tried, as shares of what batches alone would bear."""
FRAMES = 200 if TINY else 20_000
PIECES = 8
MOST_GROWTH_MIB = 16
SIDES = (56,) if TINY else (224,)
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_cameras.py"
GPU_TFLOPS, GPU_SHARE, LAUNCH_US, LAUNCHES = 989.0, 0.3, 5.0, 300
"""Of an H200: dense bf16 as its data sheet has it, the share that is reached, and the time to start
a kernel, of which a pass has some hundreds."""
GFLOP = {224: 11.7}
"""Of one image of 257 tokens by the 12 blocks of DINOv2-S, 2 for each product and sum."""


class Paced:
    """A camera that gives one picture after the other at a fixed rate.

    Args:
        pictures: Them.
        rate: Frames a second; 0 for the next as soon as one was taken.
        first_s: Seconds before the first, so that cameras do not all come at once.
    """

    kind = "stream"

    def __init__(self, pictures, rate, first_s=0.0):
        self.pictures, self.rate, self.first_s = pictures, rate, first_s

    def frames(self, stop):
        due, number = time.monotonic() + self.first_s, 0
        while not stop.is_set():
            wait = due - time.monotonic()
            if wait > 0 and stop.wait(wait):
                return
            picture = self.pictures[number % len(self.pictures)]
            yield Grabbed(at=time.monotonic(), load=lambda picture=picture: picture)
            number += 1
            due += 1 / self.rate


@pytest.fixture(scope="module")
def pictures(runs):
    """Decoded frames of both classes."""
    paths = [
        one for name in ("good", "defective") for one in sorted((cells(runs) / name).iterdir())
    ]
    return [Image.open(path).convert("RGB").resize((SIDES[0],) * 2) for path in paths[:32]]


def int8_of(run, runs):
    """The export of a run in int8, made if it is not there."""
    if not list(Path(run).glob("export*/export.json")):
        words = ("export", "industrial", "--run", str(run), "--data", f"folder={cells(runs)}")
        _moekit(*words, "--int8", "--allow-slower", check=True)
    return "openvino-int8"


@contextlib.contextmanager
def opened(run, backend="torch"):
    options = ServeOptions(batch_size=CAMERAS, queue=64)
    device = "cpu" if backend == "torch" else "auto"
    with contextlib.closing(
        open_runs({"kit": Path(run)}, options=options, backend=backend, device=device)
    ) as service:
        yield service


@contextlib.contextmanager
def streaming(service, sources):
    batcher = Batcher(service, batch_size=CAMERAS, gather_s=0.004, places=64)
    streams = Streams(sources, batcher=batcher, kits=["kit"], within_s=30)
    batcher.start()
    streams.start()
    try:
        yield streams
    finally:
        streams.close()
        batcher.close()


def batch_seconds(service, pictures):
    """The median time of a full batch."""
    taken = []
    for _ in range(3 if TINY else 9):
        began = time.perf_counter()
        service(["kit"], pictures[:CAMERAS])
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def held(service, pictures, rate):
    """What eight cameras of a rate come to, once the first second is over."""
    sources = {f"c{n}": Paced(pictures, rate, first_s=n / (CAMERAS * rate)) for n in range(CAMERAS)}
    with streaming(service, sources) as streams:
        time.sleep(SECONDS + 1)
        counts = {
            name: sum(one.counts[name] for one in streams.cameras)
            for name in ("answered", "dropped", "failed")
        }
        latency = [one.latencies()[0] for one in streams.cameras]
    known = [one for one in latency if one]
    return {
        "rate_per_camera": rate,
        **counts,
        "dropped_share": counts["dropped"] / max(1, counts["dropped"] + counts["answered"]),
        **{
            f"latency_ms_{name}": 1000 * statistics.median(one[name] for one in known)
            for name in ("p50", "p95", "p99")
        },
    }


def test_eight_cameras_at_the_highest_rate_that_is_sustained(runs, pictures, record, record_figure):
    found = {}
    for name in ("fp32", "bf16", "int8"):
        if name == "bf16" and not cpu_computes_bf16():
            continue  # emulated, it says nothing of a machine that has it
        run = run_of(runs, SIDES[0], "bf16" if name == "bf16" else "fp32")
        backend = int8_of(run, runs) if name == "int8" else "torch"
        with opened(run, backend) as service:
            seconds = batch_seconds(service, pictures)
            tried = []
            for share in SHARES:
                tried.append(held(service, pictures, share / seconds))
                if tried[-1]["dropped_share"] <= MOST_DROPPED and not tried[-1]["failed"]:
                    break
        found[name] = {"batch_s": seconds, "best": tried[-1], "tried": tried}
    gpu_ms = None
    if SIDES[0] in GFLOP:
        flop = CAMERAS * GFLOP[SIDES[0]] * 1e9
        gpu_ms = 1000 * flop / (GPU_TFLOPS * 1e12 * GPU_SHARE) + LAUNCH_US * LAUNCHES / 1000
    told = {
        "cameras": CAMERAS,
        "input": SIDES[0],
        "seconds_a_rate": SECONDS,
        "found": found,
        "gpu_arithmetic_batch_ms": gpu_ms,
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
    }
    record("serve_cameras", told)
    for name, one in found.items():
        best = one["best"]
        assert best["failed"] == 0
        record_figure(
            f"serve.cameras_p95_ms_{name}",
            round(best["latency_ms_p95"], 1),
            command=COMMAND,
            p50=round(best["latency_ms_p50"], 1),
            rate_per_camera=round(best["rate_per_camera"], 2),
            dropped_share=round(best["dropped_share"], 4),
            threads=told["threads"],
            load_average=told["load_average"],
        )


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Instant:
    """In the place of kits: answers at once, so that all else is what takes memory."""

    device = torch.device("cpu")

    def __init__(self):
        self.registry = Registry()

    def answer(self, pictures, *, kits, batch_size, levels=None):
        found = Answers()
        for kit in kits:
            found[kit] = [ClassAnswer(verdict="a", top=(("a", 0.9), ("b", 0.1)))] * len(pictures)
        return found


def test_memory_is_flat_over_20_000_frames(runs, record, record_figure):
    folder = cells(runs)
    contents = [path.read_bytes() for path in sorted(folder.rglob("*.png"))[:32]]
    hashed = "0" * 64
    facts = KitFacts(
        name="kit",
        kit="kit",
        task="classify",
        columns=("verdict", "probability", "top"),
        backbone_sha256=hashed,
        kit_sha256=hashed,
        settings={},
        bits=None,
        disclaimer="",
        caution="",
    )
    memory, threads = [], []
    with contextlib.closing(Service(Instant(), {"kit": facts}, batch_size=CAMERAS)) as service:
        seconds = batch_seconds(service, contents)
        sources = {f"c{n}": Paced(contents, 1.2 / seconds) for n in range(CAMERAS)}
        with streaming(service, sources) as streams:

            def answered():
                return sum(one.counts["answered"] for one in streams.cameras)

            for piece in range(1, PIECES + 1):
                while answered() < piece * FRAMES / PIECES:
                    time.sleep(0.05)
                gc.collect()
                memory.append(resident_mib())
                threads.append(threading.active_count())
            counts = {
                name: sum(one.counts[name] for one in streams.cameras)
                for name in ("answered", "dropped", "failed")
            }
    growth = memory[-1] - memory[1]
    told = {
        "frames": counts,
        "resident_mib": [round(one, 1) for one in memory],
        "growth_mib": growth,
        "threads": threads,
    }
    record("serve_cameras_memory", told)
    record_figure(
        "serve.cameras_growth_mib",
        round(growth, 1),
        command=COMMAND,
        frames=counts["answered"],
        dropped=counts["dropped"],
    )
    assert counts["failed"] == 0
    assert TINY or growth <= MOST_GROWTH_MIB
    assert len(set(threads[1:])) == 1
