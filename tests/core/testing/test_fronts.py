"""The iterator, the report and the pytest front."""

import os

import pytest

from moekit import UsageError
from moekit.testing import ConformanceError, checks_of, parametrize_with_checks, refused, run_checks
from moekit.testing.check import CHECKS, Check

GATES = ("unit_top_k", "top_k_softmax", "top_k_sigmoid", "expert_choice")
KNOWN = "gate/expert_choice/repeats-itself"
METRIC = """
import moekit

@moekit.hookimpl
def moekit_metrics():
    example = moekit.MetricExample(
        scores=(0.5,), labels=(1,), threshold=0.5, value=0.5, source="by hand")
    return [moekit.MetricSpec(
        name="one", compute=lambda s, y, t: 0.5, higher_is_better=True, bounds=(0.0, 1.0),
        summary="one half", source="the tests", examples=(example,))]
"""


def test_ids_are_unique_and_say_what_is_checked():
    checks = list(checks_of("moekit"))
    ids = [one.id for one in checks]
    assert len(set(ids)) == len(ids)
    assert {f"gate/{gate}/weighs-as-it-says" for gate in GATES} <= set(ids)
    assert all(one.summary.endswith(".") for one in checks)


@parametrize_with_checks("moekit")
def test_moekits_own_plugin_keeps_the_contract(check):
    check.run()


def test_an_expected_failure_that_passes_is_a_failure(install):
    install("own", metrics=("one",), hooks=METRIC)
    report = run_checks("own", expected_failures={"metric/one/merges-shards": "an example"})
    (failure,) = report.failures
    assert failure.id == "metric/one/merges-shards"
    assert failure.reason == "it was expected to fail (an example) and did not"
    assert not report.conforms


def test_an_expected_failure_that_fails_is_none(install):
    install("own", metrics=("one",), hooks=METRIC.replace('source="the tests"', 'source=" "'))
    report = run_checks("own", expected_failures={"metric/one/is-described": "an example"})
    assert report.conforms
    (excused,) = [o for o in report.outcomes if o.verdict == "expected failure"]
    assert excused.reason == "an example (summary or source is empty)"


@pytest.mark.parametrize("excuse", [{"gate/nonesuch/x": "why"}, {KNOWN: " "}])
def test_an_expectation_needs_a_check_and_a_reason(excuse):
    with pytest.raises(UsageError):
        run_checks("moekit", expected_failures=excuse)
    with pytest.raises(UsageError):
        parametrize_with_checks("moekit", expected_failures=excuse)


def test_an_unknown_plugin_is_refused():
    with refused("usage/unknown-name", match="nonesuch"):
        list(checks_of("nonesuch"))


def test_a_check_that_raises_anything_fails(monkeypatch):
    def leave(subject, name):
        raise SystemExit(3)

    monkeypatch.setitem(CHECKS["gate"], "leaves", leave)
    one = Check(kind="gate", record="x", name="leaves", summary="-", subject=None)
    with pytest.raises(ConformanceError, match="SystemExit"):
        one.run()


def test_pytest_runs_the_checks_and_holds_expected_failures_strictly(tmp_path, capsys):
    module = tmp_path / "test_own.py"
    module.write_text(
        "from moekit.testing import NotApplicable, parametrize_with_checks\n"
        f"@parametrize_with_checks('moekit', expected_failures={{{KNOWN!r}: 'an example'}})\n"
        "def test_own(check):\n"
        "    check.run()\n"
    )
    chosen = ("-q", "-k", "expert_choice", str(module))
    elsewhere = ("--rootdir", str(tmp_path), "-c", os.devnull, "-p", "no:cacheprovider")
    # In this process: another one would import all libraries once more.
    assert pytest.main([*chosen, *elsewhere]) == pytest.ExitCode.TESTS_FAILED
    said = capsys.readouterr().out
    assert "1 failed, 12 passed" in said
    assert "XPASS(strict)" in said
