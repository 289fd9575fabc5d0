"""A real server in a process of its own: many requests at once, signals, logs, and the client."""

import concurrent.futures
import hashlib
import http.client
import http.server
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import pytest
from PIL import Image

from moekit.serve import client as client_module
from moekit.serve.client import Client, read_token
from moekit.testing import refused

REQUESTS = 200


def connect(url):
    return http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)


def ask(url, image, *, name="a.png", kits=("all",)):
    """One image in a connection of its own; the reply and its status."""
    kit = "".join(
        f'--b\r\nContent-Disposition: form-data; name="kits"\r\n\r\n{k}\r\n' for k in kits
    )
    head = f'--b\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
    body = kit.encode() + head.encode() + image + b"\r\n--b--\r\n"
    connection = connect(url)
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        connection.request("POST", "/v1/answer", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def figures(url):
    with urllib.request.urlopen(f"{url}/metrics") as response:
        lines = response.read().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}


def test_two_hundred_requests_at_once_never_get_each_others_answers(process, runtime, picture):
    images = [picture(1000 + number, odd=number % 2) for number in range(REQUESTS)]
    before = figures(process.url)

    def one(number):
        kits = (("all",), ("other",), ("all", "other"))[number % 3]
        return kits, *ask(process.url, images[number], kits=kits)

    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        replies = list(pool.map(one, range(REQUESTS)))
    scores = {}
    for number, (kits, status, reply) in enumerate(replies):
        assert status == 200, reply
        own = hashlib.sha256(images[number]).hexdigest()
        (entry,) = reply["images"]
        assert entry["image_sha256"] == own
        assert set(entry["answers"]) == set(kits)
        for kit, answer in entry["answers"].items():
            assert answer["receipt"]["image_sha256"] == own
            scores[number, kit] = answer["values"]["score"]
    assert len(set(scores.values())) == len(scores), "answers can be told apart"
    for number, kit in list(scores)[:24]:
        (path,) = runtime.answer([_opened(images[number])], kit=kit)
        assert scores[number, kit] == pytest.approx(path.score, rel=1e-4)
    after = figures(process.url)
    grown = {
        name: after[name] - before.get(name, 0.0)
        for name in ("moekit_batch_images_sum", "moekit_batch_images_count")
    }
    assert grown["moekit_batch_images_sum"] == REQUESTS
    assert grown["moekit_batch_images_count"] < REQUESTS / 2, "batching batches"


def _opened(image):
    return Image.open(io.BytesIO(image)).convert("RGB")


def test_a_connection_goes_on_after_a_request_that_was_refused_unread(process, picture):
    connection = connect(process.url)
    try:
        headers = {"Content-Type": "image/png"}
        connection.request("POST", "/v1/answer", b"\0" * 2**20, headers)
        response = connection.getresponse()
        assert response.status == 415
        response.read()
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def test_a_large_body_without_a_length_is_cut_off(process):
    connection = connect(process.url)
    sent = 0
    try:
        connection.putrequest("POST", "/v1/answer")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        try:
            for _ in range(200):  # 200 MiB, of which 32 are taken
                connection.send(b"100000\r\n" + b"A" * 2**20 + b"\r\n")
                sent += 1
        except OSError:
            pass
        try:
            assert connection.getresponse().status == 413
        except OSError:
            assert sent < 200  # the connection was reset before the response was read
    finally:
        connection.close()
    assert sent < 200


def test_sigterm_lets_requests_in_flight_be_answered(start_process, picture):
    process = start_process("all", options=("--gather", 10_000, "--batch-size", 64))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        going = [pool.submit(ask, process.url, picture(number)) for number in range(3)]
        deadline = time.monotonic() + 20
        while figures(process.url)["moekit_waiting_images"] < 3:  # it gathers for ten seconds
            assert time.monotonic() < deadline
        process.process.send_signal(signal.SIGTERM)  # which ends the gathering
        replies = [one.result(30) for one in going]
    assert [status for status, _ in replies] == [200, 200, 200]
    assert process.process.wait(30) == 0
    assert process.log.rstrip().endswith("ended")
    with pytest.raises(ConnectionRefusedError):
        ask(process.url, picture(1))


