"""The loader of arrays, and what it refuses."""

import collections
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from moekit.builtin.loaders import npz
from moekit.builtin.loaders.npz import NPZ, load_npz
from moekit.builtin.loaders.pictures import stored_pictures
from moekit.data.arrays import Arrays
from moekit.data.images import read_image
from moekit.testing import refused


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def arrays(seed=0, **changes):
    generator = np.random.default_rng(seed)
    content = {}
    for name, count in {"train": 12, "val": 6, "test": 6}.items():
        content[f"x_{name}"] = generator.integers(0, 256, (count, 9, 7, 3), dtype=np.uint8)
        content[f"y_{name}"] = np.arange(count) % 3
    return {**content, **changes}


def save(tmp_path, content, name="set.npz"):
    kept = {key: value for key, value in content.items() if value is not None}
    np.savez_compressed(tmp_path / name, **kept)
    return tmp_path / name


def flat(**changes):
    generator = np.random.default_rng(0)
    content = {
        "images": generator.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8),
        "labels": np.arange(30) % 3,
    }
    return {**content, **changes}


def test_pictures_are_what_the_arrays_hold_to_the_pixel(tmp_path):
    content = arrays(class_names=np.array(["x", "y", "z"]))
    dataset = load_npz(save(tmp_path, content), 0)
    assert dataset.classes == ("x", "y", "z")
    assert len(dataset.samples) == 24
    for sample in dataset.samples:
        split, _, number = sample.id.partition("/")
        assert sample.split == split
        assert sample.label == content[f"y_{split}"][int(number)]
        np.testing.assert_array_equal(
            np.asarray(read_image(sample.path)), content[f"x_{split}"][int(number)]
        )


def test_without_names_the_classes_are_numbers(tmp_path):
    assert load_npz(save(tmp_path, arrays()), 0).classes == ("0", "1", "2")


def test_train_and_test_only_get_a_validation_split(tmp_path):
    content = arrays(x_val=None, y_val=None)
    content["x_train"] = np.random.default_rng(3).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    content["y_train"] = np.arange(30)[:, None] % 3
    dataset = load_npz(save(tmp_path, content), 0)
    assert dataset.split_names() == ("train", "val", "test")
    assert {s.id for s in dataset.split("test")} == {f"test/{n:06}" for n in range(6)}


def test_one_array_is_split_by_seed_or_by_its_own_names(tmp_path):
    dataset = load_npz(save(tmp_path, flat()), 0)
    assert dataset.split_names() == ("train", "val", "test")
    assert dataset.samples[0].id == "000000"
    split = np.array(["train"] * 20 + ["val"] * 10)
    given = load_npz(save(tmp_path, flat(split=split), "other.npz"), 0)
    assert collections.Counter(s.split for s in given.samples) == {"train": 20, "val": 10}


