"""The checks of manifest, import, hooks and disabling, each on a plugin that is broken that way."""

from __future__ import annotations

import pytest

from moekit import Registry
from moekit.testing import (
    ConformanceError,
    checks_of,
    expected_number,
    run_checks,
    run_checks_apart,
)
from moekit.testing import plugin_checks as under_test
from moekit.testing.check import CHECKS
from moekit.testing.subject import find_plugin, probe
from moekit.testing.verdicts import Blocked

GOOD = """
import moekit

def half(scores, labels, threshold):
    return 0.5

@moekit.hookimpl
def moekit_metrics():
    example = moekit.MetricExample(
        scores=(0.5,), labels=(1,), threshold=0.5, value=0.5, source="by hand")
    return [moekit.MetricSpec(
        name="one", compute=half, higher_is_better=True, bounds=(0.0, 1.0), summary="one half",
        source="the tests", examples=(example,))]
"""
ASKED_TWICE = """
calls = []
records = moekit_metrics()

@moekit.hookimpl
def moekit_metrics():
    calls.append(1)
    return records if len(calls) % 2 else []
"""
EXPERT = {"provides": {"experts": ["one"]}}
KIT = {
    "provides": {"kits": ["one"]},
    "card": {"intended_use": "-", "not_for": "-", "limitations": "-"},
}
WEIGHTS = {
    "weights": [{"file": "w.safetensors", "sha256": "0" * 64, "licence": "CC0-1.0", "source": "-"}]
}
BROKEN = {
    "manifest/valid": {"manifest": {"api": "9.0"}},
    "manifest/card": {"manifest": EXPERT},
    "manifest/inputs": {"manifest": KIT},
    "manifest/weights": {"manifest": WEIGHTS},
    "import/ends": {"hooks": "import os\nos._exit(7)"},
    "import/is-quiet": {"hooks": "print('hello')\n" + GOOD},
    "import/writes-no-file": {
        "hooks": "import os, tempfile\nopen(os.path.join(tempfile.gettempdir(), "
        "'moekit-left-over'), 'w').close()\n" + GOOD
    },
    "import/opens-no-socket": {
        "hooks": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
        ".bind(('127.0.0.1', 0))\n" + GOOD
    },
    "import/changes-no-global-state": {"hooks": "import torch\ntorch.manual_seed(99)\n" + GOOD},
    "hooks/are-accepted": {"hooks": GOOD.replace("moekit_metrics", "moekit_metrix")},
    "hooks/give-the-same-again": {"hooks": GOOD + ASKED_TWICE},
}


def check(distribution, identity):
    (found,) = [one for one in checks_of(distribution) if one.id == identity]
    return found


@pytest.mark.parametrize("identity", BROKEN)
def test_a_broken_plugin_fails_the_check_that_it_breaks(identity, install):
    install("broken", **{"metrics": ("one",), "hooks": GOOD, **BROKEN[identity]})
    with pytest.raises(ConformanceError):
        check("broken", identity).run()


def test_a_plugin_is_watched_before_and_after_it_imports_torch(install):
    hooks = (
        "import os\nprint('before')\nos.environ['ITS_OWN'] = '1'\nimport torch\nprint('after')\n"
        "torch.set_default_dtype(torch.float64)\n"
    )
    install("loud", metrics=("one",), hooks=hooks + GOOD)
    found = probe(find_plugin("loud"))
    assert found["output"] == "before\nafter\n"
    assert found["changed"] == ["the environment", "torch's default dtype"]
    assert found["files"] == found["sockets"] == found["processes"] == []


def test_a_library_that_asks_for_ipv6_on_its_import_talks_to_nobody(install):
    hooks = (
        "import contextlib, socket\n"
        "with contextlib.suppress(OSError):\n"  # a machine without IPv6
        "    socket.socket(socket.AF_INET6).bind(('::1', 0))\n"
    )
    install("asks", metrics=("one",), hooks=hooks + GOOD)
    check("asks", "import/opens-no-socket").run()


def test_each_check_of_plugins_has_a_broken_specimen():
    listed = {f"{kind}/{name}" for kind in ("manifest", "import", "hooks") for name in CHECKS[kind]}
    assert listed == set(BROKEN)


def test_a_good_plugin_conforms(install):
    install("good", metrics=("one",), hooks=GOOD)
    report = run_checks("good")
    assert not report.failures
    assert report.conforms
    assert report.ran == report.expected == expected_number(find_plugin("good")) == 22


class Forgetful(Registry):
    """A registry that does not leave out what it is asked to."""

    def __init__(self, *arguments, disabled=(), **options):
        super().__init__(*arguments, **options)


class Overzealous(Registry):
    """A registry that leaves out everybody once anybody is left out."""

    def __init__(self, *arguments, disabled=(), **options):
        super().__init__([] if disabled else None, **options)


@pytest.mark.parametrize(
    ("name", "registry"),
    [("takes-its-names-away", Forgetful), ("leaves-the-others-alone", Overzealous)],
)
def test_the_checks_of_disabling_fail_when_disabling_does(name, registry, install, monkeypatch):
    install("good", metrics=("one",), hooks=GOOD)
    one = check("good", f"disabling/{name}")
    one.run()
    monkeypatch.setattr(under_test, "Registry", registry)
    with pytest.raises(ConformanceError):
        one.run()


