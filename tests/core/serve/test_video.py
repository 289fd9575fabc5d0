"""Real videos: files, and streams over the network of this machine."""

import json
import logging
import signal
import socket
import threading
import time
import urllib.request

import numpy as np
import pytest

from moekit.errors import DataError
from moekit.serve.streams.naming import named_sources
from moekit.serve.streams.sources import VideoSource

av = pytest.importorskip("av", reason="PyAV is not installed")
FRAMES, RATE, SIDE = 20, 40, 64


def level(number):
    """The brightness of a frame, by which it is told."""
    return 20 + 10 * number


def write(address, *, codec="mpeg4", frames=FRAMES, **options):
    """Writes a video of gray frames; the left half of each is black."""
    with av.open(address, "w", **options) as made:
        stream = made.add_stream(codec, rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 5
        for number in range(frames):
            pixels = np.full((SIDE, SIDE, 3), level(number % FRAMES), dtype=np.uint8)
            pixels[:, : SIDE // 2] = 0
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                made.mux(packet)
        for packet in stream.encode():
            made.mux(packet)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    write(str(path))
    return path


def read(source, stop=None):
    return [(one.at, one.load()) for one in source.frames(stop or threading.Event())]


def brightness(picture):
    return float(np.asarray(picture)[:, SIDE // 2 + 4 :].mean())


def test_a_file_is_played_at_its_own_pace_and_ends(clip):
    began = time.monotonic()
    found = read(VideoSource(address=str(clip), kind="file", most_pixels=10**6))
    assert time.monotonic() - began > 0.8 * (FRAMES - 1) / RATE
    assert len(found) == FRAMES
    for number, (_, picture) in enumerate(found):
        assert picture.size == (SIDE, SIDE)
        assert picture.mode == "RGB"
        assert brightness(picture) == pytest.approx(level(number), abs=6)
        assert np.asarray(picture)[:, : SIDE // 2 - 4].mean() < 12, "it is not mirrored"


def test_a_film_of_a_turned_phone_is_upright(clip):
    straight, clockwise = (
        b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
        for matrix in (
            (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30),
            (0, 1 << 16, 0, -1 << 16, 0, 0, SIDE << 16, 0, 1 << 30),
        )
    )
    head, film, track = clip.read_bytes().split(straight)
    clip.write_bytes(head + straight + film + clockwise + track)
    frames = VideoSource(address=str(clip), kind="file", most_pixels=10**6).frames(
        threading.Event()
    )
    pixels = np.asarray(next(frames).load()).astype(int)
    assert pixels[: SIDE // 2 - 4].mean() < 8, "what was at the left is at the top"
    assert pixels[SIDE // 2 + 4 :].mean() == pytest.approx(level(0), abs=6)


def test_a_file_stops_when_it_is_told(clip):
    stop = threading.Event()
    frames = VideoSource(address=str(clip), kind="file", most_pixels=10**6).frames(stop)
    next(frames)
    stop.set()
    assert list(frames) == []


def test_damaged_parts_of_a_file_are_left_out(tmp_path):
    clip = tmp_path / "a.ts"
    write(str(clip), codec="mpeg2video", format="mpegts")
    content = bytearray(clip.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = np.random.default_rng(0).bytes(third)
    clip.write_bytes(content)
    found = read(VideoSource(address=str(clip), kind="file", most_pixels=10**6))
    assert FRAMES / 4 < len(found) < FRAMES, "some are lost, and it goes on behind them"
    assert brightness(found[-1][1]) == pytest.approx(level(FRAMES - 1), abs=6)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 4096])
def test_what_is_no_video_is_refused(tmp_path, content):
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read(VideoSource(address=str(path), kind="file", most_pixels=10**6))
    assert error.value.code == "data/unreadable-camera"


def test_frames_of_too_many_pixels_are_refused(clip):
    with pytest.raises(DataError, match="64 x 64 pixels"):
        read(VideoSource(address=str(clip), kind="file", most_pixels=SIDE * SIDE - 1))


def test_a_stream_that_nobody_sends_does_not_tell_its_password(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    for address in ("rtsp://me:secret@127.0.0.1:9/x", "http://me:secret@127.0.0.1:9/x"):
        with pytest.raises(DataError) as error:
            read(VideoSource(address=address, kind="stream", most_pixels=10**6))
        assert "refused" in error.value.what
        assert "secret" not in repr(vars(error.value)) + caplog.text + "".join(capfd.readouterr())
    with pytest.raises(DataError):
        read(VideoSource(address="/dev/video-nonesuch", kind="device", most_pixels=10**6))


def test_a_live_stream_is_read_and_its_end_is_a_failure(tmp_path):
    write(str(tmp_path / "a.ts"), codec="mpeg2video", format="mpegts")
    content = (tmp_path / "a.ts").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def send():
            connection, _ = listening.accept()
            with connection:
                for first in range(0, len(content), 2000):
                    connection.sendall(content[first : first + 2000])
                    time.sleep(0.005)

        sender = threading.Thread(target=send)
        sender.start()
        address = f"a=tcp://127.0.0.1:{listening.getsockname()[1]}"
        source = named_sources([address], most_bytes=2**20, most_pixels=10**6)["a"]
        found = []
        try:
            with pytest.raises(DataError, match="has ended"):
                found.extend(brightness(one.load()) for one in source.frames(threading.Event()))
        finally:
            sender.join(10)
    assert len(found) > FRAMES / 2
    assert found == sorted(found), "in order"


def figures(url, path):
    with urllib.request.urlopen(f"{url}{path}", timeout=20) as response:
        return json.loads(response.read())


def test_a_server_answers_a_folder_and_a_video_as_it_answers_requests(
    start_process, tmp_path, picture
):
    folder, clip = tmp_path / "in", tmp_path / "clip.mp4"
    folder.mkdir()
    write(str(clip), frames=2000)
    options = ("--camera", f"line={folder}", "--camera", f"clip={clip}")
    process = start_process("all", options=options)
    url = f"{process.url}/v1/cameras/line/events?overlays=true"
    with urllib.request.urlopen(url, timeout=30) as events:
        assert events.readline().startswith(b":")
        (folder / "one.png").write_bytes(picture(7, odd=True))
        while not (line := events.readline()).startswith(b"data: "):
            assert line
        event = json.loads(line[6:])
        request = urllib.request.Request(
            f"{process.url}/v1/answer",
            picture(7, odd=True).join(
                (
                    b'--b\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n',
                    b"\r\n--b--\r\n",
                )
            ),
            {"Content-Type": "multipart/form-data; boundary=b"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            (own,) = json.loads(response.read())["images"]
        answer = event["answer"]
        assert answer["picture"]["width"] == 48
        shown = answer["answers"]["all"].pop("shown")
        assert shown["overlay"]["base64"]
        assert answer["image_sha256"] == own["image_sha256"]
        found = [one["answers"]["all"]["values"] for one in (answer, own)]
        assert found[0]["score"] == pytest.approx(found[1]["score"], rel=1e-4)
        deadline = time.monotonic() + 20
        while True:
            line, video = figures(process.url, "/v1/cameras")["cameras"]
            if video["answered"] > 10:
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (line["state"], line["frames"], line["answered"]) == ("running", 1, 1)
        assert (video["kind"], video["state"], video["failed"]) == ("file", "running", 0)
        assert video["latency_s"]["p50"] < 5
        process.process.send_signal(signal.SIGTERM)
        while events.readline():  # what was under way, then the end
            pass
    assert process.process.wait(20) == 0
    assert str(folder) not in process.log
    assert "one.png" not in process.log
