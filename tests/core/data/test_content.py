"""What a file holds is known by its bytes, whatever its name, size and times say."""

import os

from moekit.data.content import Contents, content_of_frames, stamp_of
from moekit.data.stream import Preprocess, image_batches
from moekit.files import sha256
from moekit.testing import refused

READ = Preprocess(size=8, mean=(0.0,) * 3, std=(1.0,) * 3)


def replaced(path, content):
    """Other bytes of the same length under the same times of change of content."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    assert len(content) == path.stat().st_size
    path.write_bytes(content)
    os.utime(path, ns=times)


def test_bytes_of_the_same_size_and_time_are_another_content(tmp_path):
    path, contents = tmp_path / "a", Contents()
    path.write_bytes(b"one")
    assert contents.of(path) == sha256(path)
    replaced(path, b"two")
    assert contents.of(path) == sha256(path)


def test_a_file_that_stays_as_it_is_is_hashed_once(tmp_path, monkeypatch, reads):
    path, contents = tmp_path / "a", Contents()
    path.write_bytes(b"one")
    contents.of(path)
    contents.of(path)
    assert reads[path] == 2  # it was written a moment ago and may change within the same tick
    monkeypatch.setattr("moekit.data.content._FRESH_NS", -1)
    for _ in range(3):
        assert contents.of(path) == sha256(tmp_path / "a")
        reads[path] -= 1
    assert reads[path] == 3
    replaced(path, b"two")
    assert contents.of(path) == sha256(path)


def test_a_file_that_is_gone_has_no_content(tmp_path):
    assert Contents().of(tmp_path / "none") == ""
    assert stamp_of(tmp_path / "none") is None


def test_the_hash_is_of_the_bytes_that_were_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"0")
    number = 0

    def load():
        nonlocal number
        found = path.read_bytes()
        number += 1
        if number < 3:  # a writer is at it
            path.write_bytes(b"%d" % number)
        return found

    found, content = Contents().read(path, load)
    assert found == path.read_bytes() == b"2"
    assert content == sha256(path)


def test_a_file_that_does_not_come_to_rest_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("moekit.data.content._WAIT_S", 0)
    path = tmp_path / "a"
    path.write_bytes(b"")

    def load():
        with path.open("ab") as file:
            file.write(b"more")

    with refused("image/changing"):
        Contents().read(path, load)


def test_batches_say_what_each_input_was_made_from(tmp_path, picture):
    picture.save(tmp_path / "whole.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "whole.png").read_bytes()[:90])
    paths = [tmp_path / f"{name}.png" for name in ("whole", "damaged", "none")]
    inputs = [(path.stem, path) for path in paths]
    (batch,) = image_batches(inputs, READ, batch_size=4, contents=Contents())
    assert batch.rows == (0,)
    assert batch.contents == {0: sha256(paths[0]), 1: sha256(paths[1]), 2: ""}
    (plain,) = image_batches(inputs, READ, batch_size=4)
    assert plain.contents == {}


def test_frames_are_told_apart_by_pixels_mode_and_size(picture):
    wide = picture.resize((4, 2))
    changed = wide.copy()
    changed.putpixel((3, 1), (1, 2, 3))
    different = [[wide], [changed], [wide, wide]]
    different += [[wide.convert("L")], [picture.resize((2, 4))]]
    assert len({content_of_frames(frames) for frames in different}) == len(different)
    assert content_of_frames([wide]) == content_of_frames([wide.copy()])


def test_what_is_no_file_has_no_content_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for path in tmp_path.iterdir():
        assert Contents().of(path) == ""
    inputs = [(path.name, path) for path in sorted(tmp_path.iterdir())]
    (batch,) = image_batches(inputs, READ, batch_size=4, contents=Contents())
    assert len(batch.skipped) == 3
    assert set(batch.contents.values()) == {""}
