"""The service under faults: no answer is lost or another's, nothing leaks, fuzzing finds no 500.

It takes some minutes; the counts do not depend on what else the machine does.
"""

import collections
import json
import os
import subprocess
import threading
import time

import pytest
import torch

from moekit.serve.client import Client
from moekit.testing.child import child_command
from tests.benchmarks.serve_faults import ask_all, jobs_of
from tests.benchmarks.served import cells, environment, run_of, served
from tests.benchmarks.task_runs import TINY

pytestmark = pytest.mark.bench
REQUESTS, CLIENTS = (120, 8) if TINY else (1000, 32)
EXAMPLES = 10 if TINY else 1000
"""Cases of schemathesis for each operation and phase."""
MOST_MIB_MORE = 16.0
"""MiB that a server may take more after the second half of as many requests again."""
SIDE = 56 if TINY else 112
COMMAND = "python -m pytest -m bench -s tests/benchmarks/test_serve_faults.py"
TOKEN = "a-token-of-the-benchmarks-0123456789"
LATE = 504
"""The status of a request whose own deadline passed: right, though it counts as the server's."""


@pytest.fixture(scope="module")
def paths(runs):
    """Pictures to answer."""
    return sorted(cells(runs).rglob("*.png"))[:100]


def test_no_answer_is_lost_or_swapped_and_nothing_leaks(
    runs, paths, tmp_path, record, record_figure
):
    options = ("--most-mib", 1, "--queue", 48, "--batch-size", 8)
    with served(run_of(runs, SIDE), tmp_path, *options) as first:
        scores = {
            entry["image_sha256"]: entry["answers"]["kit"]["values"]["score"]
            for entry in Client(first.url).answers(paths)
        }
        contents = [path.read_bytes() for path in paths]
        assert len(scores) == len(contents)
        jobs = jobs_of(contents, REQUESTS, most_bytes=2**20)
        half, codes, servers = threading.Event(), [], []

        def restart():
            half.wait()
            codes.append(first.stop())
            servers.append(first.again())

        restarting = threading.Thread(target=restart)
        restarting.start()
        try:
            tally = ask_all(
                first.url,
                jobs,
                clients=CLIENTS,
                scores=scores,
                on_done=lambda count: half.set() if count >= REQUESTS // 2 else None,
            )
        finally:
            half.set()
            restarting.join()
        (second,) = servers
        try:
            before = settled(second)
            more = ask_all(second.url, jobs, clients=CLIENTS, scores=scores)
            after = settled(second)
        finally:
            second.close()
    told = {
        "requests": REQUESTS,
        "clients": CLIENTS,
        "input": SIDE,
        "done": tally.done,
        "lost": tally.lost,
        "sent_again": tally.again,
        "sent_again_without_restart": more.again,
        "code_at_restart": codes,
        "holds_after_restart": before,
        "holds_after_as_many_again": after,
        "threads": torch.get_num_threads(),
    }
    record("serve_faults", told)
    record_figure(
        "serve.lost_answers",
        len(tally.lost) + len(more.lost),
        command=COMMAND,
        requests=2 * REQUESTS,
        files_more=after["files"] - before["files"],
        mib_more=round(after["mib"] - before["mib"], 1),
    )
    assert not tally.lost + more.lost
    assert codes == [0]
    assert tally.done.total() == more.done.total() == REQUESTS
    assert after["files"] <= before["files"]
    assert after["threads"] <= before["threads"]
    assert after["mib"] <= before["mib"] + MOST_MIB_MORE


def settled(server):
    """What a server holds once the last connections are closed."""
    found = [server.holds()]
    for _ in range(20):
        time.sleep(0.5)
        found.append(server.holds())
        if found[-1]["files"] == found[-2]["files"]:
            break
    return found[-1]


def test_schemathesis_finds_no_500(runs, paths, tmp_path, record, record_figure):
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    config, har = tmp_path / "schemathesis.toml", tmp_path / "all.har"
    config.write_text(
        f'[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "{LATE}"]\n'
    )
    (tmp_path / "tokens").write_text(TOKEN)
    options = ("--most-mib", 1, "--deadline", 5, "--token-file", tmp_path / "tokens")
    options += ("--corrections", tmp_path / "corrections")
    with served(run_of(runs, SIDE), tmp_path, *options) as server:
        done = subprocess.run(
            child_command(
                *("-m", "schemathesis.cli", "--config-file", str(config), "run"),
                *(f"{server.url}/openapi.json", "--seed", "0", "--max-examples", str(EXAMPLES)),
                *("--report", "har", "--report-har-path", str(har), "--continue-on-failure"),
                *("--generation-database", "none", "--no-color"),
                *("--header", f"Authorization: Bearer {TOKEN}"),
                # Whether bytes are an image no schema can say.
                *("--exclude-checks", "positive_data_acceptance"),
            ),
            cwd=tmp_path,
            env=environment()
            | {
                "SCHEMATHESIS_HOOKS": "tests.benchmarks.schemathesis_hooks",
                "MOEKIT_PICTURE": str(paths[0]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        log = server.log.read_text()
    assert har.is_file(), done.stdout + done.stderr
    statuses = collections.Counter(
        f"{entry['request']['method']} {entry['response']['status']}"
        for entry in json.loads(har.read_text(encoding="utf-8"))["log"]["entries"]
    )
    broken = {
        name: count
        for name, count in statuses.items()
        if int(name.rpartition(" ")[2]) >= 500 and int(name.rpartition(" ")[2]) != LATE
    }
    told = {
        "cases": statuses.total(),
        "statuses": dict(sorted(statuses.items())),
        "code": done.returncode,
        "load_average": os.getloadavg()[0],
    }
    record("serve_schemathesis", told)
    record_figure(
        "serve.schemathesis_500", sum(broken.values()), command=COMMAND, cases=statuses.total()
    )
    assert "POST 200" in statuses
    assert not broken, f"{broken}\n{shortened(done.stdout)}\n{log[-4000:]}"
    assert done.returncode == 0, shortened(done.stdout)


def shortened(text):
    """The last lines of a text, each cut."""
    return "\n".join(line[:300] for line in text.splitlines()[-200:])
