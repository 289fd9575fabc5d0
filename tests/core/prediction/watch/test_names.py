"""File names that no overlay, no JSON or no CSV can take as they are lose nothing."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from moekit.cli.output import print_json
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.predict import predict
from moekit.text import raw_name

NO_TEXT = os.fsdecode(b"caf\xe9.png")
LONG = {length: "part_" + "x" * (length - 9) + ".png" for length in (235, 236, 240, 251, 255)}
NAMES = ["plain.png", "=2+3.png", *LONG.values()]
if sys.platform.startswith("linux"):
    NAMES.append(NO_TEXT)


@pytest.fixture
def odd(paint, tmp_path):
    paint(*NAMES, level=0.9)
    return tmp_path / "in"


def predicted(folder, out, make_answerer):
    return predict(
        collect_inputs([folder]),
        answerer=make_answerer(),
        provenance={"kit": "brightness"},
        out=out,
        batch_size=4,
        on_progress=lambda *_: None,
    )


def test_predict_answers_all_of_them_and_names_their_overlays(odd, tmp_path, make_answerer, capsys):
    out = tmp_path / "out"
    rows = predicted(odd, out, make_answerer)
    assert {raw_name(row["file"]) for row in rows} == set(NAMES)
    assert {row["verdict"] for row in rows} == {"odd"}
    overlays = [row["overlay"] for row in rows]
    assert len(set(overlays)) == len(NAMES)
    assert all((out / overlay).is_file() for overlay in overlays)
    by_name = {row["file"]: row["overlay"] for row in rows}
    assert by_name[LONG[235]] == f"overlays/{LONG[235]}.jpg"
    assert by_name[LONG[255]] != f"overlays/{LONG[255]}.jpg"
    print_json({"predictions": rows})
    assert json.loads(capsys.readouterr().out)["predictions"] == rows
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        cells = [row["file"] for row in csv.DictReader(file)]
    assert sorted(cells) == sorted("'=2+3.png" if name[0] == "=" else name for name in by_name)
    assert predicted(odd, out, make_answerer) == rows  # from the journal


def test_watch_answers_all_of_them_and_starts_again(odd, run_watch, tmp_path):
    assert run_watch()["verdicts"] == {"odd": len(NAMES)}
    again = run_watch()
    assert (again["n"], again["session"]["n"]) == (len(NAMES), 0)
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == len(NAMES)


def test_rows_that_were_edited_count_for_nothing(paint, run_watch, tmp_path):
    paint("a.png", "b.png")
    run_watch()
    journal = tmp_path / "out" / "results.jsonl"
    first, *lines = journal.read_text().splitlines()
    row = json.loads(lines[0])
    broken = [{**row, "file": ["x"]}, {**row, "verdict": {}}, {}, [], None]
    journal.write_text("\n".join([first, *map(json.dumps, broken), lines[1]]) + "\n")
    assert run_watch()["n"] == 2


def test_the_case_from_the_field(shared, run_watch, tmp_path, make_answerer):
    case = shared / "cases" / "field" / "03-long-name" / "long"
    assert len(predicted(case, tmp_path / "predicted", make_answerer)) == 3
    shutil.copytree(case, tmp_path / "in", dirs_exist_ok=True)
    assert run_watch()["n"] == 3


def test_a_kits_item_writes_into_no_other_folder(tmp_path, paint, make_answerer):
    (path,) = paint("a.png", level=0.9)
    rows = predict(
        [("../../escaped", path)],
        answerer=make_answerer(),
        provenance={"kit": "brightness"},
        out=tmp_path / "deep" / "out",
        batch_size=1,
        on_progress=lambda *_: None,
    )
    assert Path(rows[0]["overlay"]).parent == Path("overlays")
    assert not list(tmp_path.glob("*escaped*"))
