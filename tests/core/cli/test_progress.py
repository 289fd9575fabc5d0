"""Progress where no terminal draws bars: lines that come often enough, with the time left."""

import pkgutil
import time
from types import SimpleNamespace

import pytest

from moekit.cli import output
from moekit.cli.imports import STEP, quick_imports


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def test_each_quarter_has_a_line(capsys, clock):
    progress = output.ProgressDisplay(None)
    for done in range(1, 101):
        progress.update("images", done, 100)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"images: {done} of 100" for done in (25, 50, 75, 100)]


def test_what_takes_long_says_so_in_between_with_the_time_left(capsys, clock):
    progress = output.ProgressDisplay(None)
    for done in range(11):
        progress.update("training, kit", done, 400)
        clock[0] += 3.0
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "training, kit: 3 of 400, about 20 min left"
    assert len(told) == 3


def test_a_line_is_a_sign_of_life_too(capsys, clock):
    progress = output.ProgressDisplay(None)
    clock[0] += 7.0
    progress.line("step 2 of 3: answer images")
    clock[0] += 7.0
    progress.update("images", 1, 100)
    assert capsys.readouterr().err.splitlines() == ["step 2 of 3: answer images"]


def test_a_step_that_shows_nothing_says_what_it_is_and_for_how_long(capsys, clock):
    progress = output.ProgressDisplay(None)
    progress.beat()
    clock[0] += 9.0
    progress.beat()
    progress.update("quantising", 1, 300)
    for _ in range(10):
        clock[0] += 2.0
        progress.beat()
    progress.update("quantising", 300, 300)
    clock[0] += 9.0
    progress.beat()
    assert capsys.readouterr().err.splitlines() == [
        "still working, for 9 s so far",
        "quantising: 1 of 300; nothing new for 8 s",
        "quantising: 1 of 300; nothing new for 16 s",
        "quantising: 300 of 300",
        "quantising is done; still working, for 9 s so far",
    ]


def test_progress_that_had_no_line_yet_has_one_after_some_seconds(capsys, clock):
    progress = output.ProgressDisplay(None)
    for done in range(1, 6):
        progress.update("images", done, 100)
        clock[0] += 1.9
    progress.beat()
    assert capsys.readouterr().err.splitlines() == ["images: 5 of 100, about 3 min left"]


def test_a_single_step_has_a_line_only_if_it_takes_long(capsys, clock):
    progress = output.ProgressDisplay(None)
    progress.update("reading the data", 0, 1)
    progress.update("reading the data", 1, 1)
    progress.update("recording the graph", 0, 1)
    clock[0] += 9.0
    progress.beat()
    assert capsys.readouterr().err.splitlines() == ["recording the graph: for 9 s so far"]


def test_imports_are_a_step_with_a_name(capsys, clock):
    progress = output.ProgressDisplay(None)
    with quick_imports(progress.update):
        clock[0] += 9.0
        progress.beat()
    clock[0] += 9.0
    progress.beat()
    assert capsys.readouterr().err.splitlines() == [
        f"{STEP}: for 9 s so far",
        f"{STEP} is done; still working, for 9 s so far",
    ]


@pytest.mark.parametrize(
    ("run", "job"),
    [
        ("moekit.cli.adapt:run_adaptation", "moekit.jobs.adapt:adapt_kit"),
        ("moekit.cli.evaluate:run_evaluation", "moekit.jobs.evaluate:evaluate_run"),
        ("moekit.cli.predict:run_prediction", "moekit.jobs.predict:predict_inputs"),
        ("moekit.cli.export:run_export", "moekit.jobs.export:export_run"),
    ],
)
def test_commands_name_the_step_in_which_they_import(monkeypatch, run, job):
    seen = []
    progress = SimpleNamespace(update=lambda *step: seen.append(step), line=lambda _: None)
    monkeypatch.setattr(job.replace(":", "."), lambda *_, **__: None)
    folders = {"inputs": (), "run_folder": "r", "out": "o"} if "predict" in run else {}
    pkgutil.resolve_name(run)("kit", progress=progress, **folders)
    assert seen == [(STEP, 0, 1), (STEP, 1, 1)]


def test_a_command_beats_while_its_steps_are_silent(monkeypatch, capsys):
    beats = []
    monkeypatch.setattr(output, "_BEAT_SECONDS", 0.01)
    monkeypatch.setattr(output.ProgressDisplay, "beat", lambda self: beats.append(self))
    with output.reporter() as progress:
        while len(beats) < 3:
            time.sleep(0.01)
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count
    assert beats[0] is progress


def test_names_in_a_table_are_whole_where_a_file_takes_it(capsys):
    name = "industrial/" + "long_name_of_a_metric_" * 2
    output.print_table("metrics", ("name", "about"), [(name, "what it says " * 8)])
    assert name in capsys.readouterr().out


def test_the_next_command_can_be_copied(capsys):
    output.say_next("evaluate", "industrial", "--data", "folder=my parts", "--run", "runs/a")
    told = capsys.readouterr().err.strip()
    assert told == "next: moekit evaluate industrial --data 'folder=my parts' --run runs/a"


def test_a_command_that_prints_results_says_that_it_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(output, "_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(output, "_BEAT_SECONDS", 0.02)
    with output.still_at("checking a plugin"):
        time.sleep(0.3)
        output.echo("passed")
    told = capsys.readouterr()
    assert told.out == "passed\n"
    assert "checking a plugin: for 0 s so far" in told.err
