"""A load on a server: what is counted, and that what goes wrong is seen."""

import http.server
import json
import threading
import time

import pytest

from moekit.serve.client import Line
from moekit.serve.load import Load, Reply, run_load, send_load, summary
from moekit.testing import refused


def reply(due, done, outcome="200", *, sent=None):
    return Reply(due=due, sent=due if sent is None else sent, done=done, outcome=outcome, images=1)


def test_a_closed_loop_counts_what_is_answered_within_its_time():
    load = Load(url="http://x", images=[b""], seconds=10.0)
    replies = [reply(99, 101), reply(95, 99.5), reply(109, 111), reply(105, 105.5, "429")]
    found = summary(load, replies, 100.0)
    assert (found["requests"], found["answered"]) == (2, 1)
    assert found["images_per_s"] == pytest.approx(0.1)
    assert found["latency_ms"]["p50"] == pytest.approx(2000)
    assert found["statuses"] == {"200": 1, "429": 1}


def test_an_open_loop_counts_what_is_due_in_its_time_until_the_last_answer():
    load = Load(url="http://x", images=[b""], seconds=10.0, rate=1.0)
    replies = [
        reply(99, 101),
        reply(105, 106, sent=105.5),
        reply(109, 120),
        reply(109, 109, "timeout"),
    ]
    found = summary(load, replies, 100.0)
    assert (found["requests"], found["answered"], found["seconds"]) == (3, 2, 20.0)
    assert found["images_per_s"] == pytest.approx(0.1)
    # The time that a request waits for a free client is part of its latency.
    assert found["latency_ms"]["max"] == pytest.approx(11000)
    assert (found["errors"], found["sent_late"]) == ({"timeout": 1}, 1)


def test_a_real_server_is_loaded_in_both_loops(process, folder, moekit, tmp_path):
    images = [folder / "parts" / "good" / f"{number:02}.png" for number in range(0, 10, 2)]
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    given = ("bench", "serve", process.url, *images, "--seconds", 0.5, "--warm-up", 0.1)
    done = moekit(*given, "--clients", 3, "--kit", "all", "--json", "--out", tmp_path / "out.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "out.json").read_text()) == done.json
    assert (done.json["loop"], list(done.json["statuses"])) == ("closed", ["200"])
    assert done.json["errors"] == {}
    assert done.json["images_per_s"] > 1
    done = moekit(*given, bad, "--rate", 40, "--images", 2, "--kit", "all", "--json")
    assert (done.json["loop"], done.json["clients"]) == ("open", 64)
    assert 5 <= done.json["requests"] <= 40
    assert done.json["images_per_s"] == pytest.approx(2 * done.json["requests_per_s"])
    assert "latency in ms: mean " in moekit(*given).out


def test_what_is_wrong_with_address_or_kit_is_said_before_the_load(process, folder, moekit):
    image = folder / "parts" / "good" / "00.png"
    assert "error/no-server" in moekit("bench", "serve", "http://127.0.0.1:1", image).err
    assert "usage/bad-url" in moekit("bench", "serve", "ftp://x", image).err
    done = moekit("bench", "serve", process.url, image, "--kit", "nonesuch")
    assert (done.code, "usage/unknown-name" in done.err) == (1, True)
    assert moekit("bench", "serve", process.url).code == 2


class _Turns(http.server.BaseHTTPRequestHandler):
    """Answers in turn: the answer to another image, no JSON, a full queue, nothing."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = type(self)
        number, kind.asked = kind.asked % 4, kind.asked + 1
        if number == 3:
            self.close_connection = True
            return
        entry = {"image_sha256": "0" * 64, "answers": {}}
        body = b"<html>" if number == 1 else json.dumps({"images": [entry]}).encode()
        self.send_response(429 if number == 2 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def turns():
    handler = type("Handler", (_Turns,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_what_goes_wrong_is_counted_by_its_kind(turns):
    url, _ = turns
    found = run_load(Load(url=url, images=[b"x"], clients=1, seconds=0.4, warm_up_s=0.0))
    assert found["answered"] == 0
    assert found["latency_ms"]["p50"] is None
    assert set(found["statuses"]) == {"429"}
    assert {"swapped", "odd-reply"} <= set(found["errors"])
    with refused("usage/bad-url"):
        Line("nonesuch")


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(turns):
    url, handler = turns
    line = Line(url, timeout_s=5.0)
    assert [line.post(b"x", "-")[0] for _ in range(3)] == [200, 200, 429]
    assert line.post(b"x", "-")[0] == 200  # the fourth was closed, and asked again
    assert handler.asked == 5
    line.close()
    with pytest.raises(OSError, match=r"."):
        Line("http://127.0.0.1:1").post(b"x", "-")


def test_a_closed_loop_ends_after_as_many_requests(turns):
    url, handler = turns
    load = Load(url=url, images=[b"x"], clients=2, seconds=60.0, warm_up_s=0.0, requests=3)
    assert len(send_load(load, time.perf_counter())) == 3
    assert handler.asked == 3


def test_images_are_sent_in_turn_and_each_request_has_as_many(turns):
    from moekit.serve.load import _Sender

    sender = _Sender(Load(url="http://x", images=[b"a", b"b", b"c"], per_request=2))
    assert [part for part, *_ in sender._made] == [[b"a", b"b"], [b"c", b"a"]]
