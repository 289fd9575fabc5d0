"""The command line, called as a person calls it, in this process."""

import json

import pytest

from moekit.cli.main import main


class Outcome:
    """Exit code and output of one command."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def moekit(capsys):
    """Runs `moekit ARGUMENTS` and returns its outcome."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(stop.value.code, captured.out, captured.err)

    return run
