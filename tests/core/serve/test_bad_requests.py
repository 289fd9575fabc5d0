"""Images that cannot be read, and bodies that are none: told by index and cause, never a 500."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from moekit.serve.forms import FormError, FormReader
from moekit.serve.schema import ErrorReply

BOUNDARY = "a-boundary-of-the-tests"


def fault(reply, status, code):
    assert reply.status_code == status, reply.text
    ErrorReply.model_validate(reply.json())
    assert reply.json()["error"]["code"] == code
    return reply.json()["error"]


@pytest.fixture
def served(serve, service):
    return serve(service, most_mib=1.0, most_images=4)


@pytest.fixture
def bomb():
    """A small file that claims 50,000 x 50,000 pixels."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    pieces = (chunk(b"IHDR", header), chunk(b"IDAT", b""), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def test_a_truncated_image_is_told_with_its_index(served, picture):
    error = fault(served.ask(picture(1)[:-40]), 422, "image/damaged")
    assert error["image"] == 0
    assert "truncated or damaged" in error["what"]


def test_a_bomb_is_refused_from_its_header(served, bomb):
    assert fault(served.ask(bomb), 422, "image/too-large")["image"] == 0


def test_the_limit_of_pixels_is_that_of_the_server(served):
    file = io.BytesIO()
    Image.new("L", (1100, 1000)).save(file, "PNG")
    fault(served.ask(file.getvalue()), 422, "image/too-large")


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "image/empty"), (b"no picture", "image/not-an-image")]
)
def test_what_is_no_image_is_told_apart(served, content, code):
    fault(served.ask(content), 422, code)


def test_one_bad_image_of_several_does_not_spoil_the_others(served, picture, bomb):
    reply = served.ask(picture(1), bomb, picture(2), picture(3)[:100], kits=["all"])
    assert reply.status_code == 200
    entries = reply.json()["images"]
    assert [entry["error"] and entry["error"]["code"] for entry in entries] == [
        None,
        "image/too-large",
        None,
        "image/damaged",
    ]
    assert [entry["error"] and entry["error"]["image"] for entry in entries] == [None, 1, None, 3]
    assert [len(entry["answers"]) for entry in entries] == [1, 0, 1, 0]
    assert served.figure('moekit_images_total{kit="all",outcome="unreadable"}') == 2


def test_if_all_are_bad_each_is_told(served, bomb):
    reply = served.ask(b"x", bomb)
    fault(reply, 422, "image/not-an-image")
    found = [entry["error"]["code"] for entry in reply.json()["images"]]
    assert found == ["image/not-an-image", "image/too-large"]


def test_what_was_guessed_of_an_image_is_told(served):
    file = io.BytesIO()
    Image.new("RGBA", (48, 48), (10, 20, 30, 40)).save(file, "PNG")
    (entry,) = served.ask(file.getvalue(), kits=["all"]).json()["images"]
    assert len(entry["remarks"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"images": []}',
        b'{"images": "aGk="}',
        b'{"images": ["not base64!"]}',
        b'{"images": [1]}',
        b'{"images": ["aGk="], "kits": "all"}',
        b'{"images": ["aGk="], "model": "all"}',
        b'{"images": ["aGk="], "deadline_s": 0}',
        b'{"images": ["aGk="], "deadline_s": NaN}',
        b'{"images": ["aGk="], "images": ["aGk="]}',
        b"[" * 100_000,
        b'{"images": [' + b"1," * 300_000 + b"1]}",
        b"{" + b",".join(b'"%d": 1' % n for n in range(50_000)) + b', "x": 1, "x": 1}',
    ],
)
def test_bad_json_is_refused(served, body):
    reply = served.client.post(
        "/v1/answer", content=body, headers={"Content-Type": "application/json"}
    )
    fault(reply, 422, "usage/bad-request")


def form(*parts, end="--\r\n"):
    text = "".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n{body}\r\n" for head, body in parts)
    return f"{text}--{BOUNDARY}{end}".encode()


IMAGE = ('Content-Disposition: form-data; name="images"; filename="a"', "x")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(), f"multipart/form-data; boundary={BOUNDARY}"),
        (form(IMAGE), "multipart/form-data"),
        (form(IMAGE)[:-20], f"multipart/form-data; boundary={BOUNDARY}"),
        (form(IMAGE, end=""), f"multipart/form-data; boundary={BOUNDARY}"),
        (b"no form at all", f"multipart/form-data; boundary={BOUNDARY}"),
        (
            form(IMAGE, ('Content-Disposition: form-data; name="kit"', "all")),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
        (
            form(('Content-Disposition: form-data; name="images"', "text")),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
        (
            form(IMAGE, ('Content-Disposition: form-data; name="deadline_s"', "soon")),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
        (
            form(IMAGE, *[('Content-Disposition: form-data; name="deadline_s"', "5")] * 2),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
        (
            form(IMAGE, ('Content-Disposition: form-data; name="kits"', "x" * 2000)),
            f"multipart/form-data; boundary={BOUNDARY}",
        ),
    ],
)
def test_a_bad_form_is_refused(served, body, kind):
    reply = served.client.post("/v1/answer", content=body, headers={"Content-Type": kind})
    fault(reply, 422, "usage/bad-request")


def test_a_damaged_form_is_read_or_refused_and_nothing_else():
    random = np.random.default_rng(0)
    whole = form(IMAGE, ('Content-Disposition: form-data; name="kits"', "all"))
    seen = set()
    for _ in range(2000):
        body = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            body[random.integers(len(body))] = random.integers(256)
        try:
            reader = FormReader(f"multipart/form-data; boundary={BOUNDARY}")
            for first in range(0, len(body), 50):
                reader.feed(bytes(body[first : first + 50]))
            seen.add(len(reader.finish()))
        except FormError as error:
            seen.add(str(error)[:9])
    assert len(seen) > 3


def test_a_body_of_another_type_is_refused(served):
    for headers in ({"Content-Type": "image/png"}, {}):
        reply = served.client.post("/v1/answer", content=b"x", headers=headers)
        fault(reply, 415, "usage/bad-media-type")


def test_other_paths_and_methods_get_the_same_form_of_error(served):
    fault(served.client.get("/v1/nonesuch"), 404, "usage/bad-request")
    fault(served.client.get("/v1/answer"), 405, "usage/bad-request")
    assert served.figure('moekit_requests_total{path="other",status="404"}') == 1


def test_too_many_images_are_refused(served, picture):
    fault(served.ask(*[picture(1)] * 5), 413, "usage/too-many-images")


def test_a_body_that_is_too_large_is_refused_by_what_it_announces(served):
    fault(served.ask(b"\0" * 2**20), 413, "usage/too-large")


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("application/json", b'{"images": ["'),
        (f"multipart/form-data; boundary={BOUNDARY}", form(IMAGE, end="")[: -len(BOUNDARY) - 6]),
    ],
)
def test_a_body_that_is_too_large_is_refused_as_it_streams_in(serve, slow, kind, head):
    """Without a Content-Length."""
    served = serve(slow, most_mib=0.25)

    def pieces():
        yield head
        for _ in range(8):
            yield b"A" * 2**16

    reply = served.client.post("/v1/answer", content=pieces(), headers={"Content-Type": kind})
    fault(reply, 413, "usage/too-large")
    assert "content-length" not in reply.request.headers
    assert not slow.calls
