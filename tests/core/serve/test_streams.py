"""Cameras: the newest frame counts, in order, and one that fails stops nobody else."""

import contextlib
import http.client
import json
import queue
import threading
import time
import tracemalloc
import urllib.error
import urllib.parse
import urllib.request

import pytest
from PIL import Image

from moekit.errors import DataError
from moekit.serve.batching import Batcher
from moekit.serve.extras import NOTHING
from moekit.serve.reading import content_of
from moekit.serve.service import Outcome
from moekit.serve.streams.loop import Listener, Streams, camera_facts
from moekit.serve.streams.sources import Grabbed


class Given:
    """A source whose frames a test hands over; an error that is handed over is raised."""

    kind = "stream"

    def __init__(self):
        self.queue = queue.Queue()

    def give(self, *frames):
        for one in frames:
            self.queue.put(one)

    def frames(self, stop):
        while not stop.is_set():
            with contextlib.suppress(queue.Empty):
                one = self.queue.get(timeout=0.02)
                if isinstance(one, Exception):
                    raise one
                yield Grabbed(at=time.monotonic(), load=lambda one=one: one)


class Answers:
    """In the place of a service: answers with the hash of each image, when it is let go."""

    def __init__(self):
        self.free = threading.Event()
        self.free.set()
        self.sizes = []
        self.extras = []

    def __call__(self, kits, images, extras=NOTHING):
        self.sizes.append(len(images))
        self.extras.append(extras)
        assert self.free.wait(30)
        return [
            Outcome(content=content_of(one), rows={kits[0]: {"verdict": "ok"}}, failed={})
            for one in images
        ]


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self, *cameras, overlays=False):
        self.events = []
        self.listener = Listener(
            cameras=frozenset(cameras), overlays=overlays, offer=self.events.append
        )

    def waits(self, count):
        until(lambda: len(self.events) >= count)
        return self.events


def until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.005)


@pytest.fixture
def started():
    """Starts cameras: `started({"a": source}, answers)`."""
    with contextlib.ExitStack() as stack:

        def start(sources, answer, *, places=64, batch_size=16):
            batcher = Batcher(answer, batch_size=batch_size, gather_s=0, places=places)
            streams = Streams(
                sources, batcher=batcher, kits=["kit"], within_s=20, first_wait_s=0.02
            )
            batcher.start()
            stack.callback(batcher.close)
            streams.start()
            stack.callback(streams.close)
            return streams

        yield start


def test_only_the_newest_frame_is_answered_and_stale_ones_are_counted(started):
    answer, source, heard = Answers(), Given(), Heard("a")
    streams = started({"a": source}, answer)
    (camera,) = streams.cameras
    answer.free.clear()
    with streams.listen(heard.listener):
        source.give(b"1")
        until(lambda: answer.sizes)
        source.give(b"2", b"3", b"4", b"5")
        until(lambda: camera.seen == 5)
        answer.free.set()
        events = heard.waits(2)
    assert [one.frame for one in events] == [1, 5]
    assert [one.outcome.content for one in events] == [content_of(b"1"), content_of(b"5")]
    assert camera.counts == {"answered": 2, "dropped": 3, "failed": 0}
    assert camera.as_json()["latency_s"]["n"] == 2


def test_a_batch_holds_one_frame_of_each_camera(started):
    answer = Answers()
    sources = {name: Given() for name in "abcdefgh"}
    streams = started(sources, answer)
    answer.free.clear()
    sources["a"].give(b"first")
    until(lambda: answer.sizes)
    for name, source in sources.items():
        source.give(*(f"{name}{number}".encode() for number in range(5)))
    until(lambda: sum(one.seen for one in streams.cameras) == 41)
    answer.free.set()
    until(lambda: sum(one.counts["answered"] for one in streams.cameras) == 9)
    assert answer.sizes == [1, 8]


def test_no_frame_is_answered_out_of_order_or_gets_anothers_answer(started):
    answer, count = Answers(), 400
    sources = {name: Given() for name in "abc"}
    heard = Heard(*sources)
    streams = started(sources, answer)
    with streams.listen(heard.listener):
        for number in range(1, count + 1):
            for name, source in sources.items():
                source.give(f"{name}{number}".encode())
        until(lambda: all(one.seen == count for one in streams.cameras))
        until(
            lambda: sum(sum(one.counts.values()) for one in streams.cameras) == count * len(sources)
        )
    for name in sources:
        own = [one for one in heard.events if one.camera == name]
        numbers = [one.frame for one in own]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == count, "the last one is always answered"
        assert all(one.outcome.content == content_of(f"{name}{one.frame}".encode()) for one in own)
        assert own[-1].dropped == count - len(own)


