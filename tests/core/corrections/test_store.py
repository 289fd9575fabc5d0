"""What is kept, what supersedes what, and what several processes and kills do to it."""

import base64
import csv
import io
import json
import multiprocessing
import threading
import time

import numpy as np
import pytest
from PIL import Image

from moekit.builtin.loaders.corrections import load_corrections
from moekit.corrections import store as stored
from moekit.corrections import tables
from moekit.corrections.kept import split_of
from moekit.corrections.store import Store
from moekit.data.class_masks import read_classes
from moekit.testing import refused

GOOD = {"form": "class", "classes": ["good"]}
ODD = {"form": "class", "classes": ["odd"]}


def lines(folder):
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def rows(folder, name="labels.csv"):
    return list(csv.DictReader(io.StringIO((folder / name).read_text())))


def test_a_later_correction_of_an_image_supersedes_and_history_stays(tmp_path, terms, correction):
    store = Store(tmp_path, terms("class"))
    receipt = {"image_sha256": "0" * 64, "computed": None}
    first, new = store.add(correction(GOOD, by="Ada", receipt=receipt))
    assert new
    second, _ = store.add(correction(ODD, confirmed=True))
    assert second.supersedes == first.id
    assert second.number == 2
    (row,) = rows(tmp_path)
    assert (row["label"], row["confirmed"], row["by"]) == ("odd", "true", "")
    assert [one["label"]["classes"] for one in lines(tmp_path)] == [["good"], ["odd"]]
    assert lines(tmp_path)[0]["receipt"] == receipt
    assert lines(tmp_path)[0]["by"] == "Ada"
    assert (tmp_path / row["path"]).is_file()
    assert store.summary() == {
        "corrections": 2,
        "images": 1,
        "confirmed": 1,
        "held_out": int(first.split != "train"),
    }


def test_the_same_correction_is_kept_once_and_a_key_makes_a_retry_safe(tmp_path, terms, correction):
    store = Store(tmp_path, terms("class"))
    kept, _ = store.add(correction(GOOD, key="a"))
    assert store.add(correction(GOOD)) == (kept, False)
    store.add(correction(ODD, key="b"))
    # The first request arrives once more, late: it changes nothing.
    assert store.add(correction(GOOD, key="a")) == (kept, False)
    assert rows(tmp_path)[0]["label"] == "odd"
    with refused("usage/other-correction"):
        store.add(correction(GOOD, key="b"))
    again, new = store.add(correction(GOOD))
    assert new
    assert again.supersedes


def test_two_stores_on_one_folder_see_each_other(tmp_path, terms, correction):
    one, two = Store(tmp_path, terms("class")), Store(tmp_path, terms("class"))
    one.add(correction(GOOD, seed=1))
    two.add(correction(ODD, seed=2))
    one.add(correction(ODD, seed=1))
    assert {row["label"] for row in rows(tmp_path)} == {"odd"}
    assert [one["number"] for one in lines(tmp_path)] == [1, 2, 3]
    assert one.current().keys() == two.current().keys()


def _writes(folder, terms, made):
    store = Store(folder, terms)
    for one in made:
        store.add(one)


