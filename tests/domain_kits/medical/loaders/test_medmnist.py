"""The loader of MedMNIST files, on sound ones and on files that want to do harm."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from loader_tables import pixels_of

from moekit import DataError
from moekit.testing import refused
from moekit_medical.loaders import npz
from moekit_medical.loaders.medmnist import load_medmnist

COUNTS = {"train": 12, "val": 6, "test": 8}


def make_arrays(side=28, channels=()):
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in COUNTS.items():
        shape = (count, side, side, *channels)
        arrays[f"{split}_images"] = generator.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    return arrays


@pytest.fixture
def file(tmp_path):
    return tmp_path / "set.npz"


@pytest.fixture
def arrays(file):
    content = make_arrays()
    np.savez(file, **content)
    return content


def refusal(file, named=""):
    """The code of the error, which holds the words that are named and no folder."""
    with pytest.raises(DataError) as caught:
        load_medmnist(file, 0)
    assert str(file.parent) not in str(caught.value)
    assert named in caught.value.what
    return caught.value.code


def rewrite(file, name, content, method=zipfile.ZIP_DEFLATED):
    """Replaces one member by other bytes."""
    with zipfile.ZipFile(file) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    members[f"{name}.npy"] = content
    with zipfile.ZipFile(file, "w", method) as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def npy(shape, data=b"", descr="|u1"):
    """A member whose header may lie."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(("side", "channels"), [(28, ()), (28, (3,)), (64, ())])
def test_images_labels_and_splits_are_those_of_the_file(file, side, channels):
    arrays = make_arrays(side, channels)
    np.savez_compressed(file, **arrays)
    dataset = load_medmnist(file, 0)
    assert {name: len(dataset.split(name)) for name in COUNTS} == COUNTS
    for split in COUNTS:
        for number, sample in enumerate(dataset.split(split)):
            assert sample.id == f"{split}/{number:06}"
            assert sample.label == arrays[f"{split}_labels"][number, 0]
            assert np.array_equal(pixels_of(sample), arrays[f"{split}_images"][number])
    assert dataset.split_note == "as given by the file"


def test_labels_of_one_dimension_and_fortran_order_are_read(file, arrays):
    arrays = {
        name: np.asfortranarray(array) if array.ndim == 3 else array[:, 0].astype(np.int64)
        for name, array in arrays.items()
    }
    np.savez(file, **arrays)
    sample = load_medmnist(file, 0).samples[5]
    assert np.array_equal(pixels_of(sample), arrays["train_images"][5])


def test_the_positive_class_can_be_label_0(file, arrays):
    usual = load_medmnist(file, 0)
    turned = load_medmnist(file.with_name("set.npz?positive=0"), 0)
    assert (usual.classes, turned.classes) == (("label 0", "label 1"), ("label 1", "label 0"))
    assert [s.label for s in turned.samples] == [1 - s.label for s in usual.samples]
    with refused("data/bad-option"):
        load_medmnist(file.with_name("set.npz?positive=2"), 0)


def test_more_than_two_labels_are_classes_and_none_is_positive(file, arrays):
    for split, count in COUNTS.items():
        arrays[f"{split}_labels"] = (np.arange(count) % 3).astype(np.uint8)[:, None]
    np.savez(file, **arrays)
    dataset = load_medmnist(file, 0)
    assert dataset.classes == ("label 0", "label 1", "label 2")
    assert {sample.label for sample in dataset.split("train")} == {0, 1, 2}
    assert dataset.positive == ""
    with refused("data/bad-option"):
        load_medmnist(file.with_name("set.npz?positive=1"), 0)


def test_images_are_written_once_under_the_hash_of_the_file(file, arrays, cache):
    sample = load_medmnist(file, 0).samples[0]
    written = sample.path.stat().st_mtime_ns
    assert load_medmnist(file.rename(file.with_name("other.npz")), 1).samples[0] == sample
    assert sample.path.stat().st_mtime_ns == written
    folders = list((cache / "medmnist").iterdir())
    assert len(folders) == 1
    assert len(folders[0].name) == 16


def test_images_that_lie_in_two_splits_are_counted_in_the_note(file, arrays):
    arrays["test_images"][:2] = arrays["train_images"][:2]
    np.savez(file, **arrays)
    assert "; 2 images lie in more than one split" in load_medmnist(file, 0).split_note


@pytest.mark.parametrize("name", sorted(make_arrays()))
def test_a_missing_array_is_named(file, arrays, name):
    del arrays[name]
    np.savez(file, **arrays)
    assert refusal(file, name) == "data/missing-array"


