"""How the threads of a command wait for each other."""

import os

import pytest

VARIABLE = "OMP_WAIT_POLICY"


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(
    moekit, monkeypatch, given, expected
):
    monkeypatch.setenv(VARIABLE, given or "")  # so that it is restored after the test
    if given is None:
        monkeypatch.delenv(VARIABLE)
    assert moekit("kits").code == 0
    assert os.environ[VARIABLE] == expected