def test_processes_and_threads_lose_nothing(tmp_path, terms, correction):
    own = [[correction(GOOD, seed=10 * who + n) for n in range(6)] for who in range(3)]
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_writes, args=(tmp_path, terms("class"), own[0]))
    process.start()
    store = Store(tmp_path, terms("class"))
    threads = [
        threading.Thread(target=lambda made=made: [store.add(one) for one in made])
        for made in own[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.join()
    assert process.exitcode == 0
    assert sorted(one["number"] for one in lines(tmp_path)) == list(range(1, 19))
    assert len(rows(tmp_path)) == 18


def test_one_write_of_the_labels_holds_all_that_wait_for_it(
    tmp_path, terms, correction, monkeypatch
):
    store, write, begun, go = (
        Store(tmp_path, terms("class")),
        [],
        threading.Event(),
        threading.Event(),
    )

    def slow(*arguments):
        write.append(len(arguments[2]))
        begun.set()
        assert go.wait(30)
        tables.write_labels(*arguments)

    monkeypatch.setattr(stored, "write_labels", slow)
    made = [correction(GOOD, seed=n) for n in range(9)]
    threads = [threading.Thread(target=store.add, args=(one,)) for one in made]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(lines(tmp_path)) < len(made):
        time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join()
    assert write == [1, 9]
    assert len(rows(tmp_path)) == 9


def test_a_line_that_a_kill_cut_off_is_gone_and_labels_are_written_again(
    tmp_path, terms, correction
):
    Store(tmp_path, terms("class")).add(correction(GOOD, seed=1))
    (tmp_path / "labels.csv").unlink()
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"id": "half')
    store = Store(tmp_path, terms("class"))
    assert len(rows(tmp_path)) == 1
    store.add(correction(ODD, seed=2))
    assert [one["number"] for one in lines(tmp_path)] == [1, 2]


def test_damaged_journals_and_other_terms_are_refused(tmp_path, terms, correction):
    Store(tmp_path, terms("class")).add(correction(GOOD))
    with refused("data/other-corrections"):
        Store(tmp_path, terms("class", ("good", "bent")))
    (tmp_path / "journal.jsonl").write_text('{"no": "correction"}\n')
    with refused("data/damaged-corrections"):
        Store(tmp_path, terms("class"))
    (tmp_path / "corrections.json").write_text('{"schema": 1, "form": "class"}')
    with refused("data/damaged-corrections"):
        Store(tmp_path, terms("class"))


def test_what_a_client_writes_is_no_formula_of_a_spreadsheet(tmp_path, terms, correction):
    store = Store(tmp_path, terms("class"))
    store.add(correction(GOOD, by="=HYPERLINK(1)", group="@x"))
    text = (tmp_path / "labels.csv").read_text()
    assert ",=HYPERLINK" not in text
    assert ",@x" not in text


def test_the_split_depends_on_the_image_or_its_group_only():
    splits = [split_of(f"image {number}") for number in range(4000)]
    shares = {name: splits.count(name) / len(splits) for name in set(splits)}
    assert shares == pytest.approx({"train": 0.6, "val": 0.15, "test": 0.25}, abs=0.03)


def test_the_loader_reads_classes(tmp_path, terms, correction):
    store = Store(tmp_path / "cracks", terms("class"))
    for number in range(30):
        store.add(correction((GOOD, ODD)[number % 2], seed=number), labels=False)
    store.write()
    data = load_corrections(tmp_path, 0)
    assert data.classes == ("good", "odd")
    assert data.ready
    assert data.has_negative
    known = store.current()
    for sample in data.samples:
        kept = known[sample.path.stem]
        assert sample.split == kept.split
        assert data.classes[sample.label] == kept.label["classes"][0]


def test_the_loader_reads_several_labels(tmp_path, terms, correction):
    several = terms("class", ("a", "b", "c"), several=True)
    store = Store(tmp_path, several)
    store.add(correction({"form": "class", "classes": ["c", "a"]}, seed=1))
    store.add(correction({"form": "class", "classes": []}, seed=2))
    found = {one.path.stem: one.labels for one in load_corrections(tmp_path, 0).samples}
    assert set(found.values()) == {(0, 2), ()}


def test_the_loader_reads_objects(tmp_path, terms, correction):
    pytest.importorskip("moekit_detection")
    store = Store(tmp_path, terms("objects", ("bolt", "nut")))
    things = [{"class": "nut", "box": [2, 3, 10, 12]}, {"class": "bolt", "box": [20, 5, 8, 9]}]
    store.add(correction({"form": "objects", "objects": things}, seed=1))
    store.add(correction({"form": "objects", "objects": []}, seed=2))
    data = load_corrections(tmp_path, 0)
    found = sorted(len(one.truth["objects"]["label"]) for one in data.samples)
    assert found == [0, 2]
    full = max(data.samples, key=lambda one: len(one.truth["objects"]["label"]))
    assert full.truth["objects"]["box"] == ((2.0, 3.0, 10.0, 12.0), (20.0, 5.0, 8.0, 9.0))
    assert full.truth["objects"]["label"] == (1, 0)


def test_the_loader_reads_outlines(tmp_path, terms, correction):
    pytest.importorskip("moekit_detection")
    store = Store(tmp_path, terms("objects", ("bolt", "nut"), outlined=True))
    outline = {"size": [30, 40], "counts": [100, 5, 25, 5, 1065]}
    thing = {"class": "nut", "segmentation": outline}
    store.add(correction({"form": "objects", "objects": [thing]}))
    (sample,) = load_corrections(tmp_path, 0).samples
    assert sample.truth["objects"]["area"] == (10.0,)
    assert all(sample.truth["objects"]["mask"])


def test_the_loader_reads_masks(tmp_path, terms, correction):
    store = Store(tmp_path, terms("mask", ("ground", "road", "sky")))
    values = np.zeros((30, 40), dtype=np.uint8)
    values[10:] = 2
    values[:2] = 255
    stored = io.BytesIO()
    Image.fromarray(values).save(stored, "PNG")
    png = base64.b64encode(stored.getvalue()).decode()
    store.add(correction({"form": "mask", "png": png}))
    (sample,) = load_corrections(tmp_path, 0).samples
    class_HW = read_classes(sample.mask, (30, 40), sample.mask_table)
    assert (class_HW == np.where(values == 255, -1, values.astype(int))).all()
    assert sample.labels == (0, 2)


def test_the_loader_says_what_is_missing_and_which_of_several(tmp_path, terms, correction):
    with refused("data/no-corrections"):
        load_corrections(tmp_path, 0)
    Store(tmp_path / "a", terms("class"))
    with refused("data/no-corrections"):
        load_corrections(tmp_path, 0)
    for name, seed in {"a": 1, "b": 2}.items():
        Store(tmp_path / name, terms("class")).add(correction(GOOD, seed=seed))
    with refused("data/several-corrections"):
        load_corrections(tmp_path, 0)
    assert len(load_corrections(tmp_path / "a", 0).samples) == 1
    assert load_corrections(tmp_path.with_name(f"{tmp_path.name}?kit=b"), 0).name.endswith("b")
    with refused("data/several-corrections"):
        load_corrections(tmp_path.with_name(f"{tmp_path.name}?kit=c"), 0)
