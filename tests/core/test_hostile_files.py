"""Files that fuzzing found: each is read, or refused by a code, in no time and little memory."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import moekit
from moekit import Sample
from moekit.backbone.sparse.form import load_form
from moekit.backbone.upcycle import upcycle
from moekit.backbone.upcycled_file import load_upcycled, save_upcycled
from moekit.builtin.loaders.class_list import read_class_list
from moekit.builtin.loaders.folder import load_folder
from moekit.builtin.loaders.folder import write_example as write_folder
from moekit.builtin.loaders.masks import load_masks
from moekit.builtin.loaders.npz import load_npz
from moekit.builtin.loaders.rows import parse_table
from moekit.contract.answers import TaskContext
from moekit.data.geometry import Frame
from moekit.errors import DataError
from moekit.files import read_json, read_text
from moekit.report.run_files import read_history
from moekit.runs.journal import read_journal
from moekit.runs.schema import SCHEMA, read_record
from moekit.scale.checkpoint import load_sharded, save_sharded
from moekit.tasks.classify.read import read_answers
from moekit.tasks.classify.store import load_tallies as load_classes
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.segment.storage import load_tallies, save_tallies
from moekit.tasks.segment.tally import SegmentTally
from moekit.testing import refused
from moekit.training.checkpoint import Progress, load_checkpoint, save_checkpoint

DEEP = "[" * 100_000 + "]" * 100_000


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, endless, Path.mkdir])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.csv", lambda path: Predictions.read_csv(path)),
        ("a.csv", lambda path: load_classes(path.parent, "a")),
        ("a.npz", lambda path: load_tallies(path.parent, "a")),
        ("a.csv", lambda path: read_answers(path, [], None)),
        ("a.txt", lambda path: read_class_list(path)),
        ("history.jsonl", lambda path: read_history(path.parent)),
        ("a.jsonl", lambda path: list(read_journal(path, {}))),
        ("a.json", read_json),
    ],
)
def test_what_is_no_file_is_refused_at_once(tmp_path, make, name, read):
    make(tmp_path / name)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert caught.value.code in ("data/damaged-run", "data/unreadable", "data/class-list") or (
        caught.value.code == "data/bad-json"
    )


@pytest.mark.parametrize("make", [pipe, endless])
def test_a_table_that_never_ends_is_refused(tmp_path, make):
    make(tmp_path / "labels.csv")
    with refused("data/unreadable"):
        load_folder(tmp_path / "labels.csv", 0)


def test_a_text_has_a_greatest_size(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert read_text(tmp_path / "a", encoding="utf-8-sig") == "a\nb\n"
    assert read_text(tmp_path / "a", encoding="utf-8-sig", newline="") == "a\r\nb\r\n"
    with pytest.raises(OSError, match="more than 5 bytes"):
        read_text(tmp_path / "a", most=5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"done": false, "done": true}', "'done' is there twice"),
        ('{"a": {"b": 1, "b": 1}}', "'b' is there twice"),
        ('{"a": 1e999}', "no number of JSON"),
        ('{"a": NaN}', "no number of JSON"),
        (DEEP, "too deep"),
        ("9" * 5000, "readable JSON"),
    ],
)
def test_json_that_contradicts_itself_is_refused(tmp_path, text, why):
    (tmp_path / "a.json").write_text(text)
    with refused("data/bad-json", match=why):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("start", ['sep="', "sep=\r", "sep= ", "sep=\n", "sep=x"])
def test_a_delimiter_that_none_can_be_is_no_traceback(start):
    with refused("data/bad-header"):
        parse_table(f"{start}\npath;label\na;b\n", table="t", needed=("path", "x"), known=())


def test_numbers_of_thousands_of_digits_are_refused(tmp_path):
    (tmp_path / "classes.csv").write_text(f"number,name\n{'9' * 5000},a\n1,b\n")
    with refused("data/class-list") as caught:
        read_class_list(tmp_path / "classes.csv")
    assert len(str(caught.value)) < 500
    (tmp_path / "classes.csv").write_text(f"number,name\n{'0' * 5000}2,a\n1,b\n")
    assert read_class_list(tmp_path / "classes.csv").names == ("a", "b")
    with refused("data/bad-option"):
        load_masks(Path(f"{tmp_path}?ignore={'9' * 5000}"), 0)


def test_options_of_thousands_of_digits_are_refused(tmp_path):
    write_folder(tmp_path)
    with refused("data/bad-option"):
        load_folder(Path(f"{tmp_path}?shots={'9' * 5000}"), 0)


def test_a_path_that_no_file_can_have_is_refused(tmp_path):
    with refused("data/not-found"):
        load_folder(tmp_path / ("x" * 300) / "labels.csv", 0)


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"y_train": np.array([0, 1, 2**40])}, "data/class-count"),
        ({"class_names": np.array([2**30, 1], np.uint32).view("<U1")}, "data/damaged"),
        ({"class_names": np.array([0xD800, 1], np.uint32).view("<U1")}, "data/damaged"),
    ],
)
def test_arrays_that_mean_nothing_are_refused(tmp_path, monkeypatch, change, code):
    monkeypatch.setenv("MOEKIT_CACHE_DIR", str(tmp_path / "cache"))
    sound = {"x_train": np.zeros((3, 4, 4), np.uint8), "y_train": np.array([0, 1, 1])}
    with refused(code):
        load_npz(written(tmp_path / "a.npz", **{**sound, **change}), 0)


def test_a_member_without_its_ending_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x_train", b"")
        archive.writestr("images", b"")
    with refused("data/missing-array"):
        load_npz(tmp_path / "a.npz", 0)


COUNTS = np.ones((2, 2, 2), dtype=np.int64)
TALLY = SegmentTally(
    ids=("a", "b"),
    classes=("ground", "disc"),
    background=(0,),
    confusion_NCC=COUNTS,
    boundary_NC3=np.ones((2, 2, 3), dtype=np.int64),
    predicted_NC=COUNTS.sum(1),
    ignored_N=np.zeros(2, dtype=np.int64),
)


@pytest.mark.parametrize(
    "change",
    [
        {"facts": []},
        {"facts": {"maker": "xy"}},
        {"background": [7]},
        {"background": ["0"]},
        {"models": 10**9},
        {"models": True},
        {"ids": "ab"},
        {"version": 2},
        DEEP,
        "[]",
        '{"version": 1, "version": 1}',
    ],
)
def test_counts_that_say_nonsense_of_themselves_are_refused(tmp_path, change):
    save_tallies(tmp_path, "a", [TALLY])
    with np.load(tmp_path / "a.npz") as stored:
        arrays = dict(stored)
    about = json.loads(bytes(arrays["about"]))
    text = change if isinstance(change, str) else json.dumps({**about, **change})
    written(tmp_path / "a.npz", **{**arrays, "about": np.frombuffer(text.encode(), np.uint8)})
    with refused("data/damaged-run", match=r"a\.npz"):
        load_tallies(tmp_path, "a")


def test_counts_in_a_file_that_is_no_archive_are_refused(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, COUNTS)
    with refused("data/damaged-run"):
        load_tallies(tmp_path, "a")


@pytest.mark.parametrize(
    "text",
    [
        "label,score,baseline_score,group,subtype,id\n1,0.5,,,\n",
        "id,label,score,baseline_score,group,subtype\na,1,0.5,,,,7\n",
        "id,label,score,baseline_score,group,subtype,id\na,1,0.5,,,,b\n",
    ],
)
def test_rows_that_do_not_fit_their_columns_are_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with refused("data/damaged-run", match=r"a\.csv"):
        Predictions.read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "change",
    [
        {"files": ["validation.csv"]},
        {"rule": ["youden"]},
        {"use": {"model": 7}},
        {"class_counts": {"val": 3}},
        {"request": {"kit": "small", "data": {"val": 3}}},
    ],
)
def test_a_record_with_a_field_of_another_type_is_refused(tmp_path, change):
    content = {"schema": SCHEMA, "done": True, "request": {"kit": "small"}, **change}
    (tmp_path / "run.json").write_text(json.dumps(content))
    with refused("data/damaged-run", match=r"run\.json"):
        read_record(tmp_path / "run.json")


@pytest.mark.parametrize(
    "progress",
    [
        "[]",
        "{}",
        DEEP,
        '{"epoch": "1", "step": 0, "loss_sum": 0, "best_loss": null, "best_epoch": 0, '
        '"seconds": 0, "done": false, "history": []}',
        '{"epoch": 1, "step": -1, "loss_sum": 0, "best_loss": null, "best_epoch": 0, '
        '"seconds": 0, "done": false, "history": []}',
    ],
)
def test_a_checkpoint_that_says_nonsense_of_itself_is_refused(tmp_path, progress):
    path, module = tmp_path / "a.safetensors", nn.Linear(2, 1)
    adam = torch.optim.AdamW(module.parameters())
    save_checkpoint(path, modules={"kit": module}, optimizer=adam, progress=Progress(epoch=1))
    save_file(load_file(path), path, metadata={"progress": progress})
    with refused("data/damaged-run", match=r"a\.safetensors"):
        load_checkpoint(path, modules={"kit": module}, optimizer=adam)


def test_a_checkpoint_with_figures_that_are_undefined_is_read(tmp_path):
    path, module = tmp_path / "a.safetensors", nn.Linear(2, 1)
    adam = torch.optim.AdamW(module.parameters())
    known = Progress(epoch=1, history=[{"epoch": 1, "val_auroc": float("nan")}])
    save_checkpoint(path, modules={"kit": module}, optimizer=adam, progress=known)
    found = load_checkpoint(path, modules={"kit": module}, optimizer=adam)
    assert found.history == [{"epoch": 1, "val_auroc": None}]
    assert isinstance(found.history[0]["epoch"], int)


@pytest.mark.parametrize("facts", ["[]", DEEP, "{}"])
def test_a_sparse_form_of_numbers_without_a_shape_is_refused(tmp_path, facts):
    names = ("order_F", "slope_F", "offset_F", "router_ED", "choice_E", "down_RD", "up_DR")
    tensors = {f"0.{name}": torch.zeros(()) for name in (*names, "bias_D", "strength_E")}
    header = {"format": "moekit-sparse-form-1", "architecture": "a", "dense_sha256": "b"}
    save_file(tensors, tmp_path / "a.safetensors", metadata={**header, "facts": facts})
    with refused("weights/damaged", match=r"a\.safetensors"):
        load_form(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('"experts":4', '"experts":4000000'),
        ('"std":[0.5', '"std":[0.0'),
        ('"mean":[0.5', '"mean":[NaN'),
    ],
)
def test_an_upcycled_backbone_that_claims_too_much_is_refused(tmp_path, make_vit, was, now):
    path = tmp_path / "a.safetensors"
    half = (0.5, 0.5, 0.5)
    provenance = moekit.Provenance(
        architecture="tests", source="file", origin="-", sha256="0" * 64, licence="-", note="-"
    )
    save_upcycled(
        upcycle(make_vit(), provenance=provenance, mean=half, std=half, experts=4, slices=2), path
    )
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        text = file.metadata()["moekit_upcycled"]
    assert was in text
    save_file(load_file(path), path, metadata={"moekit_upcycled": text.replace(was, now)})
    with refused("weights/damaged", match=r"a\.safetensors"):
        load_upcycled(path)


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"a": 1}', DEEP.encode(), b"\xff"])
def test_a_sharded_checkpoint_with_another_header_is_refused(tmp_path, header):
    module = nn.Linear(2, 1)
    save_sharded(tmp_path / "a", module)
    (tmp_path / "a/hashes.json").unlink()
    (part,) = (tmp_path / "a").glob("*.safetensors")
    part.write_bytes(len(header).to_bytes(8, "little") + header)
    with refused("weights/damaged"):
        load_sharded(tmp_path / "a", module)


@pytest.mark.parametrize("hashed", [True, False])
def test_a_pipe_in_a_sharded_checkpoint_is_not_waited_for(tmp_path, hashed):
    module = nn.Linear(2, 1)
    save_sharded(tmp_path / "a", module)
    (part,) = (tmp_path / "a").glob("*.safetensors")
    part.unlink()
    pipe(part)
    if not hashed:
        (tmp_path / "a/hashes.json").write_text("{}")
    with refused("weights/damaged", match=part.name):
        load_sharded(tmp_path / "a", module)


def test_a_file_of_a_sharded_checkpoint_without_a_hash_is_refused(tmp_path):
    module = nn.Linear(2, 1)
    save_sharded(tmp_path / "a", module)
    (tmp_path / "a/hashes.json").write_text("{}")
    with refused("weights/damaged", match="not the file that was written"):
        load_sharded(tmp_path / "a", module)


def test_answers_without_a_line_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("")
    context = TaskContext(classes=("a", "b"), vocabulary={}, frame=Frame(height=8, width=8))
    with refused("data/bad-header"):
        read_answers(tmp_path / "a.csv", [Sample(id="x", path=tmp_path, label=0)], context)