def test_no_name_and_no_byte_of_an_image_is_logged(process, picture):
    status, _ = ask(process.url, picture(1), name="patient-4711.png")
    assert status == 200
    status, reply = ask(process.url, picture(1)[:50], name="patient-4711.png")
    assert status == 422
    assert "4711" not in json.dumps(reply)
    assert "4711" not in process.log
    assert "POST" not in process.log


def test_the_server_says_what_it_serves(process):
    assert [(one["name"], one["kit"]) for one in process.kits] == [
        ("all", "industrial"),
        ("other", "industrial"),
    ]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", process.url)
    assert f"listening on {process.url}" in process.log


def test_the_client_prints_the_answers(process, folder, tmp_path, moekit):
    good = [folder / "parts" / "good" / f"{number:02}.png" for number in range(0, 20, 2)]
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    outcome = moekit("client", process.url, *good, bad, "--kit", "other", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["n"], outcome.json["unreadable"]) == (11, 1)
    entries = outcome.json["answers"]
    assert [entry["file"] for entry in entries] == [str(path) for path in (*good, bad)]
    assert entries[-1]["error"]["code"] == "image/not-an-image"
    assert all(set(entry["answers"]) == {"other"} for entry in entries[:-1])
    outcome = moekit("client", process.url, good[0], bad)
    assert outcome.code == 0
    word = entries[0]["answers"]["other"]["verdict"]
    assert all(text in outcome.out for text in ("other", "all", word, "unreadable"))
    assert "1 of 2 images" in outcome.err


def test_the_client_says_why_there_is_no_answer(process, folder, tmp_path, moekit):
    image = folder / "parts" / "good" / "00.png"
    outcome = moekit("client", process.url, image, "--kit", "nonesuch")
    assert outcome.code == 1
    assert "usage/unknown-name" in outcome.err
    assert "all, other" in outcome.err
    assert "error/no-server" in moekit("client", "http://127.0.0.1:1", image).err
    assert "usage/bad-url" in moekit("client", "file:///etc/passwd", image).err
    assert "data/unreadable" in moekit("client", process.url, tmp_path / "none.png").err
    with refused("usage/bad-token-file"):
        read_token(tmp_path / "none")


def test_the_client_needs_no_library_of_the_server():
    code = (
        "import sys, moekit.cli.client, moekit.serve.client; "
        "print({'torch', 'numpy', 'pydantic', 'fastapi', 'uvicorn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"


class _Answers(http.server.BaseHTTPRequestHandler):
    """A server that answers what the test says."""

    replies = ()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, body = type(self).replies.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def fake(tmp_path):
    """Starts a server that gives these replies in turn; its address and an image."""
    handler = type("Handler", (_Answers,), {})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        image = tmp_path / "image.png"
        image.write_bytes(b"bytes")

        def start(*replies):
            handler.replies = list(replies)
            return f"http://127.0.0.1:{server.server_port}", image

        yield start
        server.shutdown()
        thread.join()


def entry(content):
    hashed = hashlib.sha256(content).hexdigest()
    answers = {"kit": {"verdict": "-", "values": {}, "receipt": {"image_sha256": hashed}}}
    return {"image_sha256": hashed, "answers": answers, "failed": {}, "error": None}


def test_the_client_asks_again_if_the_server_is_full(fake):
    slept = []
    busy = (429, {"Retry-After": "7"}, b"{}")
    good = (200, {}, json.dumps({"images": [entry(b"bytes")]}).encode())
    url, image = fake(busy, busy, good)
    (found,) = Client(url, sleep=slept.append).answers([image])
    assert found["file"] == str(image)
    assert slept == [7.0, 7.0]


def test_the_client_refuses_the_answer_to_another_image(fake):
    other = (200, {}, json.dumps({"images": [entry(b"other")]}).encode())
    url, image = fake(other)
    with refused("data/swapped-answer"):
        list(Client(url).answers([image]))
    for body in (b"<html>", b'{"images": []}', b'{"images": [3]}'):
        url, image = fake((200, {}, body))
        with pytest.raises(Exception, match="server") as caught:
            list(Client(url).answers([image]))
        assert caught.value.code in ("error/odd-reply", "data/swapped-answer")


def test_images_are_sent_in_parts_that_a_server_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "_MOST_BYTES", 100)
    paths = [tmp_path / str(number) for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * (60 if number < 3 else 2))
    sizes = [len(part) for part in client_module._parts(paths)]
    assert sizes == [1, 1, 8, 8, 2]
