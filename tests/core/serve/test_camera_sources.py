"""What `--camera` names, and folders as cameras."""

import threading
import time

import pytest

from moekit.serve.streams.naming import MOST_CAMERAS, named_kits, named_sources
from moekit.serve.streams.sources import FolderSource
from moekit.testing import refused

BOUNDS = {"most_bytes": 2**20, "most_pixels": 10**6}


def test_a_folder_gives_files_once_they_are_whole(tmp_path, picture):
    (tmp_path / "old.png").write_bytes(picture(0))
    stop, found = threading.Event(), []

    def read():
        source = FolderSource(folder=tmp_path, most_bytes=2**20)
        found.extend(one.load() for one in source.frames(stop))

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.5)
    with (tmp_path / "new.png").open("wb") as file:
        file.write(picture(1)[:100])
        file.flush()
        time.sleep(0.1)
        file.write(picture(1)[100:])
    time.sleep(0.8)
    stop.set()
    thread.join()
    assert found == [picture(0), picture(1)]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (["a"], "usage/bad-camera"),
        (["=/tmp"], "usage/bad-camera"),
        (["a b=/tmp"], "usage/bad-camera"),
        (["a/b=/tmp"], "usage/bad-camera"),
        (["<b>=/tmp"], "usage/bad-camera"),
        (["a=/tmp", "a=/tmp"], "usage/bad-camera"),
        (["a="], "usage/bad-camera"),
        (["a=/nonesuch"], "usage/bad-camera"),
        (["a=gopher://host"], "usage/bad-camera"),
        ([f"a{n}=/tmp" for n in range(MOST_CAMERAS + 1)], "usage/too-many-cameras"),
    ],
)
def test_odd_cameras_are_refused(given, code):
    with refused(code):
        named_sources(given, **BOUNDS)


def test_a_refused_camera_does_not_tell_its_password():
    with pytest.raises(Exception, match="is no folder") as error:
        named_sources(["a=rtsq://me:secret@host/x"], **BOUNDS)
    assert "secret" not in str(error.value.what) + str(error.value.fix)


def test_sources_are_told_by_their_form(tmp_path):
    pytest.importorskip("av")
    file = tmp_path / "clip=1.mp4"
    file.write_bytes(b"x")
    given = [f"f={tmp_path}", f"v={file}", "d=/dev/video0", "s=rtsp://me:pw@host:554/path?a=b"]
    found = named_sources(given, **BOUNDS)
    assert [one.kind for one in found.values()] == ["folder", "file", "device", "stream"]
    assert found["s"].address == "rtsp://me:pw@host:554/path?a=b"


def test_a_device_takes_size_rate_and_format():
    pytest.importorskip("av", reason="PyAV is not installed")
    text = "d=/dev/video0?size=1280x720&rate=30000/1001&format=mjpeg"
    source = named_sources([text], **BOUNDS)["d"]
    assert (source.kind, source.address) == ("device", "/dev/video0")
    assert source.options == {
        "video_size": "1280x720",
        "framerate": "30000/1001",
        "input_format": "mjpeg",
    }
    for wrong in ("size=big", "rate=-1", "format=../x", "input=7", "size", "size=1x2=3"):
        with refused("usage/bad-camera"):
            named_sources([f"d=/dev/video0?{wrong}"], **BOUNDS)


def test_a_device_is_opened_by_v4l2_with_what_was_asked(monkeypatch):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    asked = []

    def opened(address, **how):
        asked.append((address, how))
        raise av.error.FileNotFoundError(2, "No such device")

    monkeypatch.setattr(av, "open", opened)
    source = named_sources(["d=/dev/video7?rate=15"], **BOUNDS)["d"]
    with refused("data/unreadable-camera"):
        list(source.frames(threading.Event()))
    ((address, how),) = asked
    assert (address, how["format"], how["options"]) == ("/dev/video7", "v4l2", {"framerate": "15"})


def test_cameras_name_the_kits_that_answer_them():
    found = named_kits(["a=y", "b=y, x"], cameras=["a", "b", "c"], kits=["x", "y"])
    assert found == {"a": ("y",), "b": ("x", "y")}
    for wrong in (["d=x"], ["a=z"], ["a=x", "a=y"], ["a"], ["a="]):
        with refused("usage/bad-camera"):
            named_kits(wrong, cameras=["a"], kits=["x", "y"])
