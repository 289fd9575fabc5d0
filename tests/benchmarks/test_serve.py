"""The service next to the bare predictor: images a second, added latency, the gain of batches.

A run of the industrial kit on solar cells, made here if `MOEKIT_BENCH_RUNS` holds none. Server,
predictor and load take turns in the same minutes; a figure is the median of ratios within a round.
`MOEKIT_ROUNDS` is the number of rounds, 7 if not given.
On a machine that others use the figures in seconds say little, and the ratios something. The
processor time of server and predictor, which other programs change little, stands next to each.
"""

import contextlib
import os
import statistics
import time

import pytest
import torch

from moekit.serve.client import Line, form_of
from moekit.serve.load import Load, send_load
from tests.benchmarks.served import Bare, cells, run_of, served
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
LEAST_THROUGHPUT, MOST_ADDED_MS, LEAST_BATCHING = 0.9, 5.0, 1.4
BATCH, CLIENTS, MANY_CLIENTS = 8, 8, 16
SIDES = (56,) if TINY else (224, 112)
"""Sides of the input; the first is the kit's own, and the figures' own."""
ROUNDS = 2 if TINY else int(os.environ.get("MOEKIT_ROUNDS", "7"))
BATCHES, PAIRS = (2, 6) if TINY else (10, 20 * ROUNDS)
"""Full batches of a turn that are timed, and single images."""
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_serve.py"


@pytest.fixture(scope="module")
def files(runs):
    """Pictures to answer, of both classes in turn."""
    folders = [sorted((cells(runs) / name).iterdir())[:24] for name in ("good", "defective")]
    return [path for pair in zip(*folders, strict=True) for path in pair]


@pytest.fixture(scope="module")
def contents(files):
    """Their bytes."""
    return [path.read_bytes() for path in files]


def about():
    """What the figures depend on."""
    return {"threads": torch.get_num_threads(), "load_average": round(os.getloadavg()[0], 1)}


def spread(values):
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "quartiles": [low, high]}


def medians(values):
    """The median of each list, by its name."""
    return {name: statistics.median(some) for name, some in values.items()}


def loaded(server, contents, clients):
    """How fast a server answers clients that each wait for their answer, one image a request.

    The first answers and the last, when not all clients ask, are left out of the rate.
    """
    count = BATCHES * BATCH + 2 * MANY_CLIENTS
    load = Load(url=server.url, images=contents, clients=clients, seconds=3600.0, requests=count)
    begun, answered = server.cpu_s, server.answered
    replies = send_load(load, time.perf_counter())
    spent, images = server.cpu_s - begun, server.answered - answered
    assert {one.outcome for one in replies} == {"200"}
    assert images == count
    done = sorted(one.done for one in replies)[MANY_CLIENTS - 1 : -MANY_CLIENTS]
    return {
        "images_per_s": (len(done) - 1) / (done[-1] - done[0]),
        "latency_ms_p50": 1000 * statistics.median(one.done - one.sent for one in replies),
        "cpu_ms": 1000 * spent / images,
    }


def test_the_service_keeps_the_pace_of_the_bare_predictor(
    runs, files, contents, tmp_path, record, record_figure
):
    run = run_of(runs, SIDES[0])
    ratios, with_reading, rates, cpu = [], [], [], {"service": [], "bare": []}
    with (
        served(run, tmp_path, "--batch-size", BATCH, "--queue", 256) as server,
        contextlib.closing(Bare(run, files, log=tmp_path / "bare.log")) as bare,
    ):
        images = BATCHES * BATCH
        bare.seconds(BATCH, BATCH)

        def alone(*, reads):
            began = bare.cpu_s
            seconds = bare.seconds(images, BATCH, reads=reads)
            if not reads:
                cpu["bare"].append(1000 * (bare.cpu_s - began) / images)
            return images / seconds

        def together():
            found = loaded(server, contents, MANY_CLIENTS)
            cpu["service"].append(found["cpu_ms"])
            return found["images_per_s"]

        for number in range(ROUNDS):
            turns = [
                together,
                lambda: alone(reads=False),
                lambda: alone(reads=True),
            ]
            found = {}
            for turn in [*range(number % 3, 3), *range(number % 3)]:
                found[turn] = turns[turn]()
            ratios.append(found[0] / found[1])
            with_reading.append(found[0] / found[2])
            rates.append(found[0])
    figures = spread(ratios)
    told = {
        "input": SIDES[0],
        "batch_size": BATCH,
        "clients": MANY_CLIENTS,
        "to_pictures_in_memory": figures,
        "to_files_in_memory": spread(with_reading),
        "images_per_s": statistics.median(rates),
        "processor_ms_per_image": (milliseconds := medians(cpu)),
        "processor_ratio": milliseconds["bare"] / milliseconds["service"],
        "rounds": ROUNDS,
        **about(),
    }
    record("serve_throughput", told)
    record_figure(
        "serve.throughput_ratio",
        round(figures["median"], 3),
        command=COMMAND,
        rounds=ROUNDS,
        quartiles=[round(one, 3) for one in figures["quartiles"]],
        to_files=round(told["to_files_in_memory"]["median"], 3),
        processor_ratio=round(told["processor_ratio"], 3),
        **about(),
    )
    assert TINY or figures["median"] >= LEAST_THROUGHPUT


