"""A full queue, deadlines, clients that go away, and the figures that are kept of them."""

import asyncio
import concurrent.futures
import threading

import pytest

from moekit.serve.intake import Intake
from moekit.serve.refusals import RefusedError


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(8) as made:
        yield made


def error_of(reply, status):
    assert reply.status_code == status, reply.text
    return reply.json()["error"]["code"]


def test_a_full_queue_refuses_and_says_when_to_ask_again(serve, slow, pool):
    served = serve(slow, queue=2)
    first = pool.submit(served.ask, b"first")
    assert slow.begun.wait(10)
    second = pool.submit(served.ask, b"second", b"third")
    served.waits_until(lambda: served.batcher.waiting == 2)
    reply = served.ask(b"fourth")
    assert error_of(reply, 429) == "usage/queue-full"
    assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert served.figure("moekit_waiting_images") == 2
    slow.free.set()
    assert first.result(10).status_code == second.result(10).status_code == 200
    assert served.ask(b"fourth").status_code == 200
    assert served.figure('moekit_requests_total{path="/v1/answer",status="429"}') == 1
    assert served.figure('moekit_requests_total{path="/v1/answer",status="200"}') == 3


def test_a_request_that_does_not_fit_beside_others_is_refused_too(serve, slow, pool):
    served = serve(slow, queue=3)
    first = pool.submit(served.ask, b"first")
    assert slow.begun.wait(10)
    second = pool.submit(served.ask, b"second", b"third")
    served.waits_until(lambda: served.batcher.waiting == 2)
    assert error_of(served.ask(b"4", b"5"), 429) == "usage/queue-full"
    slow.free.set()
    assert first.result(10).status_code == second.result(10).status_code == 200


@pytest.mark.parametrize(
    ("fields", "options"), [({"deadline_s": 0.5}, {}), ({}, {"deadline_s": 0.5})]
)
def test_a_deadline_ends_a_request_and_frees_its_place(serve, slow, pool, fields, options):
    served = serve(slow, **options)
    first = pool.submit(served.ask, b"first")
    assert slow.begun.wait(10)
    assert error_of(served.ask(b"late", **fields), 504) == "usage/deadline"
    assert served.batcher.waiting == 0
    assert served.figure('moekit_dropped_requests_total{reason="deadline"}') == 1
    slow.free.set()
    first.result(10)
    assert len(slow.calls) == 1, "the late one was not computed"


def test_a_client_may_not_ask_for_more_time_than_the_server_allows(serve, slow):
    served = serve(slow, deadline_s=0.5)
    reply = served.ask(b"x", deadline_s=100)
    assert error_of(reply, 504) == "usage/deadline"
    assert "0.5 s" in reply.json()["error"]["what"]


def test_a_request_whose_client_goes_away_is_not_computed(serve, slow, pool):
    served = serve(slow)
    first = pool.submit(served.ask, b"first")
    assert slow.begun.wait(10)
    leaves = threading.Event()
    body = (
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        b"gone\r\n--b--\r\n"
    )
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await asyncio.to_thread(leaves.wait, 10)
        return {"type": "http.disconnect"}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/answer",
        "raw_path": b"/v1/answer",
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"multipart/form-data; boundary=b"),
        ],
    }
    going = served.client.portal.start_task_soon(served.client.app, scope, receive, send)
    served.waits_until(lambda: served.batcher.waiting == 1)
    leaves.set()
    going.result(10)
    assert served.batcher.waiting == 0
    assert sent[0]["status"] == 499
    slow.free.set()
    assert first.result(10).status_code == 200
    assert served.ask(b"next").status_code == 200
    assert [call[1] for call in slow.calls] == [(b"first",), (b"next",)]
    assert served.figure('moekit_dropped_requests_total{reason="cancelled"}') == 1


class Request:
    """A body that comes piece by piece."""

    headers = {"content-type": "application/json"}  # noqa: RUF012

    def __init__(self, *pieces, pause=0.0):
        self.pieces = pieces
        self.pause = pause

    async def stream(self):
        for piece in self.pieces:
            await asyncio.sleep(self.pause)
            yield piece


def intake(**changes):
    return Intake(**{"most_bytes": 100, "most_images": 4, "most_held": 100, **changes})


def test_an_upload_that_does_not_end_is_given_up():
    async def read():
        async with intake().read(Request(*[b" "] * 99, pause=0.05), timeout_s=0.2):
            pass

    with pytest.raises(RefusedError) as caught:
        asyncio.run(read())
    assert caught.value.status == 408


def test_all_bodies_together_are_bounded_and_a_finished_one_frees_its_bytes():
    shared = intake(most_bytes=60)
    body = b'{"images": ["aGVsbG8="]}'.ljust(60)

    async def hold(other):
        async with shared.read(Request(body), timeout_s=5) as asked:
            assert asked.images == (b"hello",)
            if other:
                with pytest.raises(RefusedError) as caught:
                    await hold(False)
                return caught.value.status
        return 0

    assert asyncio.run(hold(True)) == 429
    assert asyncio.run(hold(False)) == 0


def test_a_server_that_closes_takes_no_more(serve, slow):
    slow.free.set()
    served = serve(slow)
    assert served.client.get("/readyz").status_code == 200
    assert served.client.get("/healthz").json() == {"state": "alive"}
    served.batcher.close()
    assert served.client.get("/readyz").status_code == 503
    assert served.client.get("/healthz").status_code == 503
    reply = served.ask(b"x")
    assert error_of(reply, 503) == "usage/closing"
    assert int(reply.headers["Retry-After"]) > 0


def test_an_unforeseen_error_is_told_without_its_words(serve, broken, caplog):
    served = serve(broken(ValueError("a secret of the inside")), raise_server_exceptions=False)
    reply = served.ask(b"x")
    assert error_of(reply, 500) == "error/unforeseen"
    assert "secret" not in reply.text
    assert served.figure('moekit_requests_total{path="/v1/answer",status="500"}') == 1
    assert "secret-0.png" not in caplog.text


def test_batches_and_answers_are_counted(serve, service, picture):
    served = serve(service)
    served.ask(picture(1), picture(2), kits=["all", "few"])
    assert served.figure('moekit_images_total{kit="all",outcome="answered"}') == 2
    assert served.figure("moekit_batch_images_sum") == 2
    assert served.figure("moekit_batch_requests_count") == 1
    assert served.figure("moekit_request_seconds_count") == 1
    reply = served.client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert "moekit_batch_seconds_bucket" in reply.text