def test_a_camera_that_fails_is_tried_again_and_stops_nobody_else(started):
    answer, bad, good = Answers(), Given(), Given()
    streams = started({"bad": bad, "good": good}, answer)
    camera, other = streams.cameras
    address = "rtsp://me:secret@host"
    bad.give(DataError("gone", whose=address, fix="-", code="data/unreadable-camera"))
    until(lambda: camera.state == "failed" or camera.retries)
    good.give(b"1")
    until(lambda: other.counts["answered"] == 1)
    bad.give(RuntimeError(address))
    until(lambda: camera.retries >= 2)
    bad.give(b"1")
    until(lambda: camera.counts["answered"] == 1)
    assert (camera.state, camera.fault) == ("running", None)
    bad.give(RuntimeError(address))
    until(lambda: camera.fault is not None)
    assert "secret" not in json.dumps(camera.as_json())


def test_a_frame_that_is_lost_or_a_batch_that_fails_is_counted(started):
    def broken(kits, images, extras=NOTHING):
        raise ValueError

    source = Given()
    streams = started({"a": source}, broken)
    (camera,) = streams.cameras
    source.give(b"1")
    until(lambda: camera.counts["failed"] == 1)

    def gone():
        raise FileNotFoundError

    source.frames = lambda stop: iter([Grabbed(at=0.0, load=gone)])
    again = started({"a": source}, Answers())
    until(lambda: again.cameras[0].counts["failed"] == 1)
    assert again.cameras[0].state == "ended"


def test_frames_without_room_in_the_queue_are_dropped(started):
    answer, source = Answers(), Given()
    streams = started({"a": source}, answer, places=1)
    answer.free.clear()
    batcher = streams._batcher
    batcher.submit(["kit"], [b"x"], within_s=20)
    until(lambda: answer.sizes)
    batcher.submit(["kit"], [b"y"], within_s=20)
    source.give(b"1")
    until(lambda: streams.cameras[0].counts["dropped"] == 1)
    answer.free.set()
    source.give(b"2")
    until(lambda: streams.cameras[0].counts["answered"] == 1)


def test_the_memory_stays_flat(started):
    answer, frames = Answers(), 20_000
    answer.sizes = answer.extras = type("Nowhere", (), {"append": lambda *_: None})()
    picture = Image.new("RGB", (64, 64))

    class Endless:
        kind = "device"

        def frames(self, stop):
            while not stop.is_set():
                yield Grabbed(at=time.monotonic(), load=picture.copy)
                time.sleep(0.0002)

    streams = started({name: Endless() for name in "abcd"}, answer)

    def answered():
        return sum(one.counts["answered"] for one in streams.cameras)

    until(lambda: answered() > frames / 4)
    tracemalloc.start()
    try:
        until(lambda: answered() > frames / 2)
        before = tracemalloc.get_traced_memory()[0]
        until(lambda: answered() > frames)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # Latencies are 32 bytes each, of 10,000 frames a camera at most.
    assert after - before < 200_000 + 32 * frames


def events_of(server, path, count):
    """The first events of a stream, and its response."""
    parts = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    found = []
    while len(found) < count:
        line = response.readline().decode()
        assert line, "the stream ended"
        if line.startswith("data: "):
            found.append(json.loads(line[6:]))
    return found, connection