def test_grey_pictures_are_read(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    dataset = load_npz(save(tmp_path, flat(images=grey)), 0)
    assert read_image(dataset.samples[0].path).size == (8, 8)


def test_two_classes_of_a_negative_name_are_for_scores_too(tmp_path):
    labels = np.arange(30) % 2
    names = np.array(["good", "bad"])
    given = load_npz(save(tmp_path, flat(labels=labels, class_names=names)), 0)
    assert given.has_negative
    other = load_npz(save(tmp_path, flat(labels=labels, class_names=names[::-1]), "o.npz"), 0)
    assert not other.has_negative


def test_options_are_read(tmp_path):
    path = save(tmp_path, arrays())
    few = load_npz(Path(f"{path}?shots=2"), 0)
    assert collections.Counter(s.label for s in few.split("train")) == {0: 2, 1: 2, 2: 2}
    strange = load_npz(Path(f"{path}?unseen=1"), 0)
    assert strange.classes == ("0", "2")
    assert {s.split for s in strange.samples if s.label == -1} == {"val", "test"}


def test_the_second_time_nothing_is_written(tmp_path, monkeypatch):
    path = save(tmp_path, arrays())
    first = load_npz(path, 0)
    stamps = {s.path: s.path.stat().st_mtime_ns for s in first.samples}

    def pictures(arrays, labels):
        yield pytest.fail("read again")

    monkeypatch.setattr(npz, "_pictures", pictures)
    second = load_npz(path, 0)
    assert {s.path: s.path.stat().st_mtime_ns for s in second.samples} == stamps


@pytest.mark.parametrize("damage", ["shorter", "missing", "changed", "index", "index of no names"])
def test_a_damaged_cache_is_named_and_written_again_the_next_time(tmp_path, damage):
    path = save(tmp_path, arrays())
    sample = load_npz(path, 0).samples[5]
    whole = sample.path.read_bytes()
    if damage == "shorter":
        sample.path.write_bytes(whole[:-9])
    elif damage == "missing":
        sample.path.unlink()
    elif damage == "changed":
        sample.path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    else:
        (sample.path.parent / "index.json").write_text("{" if damage == "index" else "[]")
    with refused("data/damaged-cache", match="index" if "index" in damage else sample.path.name):
        load_npz(path, 0)
    assert load_npz(path, 0).samples[5].path.read_bytes() == whole


def test_a_cache_of_an_earlier_version_that_noted_lengths_is_written_again(tmp_path):
    path = save(tmp_path, arrays())
    sample = load_npz(path, 0).samples[5]
    whole, index = sample.path.read_bytes(), sample.path.parent / "index.json"
    index.write_text(json.dumps({sample.path.name: len(whole)}))
    sample.path.write_bytes(bytes(len(whole)))
    assert load_npz(path, 0).samples[5].path.read_bytes() == whole
    assert len(json.loads(index.read_text())[sample.path.name]) == 64


def test_an_interrupted_writing_leaves_nothing(cache):
    def pictures():
        yield "0.png", np.zeros((4, 4, 3), dtype=np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored_pictures("npz", "key", pictures())
    assert not list((cache / "npz").iterdir())


def test_a_cache_that_cannot_be_written_is_named(cache):
    cache.write_text("a file")
    with refused("storage/cannot-write", match="cache"):
        stored_pictures("npz", "key", [])


def test_another_process_that_was_first_is_left_in_peace(cache):
    black = np.zeros((4, 4, 3), dtype=np.uint8)

    def pictures():
        stored_pictures("npz", "key", [("0.png", black + 7)])
        yield "0.png", black

    folder = stored_pictures("npz", "key", pictures())
    assert np.asarray(read_image(folder / "0.png")).max() == 7
    assert [path.name for path in (cache / "npz").iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("content", "code", "named"),
    [
        (arrays(y_train=np.arange(11) % 3), "data/array-shape", "12 .* 11 "),
        (arrays(y_train=np.arange(12.0)), "data/array-type", "float64"),
        (arrays(y_train=np.zeros((12, 3), dtype=int)), "data/array-type", "y_train"),
        (arrays(y_train=np.array(3)), "data/array-type", "y_train"),
        (arrays(y_train=np.arange(12) - 1), "data/unknown-class", "-1"),
        (arrays(y_train=None), "data/missing-array", "'y_train'"),
        (
            arrays(x_train=np.zeros((12, 9, 7, 4), dtype=np.uint8)),
            "data/array-type",
            r"\(12, 9, 7, 4\)",
        ),
        (arrays(x_train=np.zeros((12, 9, 7, 3))), "data/array-type", "float64"),
        (
            arrays(x_train=np.zeros((12, 0, 7, 3), dtype=np.uint8)),
            "data/array-type",
            r"\(12, 0, 7, 3\)",
        ),
        (arrays(class_names=np.array(["x", "y"])), "data/unknown-class", "2 "),
        (arrays(class_names=np.array(["x", "y", "x"])), "data/array-type", "class_names"),
        (arrays(class_names=np.array([1, 2, 3])), "data/array-type", "class_names"),
        (arrays(y_train=np.arange(12) % 2), "data/missing-class", "'2'"),
        (flat(split=np.array(["train"] * 29 + ["dev"])), "data/unknown-split", "'dev'.* 29 "),
        (flat(split=np.array(["train"] * 9)), "data/array-type", r"\(9,\)"),
        (flat(split=np.arange(30)), "data/array-type", "split"),
        ({"a": np.zeros(3)}, "data/missing-array", " a,"),
    ],
)
def test_arrays_that_cannot_be_meant_are_refused(tmp_path, content, code, named):
    with refused(code, match=named):
        load_npz(save(tmp_path, content), 0)


def member(array, allow_pickle=False):
    memory = io.BytesIO()
    np.lib.format.write_array(memory, array, allow_pickle=allow_pickle)
    return memory.getvalue()


def test_objects_are_refused_before_they_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("x_train.npy", member(np.zeros((1, 2, 2, 3), dtype=np.uint8)))
        archive.writestr("y_train.npy", member(np.array([print], dtype=object), True))
    with refused("data/unsafe-array"):
        load_npz(tmp_path / "set.npz", 0)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"0"])
def test_a_member_of_another_length_is_refused(tmp_path, damage):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("x_train.npy", member(np.zeros((1, 2, 2, 3), dtype=np.uint8)))
        archive.writestr("y_train.npy", damage(member(np.zeros(1, dtype=int))))
    with refused("data/damaged"):
        load_npz(tmp_path / "set.npz", 0)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 99])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "set.npz").write_bytes(content)
    with refused("data/damaged"):
        load_npz(tmp_path / "set.npz", 0)


def test_an_array_that_is_there_twice_is_refused_by_name(tmp_path):
    path = save(tmp_path, arrays())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y_val.npy", b"")
    with refused("data/missing-array", match="y_val"):
        load_npz(path, 0)


def test_errors_about_a_private_file_hold_neither_its_name_nor_what_set_them_off(tmp_path):
    path = tmp_path / "name of a patient.npz"
    for content, code in ((b"no zip", "data/damaged"), (member(np.zeros(3)), "data/damaged")):
        path.write_bytes(content)
        with refused(code) as caught:
            Arrays(path, whose="the npz file", fix="ask for it again")
        assert "patient" not in str(caught.value)
        assert (caught.value.fix, caught.value.__cause__) == ("ask for it again", None)


def test_a_folder_and_nothing_are_refused(tmp_path):
    with refused("data/not-a-file"):
        load_npz(tmp_path, 0)
    with refused("data/not-found"):
        load_npz(tmp_path / "none.npz", 0)
    with refused("data/not-found"):
        load_npz(None, 0)


def test_the_example_is_read(tmp_path):
    folder = tmp_path / "example"
    folder.mkdir()
    dataset = load_npz(NPZ.example(folder), 0)
    assert dataset.classes == ("blue", "green", "red")
    assert dataset.split_names() == ("train", "val", "test")
