"""Errors: one tree, three lines, one exit code each."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import moekit.errors
from moekit import (
    DataError,
    ImageError,
    MoekitError,
    PluginError,
    StorageError,
    UsageError,
    WeightsError,
)
from moekit.cli import main as command

CODES = {
    MoekitError: 1,
    UsageError: 2,
    PluginError: 3,
    DataError: 4,
    ImageError: 4,
    WeightsError: 4,
    StorageError: 1,
}
Run = Callable[..., tuple[int, str, str]]
each_error = pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)


@each_error
def test_an_error_says_what_whose_and_what_to_do(kind: type[MoekitError]) -> None:
    code = f"{kind.prefix}/it-failed"
    error = kind("it failed", whose="some file", fix="mend it", code=code)
    lines = [f"it failed [{code}]", "  where: some file", "  to do: mend it"]
    assert str(error).splitlines() == lines
    assert (error.what, error.whose, error.fix) == ("it failed", "some file", "mend it")
    assert error.code == code


@each_error
def test_an_error_has_its_exit_code(kind: type[MoekitError]) -> None:
    assert kind.exit_code == CODES[kind]


def test_no_error_is_outside_the_tree() -> None:
    found = {value for _, value in inspect.getmembers(moekit.errors, inspect.isclass)}
    classes = {one for one in found if one.__module__ == moekit.errors.__name__}
    assert classes == set(CODES)
    assert all(issubclass(kind, MoekitError) for kind in classes)


def test_the_drawn_tree_is_the_true_one() -> None:
    drawn = (moekit.errors.__doc__ or "").splitlines()
    lines = {line.split("Error ")[0].strip("│├└─ "): line for line in drawn if "exit" in line}
    for kind, code in CODES.items():
        line = lines[kind.__name__.removesuffix("Error")]
        assert f"exit {code} " in line
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
        assert depth == len(kind.__mro__) - len(MoekitError.__mro__)


def test_an_error_of_one_image_is_an_error_of_data() -> None:
    assert issubclass(ImageError, DataError)


COMMAND = """
import click
import moekit

@click.command()
@click.option("--debug", is_flag=True, expose_value=False)
def fail():
    raise {error}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that fails as told; returns its exit code and what it printed."""

    def call(error: str, *options: str) -> tuple[int, str, str]:
        (tmp_path / "failing_command.py").write_text(COMMAND.format(error=error))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "failing_command", raising=False)
        monkeypatch.setitem(command._COMMANDS, "fail", "failing_command:fail")
        with pytest.raises(SystemExit) as caught:
            command.main(["fail", *options])
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return call


@each_error
def test_a_command_ends_with_three_lines_and_the_errors_code(
    kind: type[MoekitError], run: Run
) -> None:
    code, out, err = run(f"moekit.errors.{kind.__name__}('it failed', whose='a file', fix='mend')")
    assert code == CODES[kind]
    assert out == ""
    assert err == f"moekit: it failed [{kind.prefix}/other]\n  where: a file\n  to do: mend\n"


def test_debug_adds_the_traceback(run: Run) -> None:
    error = "moekit.UsageError('it failed', whose='a file', fix='mend')"
    _, _, plain = run(error)
    code, out, err = run(error, "--debug")
    assert (code, out) == (2, "")
    assert "Traceback" in err
    assert "failing_command.py" in err
    assert err.endswith(plain)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("ZeroDivisionError('by zero')", 1, "an unforeseen error: ZeroDivisionError: by zero"),
        ("MemoryError()", 1, "the memory is exhausted"),
    ],
)
def test_an_unforeseen_error_is_told_in_three_lines_too(
    error: str, code: int, message: str, run: Run
) -> None:
    found, _, err = run(error)
    assert found == code
    assert err.splitlines()[0] == f"moekit: {message}"
    assert len(err.splitlines()) == 3


def test_a_stop_from_the_keyboard_has_the_code_of_the_shell(run: Run) -> None:
    code, _, err = run("KeyboardInterrupt()")
    assert code == 130
    assert "--resume" in err


@pytest.mark.parametrize("arguments", [["no-such-command"], ["kits", "--no-such-option"]])
def test_a_wrong_command_line_is_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
