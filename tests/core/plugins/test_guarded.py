"""What a plugin's function changes in the process is put back, wherever moekit calls it."""

import dataclasses
import logging
import os
import pickle
import random
import signal
import sys
import threading
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import moekit
from moekit import Registry
from moekit.errors import is_nobodys, nobody_reads
from moekit.plugins.guarded import _Methods, guarded_record
from moekit.plugins.settings_kept import read_umask, settings_kept
from moekit.tasks.score import SCORE
from moekit.testing import refused


def state():
    """What others depend on."""
    return {
        "folder": Path.cwd(),
        "umask": read_umask(),
        "environment": dict(os.environ),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch": torch.get_rng_state().tolist(),
        "filters": list(warnings.filters),
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
        "logging": (logging.root.manager.disable, logging.root.level),
        "limit": sys.getrecursionlimit(),
        "interrupt": signal.getsignal(signal.SIGINT),
    }


def spoil(*_given, **_named):
    os.chdir("/")
    os.umask(0o777)
    os.environ["MOEKIT_STRICT"] = "1"
    os.environ.pop("HOME", None)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(not torch.is_grad_enabled())
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(5)
    warnings.simplefilter("error")
    sys.excepthook = threading.excepthook = sys.stdout = sys.stderr = None
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(sys.getrecursionlimit() + 100)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return types.SimpleNamespace(add=spoil, finish=spoil)


def hooks_with(**records):
    """Hooks of this process that return records by their kind."""

    def hook(found):
        return moekit.hookimpl(lambda: [found])

    made = types.SimpleNamespace()
    for kind, record in records.items():
        function = hook(record)
        function.__name__ = f"moekit_{kind}"
        setattr(made, f"moekit_{kind}", function)
    return made


@pytest.fixture(scope="module")
def task():
    """A task of another distribution whose functions all spoil the process."""

    def spoiled(record):
        named = {one.name: getattr(record, one.name) for one in dataclasses.fields(record)}
        return dataclasses.replace(
            record, **{name: spoil for name, value in named.items() if callable(value)}
        )

    parts = ("learn", "answering", "judge", "show", "correcting")
    hostile = dataclasses.replace(
        SCORE, name="grade", **{part: spoiled(getattr(SCORE, part)) for part in parts}
    )
    registry = Registry(plugins=[])
    registry.register(hooks_with(tasks=hostile), distribution="hostile")
    return registry.task("grade")


PLACES = [
    (part, field.name)
    for part in ("learn", "answering", "judge", "show", "correcting")
    for field in dataclasses.fields(getattr(SCORE, part))
    if callable(getattr(getattr(SCORE, part), field.name))
]


@pytest.mark.parametrize(("part", "name"), PLACES, ids=".".join)
def test_a_function_of_a_task_leaves_the_process_as_it_was(task, part, name):
    before = state()
    made = getattr(getattr(task, part), name)(None, None, None)
    assert state() == before
    if name in ("tallier", "whole"):
        made.add([], {})
        made.finish()
        assert state() == before


def test_it_does_so_if_it_fails_too_and_from_other_threads(task):
    def fail(*_given):
        spoil()
        raise ZeroDivisionError

    failing = guarded_record(
        "tasks",
        dataclasses.replace(SCORE, answering=dataclasses.replace(SCORE.answering, answers=fail)),
    )
    before, entered, leave = state(), threading.Event(), threading.Event()
    with pytest.raises(ZeroDivisionError):
        failing.answering.answers(None, None, None, None)
    assert state() == before

    def slow():
        with settings_kept(draws=True):
            os.chdir("/")
            entered.set()
            leave.wait(30)

    other = threading.Thread(target=slow)
    other.start()
    entered.wait(30)
    task.show.draw(None, None, None, None)  # begins while the other thread has moved
    leave.set()
    other.join()
    task.show.draw(None, None, None, None)
    assert state() == before


def test_a_reader_that_draws_gets_other_numbers_for_each_item():
    class Reader:
        def items(self, paths):
            for _ in paths:
                yield float(np.random.rand()), random.random()

    found = list(_Methods(Reader()).items(["a", "b", "c"]))
    assert len(set(found)) == 3


def test_random_numbers_of_others_are_put_back_but_a_loss_may_draw(task):
    random.seed(3)
    np.random.seed(3)

    def draws(*_given):
        return random.random(), float(np.random.rand())

    made = guarded_record(
        "tasks",
        dataclasses.replace(
            SCORE,
            judge=dataclasses.replace(SCORE.judge, choose=draws),
            learn=dataclasses.replace(SCORE.learn, loss=draws),
        ),
    )
    assert made.judge.choose(None, "") == made.judge.choose(None, "")
    first, second = (made.learn.loss({}, {}, None) for _ in range(2))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_an_import_that_spoils_the_process_spoils_it_for_nobody(install, task):
    del task
    install(
        "vandal",
        metrics=("m",),
        hooks=(
            "import os, sys, torch, moekit\n"
            "def spoil():\n"
            "    os.chdir('/'); os.umask(0o777); sys.excepthook = sys.stderr = None\n"
            "    torch.set_default_dtype(torch.float64); torch.manual_seed(1)\n"
            "spoil()\n"
            "@moekit.hookimpl\n"
            "def moekit_metrics():\n"
            "    spoil()\n"
            "    raise BrokenPipeError('no reader')\n"
        ),
    )
    before = state()
    with refused("plugin/hook-failed", match="BrokenPipeError"):
        Registry().metric("m")
    assert state() == before


def test_a_broken_pipe_is_nobodys_only_if_nobody_reads_the_output():
    assert not nobody_reads()
    assert not is_nobodys(BrokenPipeError("a socket of a plugin"))
    kept, (reads, writes) = os.dup(1), os.pipe()
    try:
        os.dup2(writes, 1)
        assert not nobody_reads()
        os.close(reads)
        assert nobody_reads()
        assert is_nobodys(BrokenPipeError("head has gone"))
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(writes)


def test_records_of_moekit_itself_are_as_they_are_and_guarded_ones_are_equal():
    assert Registry(plugins=None).task("moekit/score") is SCORE
    one, other = (guarded_record("tasks", SCORE) for _ in range(2))
    assert one == other
    assert one.judge.save != SCORE.judge.save
    loads = guarded_record("report_sections", types.SimpleNamespace())
    assert loads == types.SimpleNamespace()
    assert pickle.loads(pickle.dumps(one.learn.loss)) == one.learn.loss