def test_answers_are_streamed_as_events(listening, facts):
    answer, one, other = Answers(), Given(), Given()
    with listening(answer, facts("kit"), sources={"a": one, "b": other}) as server:
        feeding = threading.Event()

        def feed():
            for number in range(1000):
                one.give(f"a{number}".encode())
                other.give(f"b{number}".encode())
                if feeding.wait(0.01):
                    return

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            found, connection = events_of(server, "/v1/cameras/a/events", 3)
            assert {event["camera"] for event in found} == {"a"}
            frames = [event["frame"] for event in found]
            assert frames == sorted(set(frames))
            for event in found:
                assert event["latency_s"] > 0
                expected = content_of(f"a{event['frame'] - 1}".encode())
                assert event["answer"]["image_sha256"] == expected
                assert event["answer"]["answers"]["kit"]["receipt"]["image_sha256"] == expected
                assert "picture" not in event["answer"]
            assert server.streams.listening == 1
            connection.close()
            until(lambda: server.streams.listening == 0)
            assert not any(extras.overlays for extras in answer.extras)
            found, connection = events_of(server, "/v1/cameras/events?overlays=true", 4)
            assert {event["camera"] for event in found} == {"a", "b"}
            until(lambda: answer.extras[-1].overlays)
            connection.close()
            until(lambda: not answer.extras[-1].overlays)
        finally:
            feeding.set()
            thread.join()
        told = server.json("/v1/cameras")["cameras"]
        assert [camera["name"] for camera in told] == ["a", "b"]
        assert all(camera["state"] == "running" for camera in told)
        assert set(told[0]["latency_s"]) == {"n", "p50", "p95", "p99", "max"}
        with urllib.request.urlopen(f"{server.url}/metrics") as response:
            figures = response.read().decode()
        for line in (
            'moekit_camera_frames_total{camera="a",outcome="answered"}',
            'moekit_camera_latency_seconds{camera="b",quantile="0.99"}',
            'moekit_camera_latency_seconds_count{camera="a"}',
            'moekit_camera_running{camera="a"} 1.0',
            'moekit_requests_total{path="/v1/cameras/a/events",status="200"} 1.0',
        ):
            assert line in figures
        _, connection = events_of(server, "/v1/cameras/a/events", 0)
    connection.close()  # it was open when the server was told to end


def test_a_slow_listener_loses_old_events_and_holds_up_nobody(listening, facts):
    answer, source = Answers(), Given()
    with listening(answer, facts("kit"), sources={"a": source}) as server:
        _, connection = events_of(server, "/v1/cameras/a/events", 0)
        until(lambda: server.streams.listening == 1)
        for number in range(300):  # nobody reads
            source.give(str(number).encode() * 100)
            time.sleep(0.001)
        (camera,) = server.streams.cameras
        until(lambda: camera.seen == 300)
        until(lambda: sum(camera.counts.values()) == 300)
        connection.close()


def test_unknown_cameras_and_requests_without_a_token_are_refused(serve, slow, listening, facts):
    served = serve(slow, token="a-token-of-the-tests-0123456789")
    for path in ("/v1/cameras", "/v1/cameras/a/events", "/v1/cameras/events"):
        assert served.client.get(path).status_code == 401
    with listening(Answers(), facts("kit"), sources={"a": Given()}) as server:
        for path in ("/v1/cameras/b/events", "/v1/cameras/events?camera=a&camera=%3Cb%3E"):
            with pytest.raises(urllib.error.HTTPError) as error:
                server.json(path)
            assert error.value.code == 404
            assert json.loads(error.value.read())["error"]["code"] == "usage/unknown-name"
    client = serve(slow).client
    assert client.get("/v1/cameras").json() == {"cameras": []}
    for query in ("overlays=perhaps", "&".join(["camera=a"] * 65)):
        reply = client.get(f"/v1/cameras/events?{query}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "usage/bad-request")


def test_cameras_are_answered_by_their_own_kits(started):
    asked = []

    def answer(kits, images, extras=NOTHING):
        asked.append((tuple(kits), len(images)))
        return [
            Outcome(
                content=content_of(one), rows={kit: {"verdict": "ok"} for kit in kits}, failed={}
            )
            for one in images
        ]

    sources = {name: Given() for name in "abc"}
    batcher = Batcher(answer, batch_size=16, gather_s=0, places=64)
    streams = Streams(
        sources, batcher=batcher, kits=["x", "y"], within_s=20, kits_of={"a": ["y"], "b": ["y"]}
    )
    heard = Heard("a", "b", "c")
    batcher.start()
    streams.start()
    try:
        with streams.listen(heard.listener):
            for name, source in sources.items():
                source.give(name.encode())
            events = heard.waits(3)
    finally:
        streams.close()
        batcher.close()
    assert {one.camera: tuple(one.outcome.rows) for one in events} == {
        "a": ("y",),
        "b": ("y",),
        "c": ("x", "y"),
    }
    assert {kits for kits, _ in asked} == {("y",), ("x", "y")}
    assert [facts["kits"] for facts in camera_facts(streams)] == [["y"], ["y"], ["x", "y"]]