@pytest.mark.parametrize(
    ("name", "array", "code", "named"),
    [
        ("train_images", np.zeros((12, 28, 28), np.float32), "data/array-type", "float32"),
        (
            "train_images",
            np.zeros((12, 28, 28, 28), np.uint8),
            "data/array-shape",
            "12 x 28 x 28 x 28",
        ),
        ("train_images", np.zeros((12, 28), np.uint8), "data/array-shape", "12 x 28"),
        ("train_images", np.zeros((12, 8, 8), np.uint8), "data/array-shape", "12 x 8 x 8"),
        ("val_images", np.zeros((5, 28, 28), np.uint8), "data/array-shape", "val_labels"),
        ("val_labels", np.zeros((6, 14), np.uint8), "data/several-labels", "14"),
        ("val_labels", np.zeros((6, 1), np.float64), "data/array-type", "float64"),
        ("val_labels", np.arange(6, dtype=np.uint8), "data/missing-class", ""),
        ("val_labels", np.full(6, -1), "data/unknown-class", "255"),
        ("val_labels", np.zeros((), np.uint8), "data/array-shape", "val_labels"),
    ],
)
def test_an_array_of_another_kind_is_refused(file, arrays, name, array, code, named):
    np.savez(file, **{**arrays, name: array})
    assert refusal(file, named) == code


def test_an_empty_split_is_refused(file, arrays):
    arrays["val_images"], arrays["val_labels"] = np.zeros((0, 28, 28), np.uint8), np.zeros((0, 1))
    arrays["val_labels"] = arrays["val_labels"].astype(np.uint8)
    np.savez(file, **arrays)
    assert refusal(file, "val") == "data/empty-split"


def test_a_split_of_one_class_is_refused(file, arrays):
    np.savez(file, **{**arrays, "val_labels": np.zeros((6, 1), np.uint8)})
    assert refusal(file) == "data/one-class"


def test_python_objects_are_refused_and_never_unpickled(file, arrays, tmp_path):
    marker = tmp_path / "executed"

    class Trap:
        def __reduce__(self):
            return (marker.touch, ())

    rewrite(file, "train_labels", npy((1,), pickle.dumps(Trap()), descr="|O"))
    assert refusal(file) == "data/unsafe-array"
    np.savez(file, **{**arrays, "train_labels": np.array([Trap()] * 12, dtype=object)})
    assert refusal(file) == "data/unsafe-array"
    assert not marker.exists()


def test_a_member_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    file, arrays, monkeypatch
):
    monkeypatch.setattr(npz, "MAX_BYTES", 1_000_000)
    rewrite(file, "train_images", npy((20_000, 28, 28), bytes(20_000 * 28 * 28)))
    assert file.stat().st_size < 100_000
    assert refusal(file, "1,000,000") == "data/too-large"


@pytest.mark.parametrize("shape", [(2**40, 28, 28), (-12, 28, 28), (12, 2**62, 4), (13, 28, 28)])
def test_a_header_that_claims_another_size_is_refused(file, arrays, shape):
    rewrite(file, "train_images", npy(shape, bytes(12 * 28 * 28)))
    assert refusal(file, "train_images") == "data/damaged"


def test_a_member_that_understates_its_size_in_the_archive_is_refused(file, arrays):
    rewrite(file, "train_images", npy((12, 28, 28), bytes(12 * 28 * 28)))
    content = bytearray(file.read_bytes())
    true = len(npy((12, 28, 28), bytes(12 * 28 * 28)))
    assert content.count(struct.pack("<I", true)) >= 2
    content = content.replace(struct.pack("<I", true), struct.pack("<I", true - 5))
    file.write_bytes(content)
    assert refusal(file, "train_images") == "data/damaged"


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\xff\xff{", npy("x")]
)
def test_a_damaged_header_is_refused(file, arrays, content):
    rewrite(file, "train_images", content)
    assert refusal(file, "train_images") == "data/damaged"


def test_damaged_pixels_are_refused_and_leave_nothing_in_the_cache(file, arrays, cache):
    content = bytearray(file.read_bytes())
    content[content.index(arrays["val_images"][3].tobytes())] ^= 0xFF
    file.write_bytes(content)
    assert refusal(file, "val_images") == "data/damaged"
    assert list((cache / "medmnist").iterdir()) == []


def test_another_compression_and_an_array_twice_are_refused(file, arrays):
    rewrite(file, "train_images", npy((12, 28, 28), bytes(12 * 28 * 28)), zipfile.ZIP_LZMA)
    assert refusal(file) == "data/packed-array"
    np.savez(file, **arrays)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("train_labels.npy", b"")
    assert refusal(file, "train_labels") == "data/missing-array"


@pytest.mark.parametrize("keep", [0, 1, 20, 200, -1, -30])
def test_a_truncated_file_is_refused(file, arrays, keep):
    file.write_bytes(file.read_bytes()[:keep])
    assert refusal(file) == "data/damaged"


def test_a_bare_array_and_a_folder_are_refused(file, tmp_path):
    memory = io.BytesIO()
    np.save(memory, np.zeros(3))
    file.write_bytes(memory.getvalue())
    assert refusal(file) == "data/damaged"
    with refused("data/not-a-file"):
        load_medmnist(tmp_path, 0)


def test_a_cache_that_cannot_be_written_is_said(file, arrays, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file, not a folder")
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "occupied"))
    with refused("storage/cannot-write"):
        load_medmnist(file, 0)
