"""Progress where no terminal draws bars: lines that come often enough, with the time left."""

import pytest

from moekit.cli import output


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