HEALTH = """
import moekit

@moekit.hookimpl
def moekit_health_checks():
    return [moekit.HealthCheckSpec(name="one", run=lambda: ANSWER, summary="-")]
"""


@pytest.mark.parametrize("answer", ["None", "'buy a disk'"])
def test_a_health_check_may_answer_nothing_or_a_sentence(answer, install):
    provides = {"provides": {"health_checks": ["one"]}}
    install("asked", manifest=provides, hooks=HEALTH.replace("ANSWER", answer))
    check("asked", "health-check/one/answers").run()


@pytest.mark.parametrize("answer", ["3", "''", "1 / 0"])
def test_another_answer_fails(answer, install):
    provides = {"provides": {"health_checks": ["one"]}}
    install("asked", manifest=provides, hooks=HEALTH.replace("ANSWER", answer))
    with pytest.raises(ConformanceError):
        check("asked", "health-check/one/answers").run()


LISTENER = """
import moekit

@moekit.hookimpl
def moekit_run_finished(event):
    BODY
"""


@pytest.mark.parametrize(
    "body", ["(event.folder / 'result.json').write_text('{}')", "raise ValueError(event.kit)"]
)
def test_a_listener_that_meddles_or_raises_fails(body, install):
    install(
        "listener",
        manifest={"listens": ["run_finished"], "provides": {}},
        hooks=LISTENER.replace("BODY", body),
    )
    with pytest.raises(ConformanceError):
        check("listener", "listener/run_finished/hears-a-run-and-leaves-it-alone").run()


def test_a_listener_may_write_a_file_of_its_own(install):
    install(
        "listener",
        manifest={"listens": ["run_finished"], "provides": {}},
        hooks=LISTENER.replace("BODY", "(event.folder / 'mine.txt').write_text(event.kit)"),
    )
    check("listener", "listener/run_finished/hears-a-run-and-leaves-it-alone").run()


def test_checks_that_could_not_run_are_counted_and_the_plugin_does_not_conform(install):
    install("dying", metrics=("one",), hooks="import os\nos._exit(7)")
    report = run_checks("dying")
    assert not report.conforms
    assert report.expected == 22
    assert report.ran < report.expected
    blocked = [outcome for outcome in report.outcomes if outcome.verdict == "not run"]
    assert len(blocked) == report.expected - report.ran
    assert all("code 7" in outcome.reason for outcome in blocked)


def test_a_record_that_is_missing_blocks_its_checks(install):
    install("broken", metrics=("one",), hooks=GOOD.replace('"one"', '"two"'))
    with pytest.raises(Blocked):
        check("broken", "metric/one/is-described").run()


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "def f(): f()\nf()", "raise OSError('x')"])
def test_whatever_happens_at_import_is_a_finding(code, install):
    install("broken", metrics=("one",), hooks=code)
    report = run_checks("broken")
    assert "hooks/are-accepted" in {failure.id for failure in report.failures}
    assert not report.conforms


SECTION = """
import moekit

def render(context):
    BODY

@moekit.hookimpl
def moekit_report_sections():
    return [moekit.ReportSectionSpec(
        name="one", kits=("reference",), render=render, summary="a specimen")]
"""
SECTIONS = {
    "is-made-from-a-run": "return moekit.ReportSection(title='x', tables=("
    "moekit.ReportTable(columns=('a', 'b'), rows=(('1',),)),))",
    "is-made-from-scores-that-are-gone": "return moekit.ReportSection("
    "title=str(len(context.predictions)))",
}


@pytest.mark.parametrize("name", CHECKS["report-section"])
def test_a_broken_section_fails_the_check_that_it_breaks(name, install):
    provides = {"provides": {"report_sections": ["one"]}}
    good = "return moekit.ReportSection(title='x', paragraphs=(context.result['kit'],))"
    install("good", manifest=provides, hooks=SECTION.replace("BODY", good))
    check("good", f"report-section/one/{name}").run()
    install("broken", manifest=provides, hooks=SECTION.replace("BODY", SECTIONS[name]))
    with pytest.raises(ConformanceError):
        check("broken", f"report-section/one/{name}").run()


DYING = """
import moekit, os, time

def build(width):
    BODY

@moekit.hookimpl
def moekit_experts():
    return [moekit.ExpertSpec(name="one", build=build, summary="-", source="-")]
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [("os._exit(0)", "it ended its process with code 0"), ("time.sleep(60)", "did not end within")],
)
def test_a_plugin_that_ends_or_hangs_the_process_fails_and_is_counted(body, reason, install):
    card = {"intended_use": "-", "not_for": "-", "limitations": "-"}
    install(
        "deadly",
        manifest={"provides": {"experts": ["one"]}, "card": card},
        hooks=DYING.replace("BODY", body),
    )
    report = run_checks_apart("deadly", deadline=10)
    (failure,) = report.failures
    assert failure.id == "expert/one/is-described"
    assert reason in failure.reason
    assert not report.conforms
    assert len(report.outcomes) == report.expected == 30
    assert sum(outcome.verdict == "not run" for outcome in report.outcomes) == 16
