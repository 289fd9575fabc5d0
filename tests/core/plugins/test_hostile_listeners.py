"""Listeners that attack: the owner is named, the process and the run stay what they were."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from moekit import Registry, RunEvent
from moekit.plugins.discovery import discover
from moekit.plugins.settings_kept import read_umask
from moekit.testing import refused

PRELUDE = "import json, logging, os, random, signal, subprocess, sys, warnings, moekit\n"
HOOK = """
@moekit.hookimpl
def moekit_run_finished(event):
    folder = event.folder
"""
QUIET = {
    "prints": "print('noise')",
    "writes to the descriptor": "os.write(1, b'noise')",
    "starts a program that prints": "subprocess.run(['echo', 'noise'])",
    "changes the folder": "os.chdir('/')",
    "changes the umask": "os.umask(0o777)",
    "changes the environment": "os.environ.clear(); os.environ['X_HOSTILE'] = '1'",
    "ignores signals": "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.alarm(1)",
    "makes warnings errors": "warnings.simplefilter('error')",
    "configures logging": "logging.basicConfig(level=0); logging.disable(50)",
    "draws random numbers": "import numpy, torch; numpy.random.seed(1); random.seed(1); "
    "torch.manual_seed(1)",
    "changes torch": "import torch; torch.set_default_dtype(torch.float64); "
    "torch.set_num_threads(3); torch.set_grad_enabled(False); "
    "torch.use_deterministic_algorithms(True); torch.set_default_device('meta')",
    "closes the streams": "sys.stdout.close(); sys.stdout = None",
    "changes its record": "event.record['metrics']['auroc'] = 1.0; event.record.clear()",
    "changes the path": "sys.path.clear(); sys.argv.clear(); sys.setrecursionlimit(100)",
}
FAILING = {
    "exits": ("sys.exit(0)", "plugin/listener-failed"),
    "exits at once": ("os._exit(0)", "plugin/listener-failed"),
    "raises": ("raise RuntimeError('x' * 10**6)", "plugin/listener-failed"),
    "raises what is no exception": (
        "raise type('Odd', (BaseException,), {})('odd')",
        "plugin/listener-failed",
    ),
    "edits the result": (
        "(folder / 'result.json').write_text('{}')",
        "plugin/listener-changed-run",
    ),
    "edits the record in place": (
        "file = (folder / 'run.json').open('r+'); file.write('['); file.close()",
        "plugin/listener-changed-run",
    ),
    "keeps size and time": (
        "p = folder / 'predictions.csv'; s = p.stat(); t = p.read_text(); "
        "p.write_text(t.replace('0.5', '0.9')); os.utime(p, ns=(s.st_atime_ns, s.st_mtime_ns))",
        "plugin/listener-changed-run",
    ),
    "deletes an overlay": (
        "(folder / 'overlays' / 'a.jpg').unlink()",
        "plugin/listener-changed-run",
    ),
    "deletes the run": (
        "import shutil; shutil.rmtree(folder)",
        "plugin/listener-changed-run",
    ),
    "makes a result of its own": (
        "(folder / 'validation-2.csv').write_text('x')",
        "plugin/listener-changed-run",
    ),
    "puts a link in its place": (
        "p = folder / 'result.json'; p.unlink(); p.symlink_to('/dev/null')",
        "plugin/listener-changed-run",
    ),
    "edits and raises": (
        "(folder / 'run.json').unlink(); raise OSError('gone')",
        "plugin/listener-changed-run",
    ),
}
GOOD = PRELUDE + HOOK + "    (folder / 'tracker.log').write_text(json.dumps(event.record))\n"
RECORD = {"metrics": {"auroc": 0.5}}


@pytest.fixture
def run(tmp_path):
    """A run folder with files of moekit."""
    folder = tmp_path / "run"
    (folder / "overlays").mkdir(parents=True)
    for name in ("run.json", "result.json"):
        (folder / name).write_text(json.dumps(RECORD))
    (folder / "predictions.csv").write_text("id,score\na,0.5\n")
    (folder / "kit.safetensors").write_bytes(bytes(1000))
    (folder / "overlays" / "a.jpg").write_bytes(b"picture")
    return folder


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def state():
    return {
        "folder": Path.cwd(),
        "umask": read_umask(),
        "environment": dict(os.environ),
        "signals": {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)},
        "alarm": signal.getitimer(signal.ITIMER_REAL),
        "warnings": list(warnings.filters),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "random": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        "torch": (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_device(),
        ),
        "streams": (sys.stdout, sys.stderr, os._exit),
        "path": (list(sys.path), list(sys.argv), sys.getrecursionlimit()),
    }


def tell(install, run, body, **options):
    listens = {"listens": ["run_finished"], "provides": {}}
    install("hostile", hooks=f"{PRELUDE}{HOOK}    {body}\n", manifest=listens)
    install("tracker", hooks=GOOD, manifest=listens)
    about = RunEvent(command="evaluate", folder=run, kit="k", dataset="d", record=RECORD)
    plugins = [one for one in discover() if one.distribution in ("hostile", "tracker")]
    Registry(plugins, **options).tell("run_finished", about)


@pytest.mark.parametrize("body", QUIET.values(), ids=QUIET.keys())
def test_what_a_listener_changes_in_the_process_is_put_back(body, install, run, capfd):
    before, known = state(), files(run)
    tell(install, run, body)
    after = state()
    assert {name for name in before if before[name] != after[name]} == set()
    assert RECORD == {"metrics": {"auroc": 0.5}}
    added = {"tracker.log": json.dumps(RECORD).encode()}
    assert {name: files(run)[name] for name in (*known, *added)} == {**known, **added}
    captured = capfd.readouterr()
    assert captured.out == ""
    if "noise" in body:
        assert "hostile says: noise" in captured.err


@pytest.mark.parametrize(("body", "code"), FAILING.values(), ids=FAILING.keys())
def test_a_listener_that_fails_is_named_and_the_run_is_whole(
    body, code, install, run, caplog, monkeypatch
):
    known = files(run)
    tell(install, run, body)
    found = files(run)
    assert {name: found.get(name) for name in known} == known
    assert set(found) - set(known) == {"tracker.log"}
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert f"[{code}]" in record.getMessage()
    assert "hostile 1.0" in record.getMessage()
    assert len(record.getMessage()) < 10_000


def test_a_failing_listener_is_an_error_in_strict_mode(install, run):
    with refused("plugin/listener-changed-run", match=r"result\.json"):
        tell(install, run, "(folder / 'result.json').unlink()", strict=True)
    assert (run / "result.json").is_file()


def test_a_listener_may_keep_files_of_its_own(install, run):
    tell(install, run, "(folder / 'mine').mkdir(); (folder / 'mine' / 'a').write_text('1')")
    assert (run / "mine" / "a").read_text() == "1"
    assert (run / "tracker.log").is_file()


def test_a_fork_of_a_listener_may_end(install, run):
    body = "pid = os.fork(); pid or os._exit(7); assert os.waitpid(pid, 0)[1] >> 8 == 7"
    tell(install, run, body, strict=True)


def test_an_interrupt_is_an_interrupt(install, run):
    before = state()
    with pytest.raises(KeyboardInterrupt):
        tell(install, run, "os.chdir('/'); raise KeyboardInterrupt")
    assert state() == before


def test_other_processes_are_not_harmed():
    """The guard in a program whose standard output is closed."""
    code = (
        "import os, sys; os.close(1)\n"
        "from moekit.plugins.guard import guarded\n"
        "with guarded() as caught:\n    os.umask(0o777)\n"
        "sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 3