def test_a_single_image_is_answered_little_later(
    runs, files, contents, tmp_path, record, record_figure
):
    run = run_of(runs, SIDES[0])
    added, with_reading, whole, cpu = [], [], [], {"service": 0.0, "bare": 0.0}
    with (
        served(run, tmp_path, "--batch-size", 1) as server,
        contextlib.closing(Bare(run, files, log=tmp_path / "bare.log")) as bare,
        contextlib.closing(Line(server.url)) as line,
    ):
        made = [form_of([content], ()) for content in contents]

        def asked(number):
            began, spent = time.perf_counter(), server.cpu_s
            status, _, _ = line.post(*made[number % len(made)])
            assert status == 200
            took = time.perf_counter() - began
            cpu["service"] += 1000 * (server.cpu_s - spent) / PAIRS
            return took

        for number in range(3):
            asked(number)
            bare.seconds(1, 1)
        cpu["service"] = 0.0
        for number in range(PAIRS):
            first = asked(number) if number % 2 else None  # all pictures are of one size
            spent = bare.cpu_s
            alone = bare.seconds(1, 1)
            cpu["bare"] += 1000 * (bare.cpu_s - spent) / PAIRS
            reading = bare.seconds(1, 1, reads=True)
            took = asked(number) if first is None else first
            added.append(1000 * (took - alone))
            with_reading.append(1000 * (took - reading))
            whole.append(1000 * took)
    figures = spread(added)
    told = {
        "input": SIDES[0],
        "to_pictures_in_memory_ms": figures,
        "to_files_in_memory_ms": spread(with_reading),
        "request_ms": spread(whole),
        "processor_ms": cpu,
        "pairs": PAIRS,
        **about(),
    }
    record("serve_latency", told)
    record_figure(
        "serve.added_ms_p50",
        round(figures["median"], 2),
        command=COMMAND,
        rounds=ROUNDS,
        quartiles=[round(one, 2) for one in figures["quartiles"]],
        request_ms=round(told["request_ms"]["median"], 1),
        to_files=round(told["to_files_in_memory_ms"]["median"], 2),
        processor_ms=round(cpu["service"] - cpu["bare"], 2),
        **about(),
    )
    assert TINY or figures["median"] < MOST_ADDED_MS


def test_batches_of_several_clients_are_faster(runs, contents, tmp_path, record, record_figure):
    found = {}
    for side in SIDES:
        run = run_of(runs, side)
        ratios, latencies, cpu = [], {BATCH: [], 1: []}, {BATCH: [], 1: []}
        with contextlib.ExitStack() as stack:
            servers = {
                size: stack.enter_context(served(run, tmp_path, "--batch-size", size))
                for size in (BATCH, 1)
            }
            for number in range(ROUNDS):
                rates = {}
                for size in list(servers)[:: 1 if number % 2 else -1]:
                    one = loaded(servers[size], contents, CLIENTS)
                    rates[size] = one["images_per_s"]
                    latencies[size].append(one["latency_ms_p50"])
                    cpu[size].append(one["cpu_ms"])
                ratios.append(rates[BATCH] / rates[1])
        found[side] = {
            **spread(ratios),
            "latency_ms_p50": medians(latencies),
            "processor_ms_per_image": (milliseconds := medians(cpu)),
            "processor_ratio": milliseconds[1] / milliseconds[BATCH],
        }
    record("serve_batching", {"batch_size": BATCH, "clients": CLIENTS, "input": found, **about()})
    first = found[SIDES[0]]
    record_figure(
        "serve.batching_ratio",
        round(first["median"], 3),
        command=COMMAND,
        rounds=ROUNDS,
        quartiles=[round(one, 3) for one in first["quartiles"]],
        by_input={side: round(one["median"], 3) for side, one in found.items()},
        processor_by_input={side: round(one["processor_ratio"], 3) for side, one in found.items()},
        **about(),
    )
    assert TINY or first["median"] >= LEAST_BATCHING
