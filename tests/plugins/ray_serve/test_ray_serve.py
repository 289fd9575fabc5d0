"""The service on Ray: two replicas answer as one process does, and one that dies is replaced."""

import base64
import contextlib
import gc
import hashlib
import json
import os
import socket
import time
import urllib.request
import warnings
from pathlib import Path

import pytest

from moekit.cli.main import main
from moekit.serve import ServeOptions, open_app
from moekit.testing import refused
from tests.small_parts import ARCHITECTURE, SIDE, png, write_parts

ray = pytest.importorskip("ray", reason="ray[serve] is not installed")
serve = pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of Ray and what it imports
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two replicas need two processors"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The weights of a small backbone, and a run on it."""
    home = tmp_path_factory.mktemp("ray")
    write_parts(home)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setenv("MOEKIT_CACHE_DIR", str(home / "cache"))
        main(
            [
                *("adapt", "industrial", "--data", f"folder={home / 'parts'}"),
                *("--out", str(home / "run"), "--architecture", ARCHITECTURE, "--epochs", "1"),
                *("--weights", str(home / "weights.safetensors"), "--form", "none"),
                *("--image-size", str(SIDE), "--views", "1", "--precision", "fp32"),
            ]
        )
    assert stop.value.code == 0
    return home


@pytest.fixture(scope="module")
def url(home):
    """Two replicas on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with contextlib.ExitStack() as stack:
        stack.callback(ended)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("RAY_raylet_start_wait_time_s", "150")  # on a busy machine
        yield started(home, port)


def ended():
    """Ends Ray. What it leaves of its processes is no fault of the test that comes next."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):
            serve.shutdown()
        ray.shutdown()
        gc.collect()


def started(home, port):
    """Starts two replicas; returns their address."""
    from moekit_ray_serve import NAME, application

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    made = application(
        {"parts": home / "run"},
        options=ServeOptions(batch_size=1),
        replicas=2,
        corrections=home / "corrections",
        weights=str(home / "weights.safetensors"),
        form="none",
        device="cpu",
    )
    serve.run(made, name=NAME, route_prefix="/")
    return f"http://127.0.0.1:{port}"


def asked(url, path, body=None):
    head = {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}{path}", data, head), timeout=60
    ) as reply:
        return json.loads(reply.read())


def encoded(content):
    return base64.b64encode(content).decode()


def running(name):
    found = serve.status().applications[name].deployments[name]
    return {str(getattr(state, "value", state)): n for state, n in found.replica_states.items()}


def replicas():
    """Process ids of the replicas that the Ray of this test has started."""
    session = ray._private.worker._global_node.get_session_dir_path().encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if not (process / "cmdline").read_bytes().startswith(b"ray::ServeReplica"):
                continue
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if session in Path(f"/proc/{parent}/cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has just ended
            continue
    if len(found) != 2:
        pytest.skip("the replicas are not found among the processes of this system")
    return found


def test_two_replicas_answer_as_one_process_does(home, url):
    from fastapi.testclient import TestClient

    from moekit_ray_serve import NAME

    assert running(NAME) == {"RUNNING": 2}
    alone = open_app(
        {"parts": home / "run"},
        options=ServeOptions(batch_size=1),
        weights=str(home / "weights.safetensors"),
        form="none",
        device="cpu",
    )
    with TestClient(alone, base_url="http://127.0.0.1") as client:
        for number in range(12):
            content = png(100 + number, odd=number % 2)
            body = {"images": [encoded(content)]}
            (ours,) = asked(url, "/v1/answer", body)["images"]
            (theirs,) = client.post("/v1/answer", json=body).json()["images"]
            assert ours["image_sha256"] == hashlib.sha256(content).hexdigest()
            ours, theirs = (one["answers"]["parts"]["values"] for one in (ours, theirs))
            assert ours["verdict"] == theirs["verdict"]
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-5)


def test_replicas_share_the_corrections(url):
    for number in range(8):
        label = {"form": "class", "classes": ["good"]}
        body = {"kit": "parts", "image": encoded(png(200 + number)), "label": label}
        assert asked(url, "/v1/corrections", body)["number"] == number + 1
    for _ in range(6):  # whichever of them is asked
        (counts,) = asked(url, "/v1/corrections")["kits"]
        assert counts["images"] == 8


def test_a_replica_that_dies_is_replaced_and_the_other_answers(url):
    from moekit_ray_serve import NAME

    first, *_ = replicas()
    os.kill(first, 9)
    body = {"images": [encoded(png(1))]}
    deadline, good = time.monotonic() + 120, 0
    while good < 5:
        assert time.monotonic() < deadline
        try:
            good += bool(asked(url, "/v1/answer", body)["images"][0]["answers"])
        except OSError:
            time.sleep(0.2)
    while running(NAME) != {"RUNNING": 2}:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_tls_is_left_to_a_proxy(tmp_path):
    from moekit_ray_serve import application

    class Secured:
        tls_cert = tmp_path

    with refused("usage/option-conflict"):
        application({}, options=Secured())
