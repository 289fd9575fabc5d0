"""The report: complete, self-contained, safe against what files say."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from moekit import DataError
from moekit.data.pictures import save_jpeg
from moekit.evaluation.summary import summarise
from moekit.report.report import LARGEST, render_report
from moekit.sealed import write_sealed
from moekit.tasks.score import SCORE
from moekit.tasks.score.judge import paired
from moekit.tasks.score.metrics import METRICS
from moekit.tasks.score.overlay import draw_overlay
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.threshold import OperatingPoint
from moekit.testing import refused

HOSTILE = "<script>alert(1)</script>\u202e javascript:x \"'><img src=http://evil.example/a>"


def write_run(folder, *, text="part", images=2):
    """A run folder as `moekit evaluate` leaves it, with `text` wherever a file says something."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 80)
    predictions = Predictions(
        ids=tuple(f"{text}{row}" for row in range(80)),
        labels=labels,
        scores=np.clip(0.4 * labels + 0.6 * generator.random(80), 0, 1),
        baseline_scores=generator.random(80),
        subtypes=tuple([text, "other"] * 40),
    )
    summary = summarise(
        paired(predictions),
        [OperatingPoint(threshold=0.5, rule="-", split="val", n=40, value=0.0)] * 2,
        METRICS,
        task=SCORE,
        seed=0,
        resamples=50,
    )
    result = {
        **summary,
        **dict.fromkeys(("kit", "dataset", "split_note", "positive", "disclaimer"), text),
        "split": "test",
        "seed": 0,
        "bootstrap_seed": 0,
        "created": text,
        "command": text,
        "classes": [text, text],
        "outcome_names": {"missed": text, "false_alarm": text},
        "threshold": {"value": 0.5, "rule": text, "split": "val", "n": 40},
        "throughput": {"images_per_s": 9.5, "batch_size": 4, "precision": text, "device": text},
        "backbone": {
            **dict.fromkeys(("architecture", "provenance", "licence", "sha256"), text),
            "experts": 16,
            "top_k": 16,
        },
        "weights": {"kit_sha256": text},
        "parameters": {"trained": 10, "backbone": 1000},
        "plugins": [dict.fromkeys(("name", "distribution", "version", "manifest_sha256"), text)],
        "skipped": [{"id": text, "reason": text}],
        "versions": {text: text},
        "machine": {text: text},
        "data": {"source": text, "licence": text},
    }
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    predictions.write_csv(folder / "predictions.csv")
    routing = {
        "n": 8,
        "classes": [text, text],
        "specialists": [{"block": 3, "option": text, "load": [0.2, 0.8]}],
        "generic": [{"block": 3, "load": [1 / 16] * 16, "entropy": 2.0, "maxvio": 0.0}],
    }
    (folder / "routing.json").write_text(json.dumps(routing), encoding="utf-8")
    epochs = [
        {"epoch": n, "train_loss": 1 / n, "val_loss": 1.2 / n, "val_auroc": 1 - 1 / n}
        for n in (1, 2, 3)
    ]
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, epochs)))
    index = []
    (folder / "overlays").mkdir(exist_ok=True)
    for number in range(images):
        pixels = generator.integers(0, 255, (480, 480, 3)).astype(np.uint8)
        save_jpeg(
            folder / "overlays" / f"{number}.jpg", draw_overlay(Image.fromarray(pixels), np.eye(4))
        )
        index.append(
            {"id": text, "file": f"{number}.jpg", "score": 0.1, "label": 1, "kind": "missed"}
        )
    (folder / "overlays" / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


class Loaded(HTMLParser):
    """Collects what a page would load or lead to."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        assert tag != "script"
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in ("src", "href", "action"):
                self.addresses.append(value)


def test_a_report_holds_every_section(tmp_path):
    page = render_report(write_run(tmp_path / "run")).read_text(encoding="utf-8")
    for title in (
        *("What was found", "How sure is that", "What next", "Metrics", "By type"),
        *("By share of false alarms", "Curves", "Thresholds", "Routing"),
        *("Training", "Skipped inputs", "Provenance"),
    ):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") == 4 + len(METRICS)
    for label in ("false positive rate", "precision", "epoch", "AUROC"):
        assert f">{label}</text>" in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_tallies_of_before_there_were_hashes_are_told_once_as_not_verified(tmp_path, caplog):
    run = write_run(tmp_path / "run")
    page = render_report(run).read_text(encoding="utf-8")
    assert page.count("recorded before checksums and are not verified") == 1
    assert caplog.text.count("recorded before checksums") == 1
    result = json.loads((run / "result.json").read_text())
    write_sealed(run / "result.json", {**result, "files": {}})
    caplog.clear()
    assert "before checksums" not in render_report(run).read_text(encoding="utf-8")
    assert caplog.text == ""


def test_text_of_files_is_shown_and_never_run(tmp_path):
    page = render_report(write_run(tmp_path / "run", text=HOSTILE)).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img src=http" not in page
    assert "&lt;script&gt;" in page
    loaded = Loaded()
    loaded.feed(page)
    assert len(loaded.addresses) == 2
    assert all(address.startswith("data:image/jpeg") for address in loaded.addresses)
    assert "default-src 'none'" in page
    assert "\u202e" not in page
    assert "&lt;U+202E&gt;" in page


def test_a_report_stays_below_its_limit_and_says_what_it_left_out(tmp_path):
    path = render_report(write_run(tmp_path / "run", images=30))
    assert path.stat().st_size < LARGEST
    assert "more did not fit" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["predictions.csv", "routing.json", "history.jsonl", "overlays/index.json"]
)
def test_a_missing_file_costs_its_section_only(tmp_path, name):
    run = write_run(tmp_path / "run")
    (run / name).unlink()
    page = render_report(run).read_text(encoding="utf-8")
    assert "<code>moekit" in page
    assert "<h2>Provenance</h2>" in page


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "{"),
        ("result.json", "{}"),
        ("result.json", "[1]"),
        ("predictions.csv", "id,label\n1"),
        ("routing.json", "nonsense"),
        ("history.jsonl", "{"),
        ("routing.json", '{"n": 1}'),
        ("history.jsonl", "[]"),
        ("overlays/index.json", '[{"id": "x"}]'),
        ("overlays/index.json", "{}"),
        ("overlays/1.jpg", "no picture"),
    ],
)
def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path, name, content):
    run = write_run(tmp_path / "run")
    (run / name).write_text(content)
    with pytest.raises(DataError) as caught:
        render_report(run)
    assert caught.value.whose == str(run / name)
    assert "to do:" in str(caught.value)


def test_a_run_without_a_result_says_which_command_makes_it(tmp_path):
    with refused("data/no-result"):
        render_report(tmp_path)


def test_an_overlay_outside_the_folder_is_not_read(tmp_path):
    run = write_run(tmp_path / "run")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    index = run / "overlays" / "index.json"
    entry = {**json.loads(index.read_text())[0], "file": "../../secret.jpg"}
    index.write_text(json.dumps([entry]))
    assert "c2VjcmV0" not in render_report(run).read_text(encoding="utf-8")


def edit(run, change):
    """Rewrites result.json."""
    path = run / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    change(result)
    write_sealed(path, result)


def test_predictions_of_another_result_are_refused(tmp_path):
    run = write_run(tmp_path / "run")
    edit(run, lambda result: result.update(n=79))
    with refused("data/damaged-run", match=r"80.*result\.json.*79"):
        render_report(run)


def test_a_picture_that_is_gone_is_not_said_to_have_lacked_room(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "overlays" / "1.jpg").unlink()
    page = render_report(run).read_text(encoding="utf-8")
    assert "1 named in overlays/index.json are no longer" in page
    assert "did not fit" not in page


@pytest.mark.parametrize("text", ["x" * 40_000, "<" * 40_000, "\ud800 broken \x00"])
def test_no_text_makes_the_page_too_large_or_unwritable(tmp_path, text):
    run = write_run(tmp_path / "run", images=30)
    edit(run, lambda result: result.update(skipped=[{"id": "i", "reason": text}] * 150))
    path = render_report(run)
    assert path.stat().st_size < LARGEST
    assert "The first 100 are shown" in path.read_text(encoding="utf-8")


def test_an_undefined_epoch_is_left_out_of_the_chart(tmp_path):
    run = write_run(tmp_path / "run", images=0)
    line = '{"epoch": 4, "train_loss": NaN, "val_loss": 0.2, "val_auroc": NaN}'
    with (run / "history.jsonl").open("a") as file:
        file.write(f"\n{line}")
    assert re.search(r"\bnan\b", render_report(run).read_text(encoding="utf-8")) is None


def test_a_run_that_was_not_trained_by_gradients_says_so(tmp_path):
    run = write_run(tmp_path / "run", images=0)
    (run / "history.jsonl").write_text('{"epoch": 1.0, "images": 30.0, "seconds": 2.5}\n')
    assert "Nothing was trained by gradients" in render_report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("interval", "up", "said"),
    [
        ([0.01, 0.2], True, '<span class="better">specialist</span>'),
        ([0.01, 0.2], False, '<span class="worse">frozen backbone</span>'),
        ([-0.2, -0.01], True, '<span class="worse">frozen backbone</span>'),
        ([-0.01, 0.2], True, '<span class="soft">no proven difference</span>'),
        (None, True, '<span class="soft">no proven difference</span>'),
    ],
)
def test_one_is_called_better_only_where_the_difference_leaves_out_zero(
    tmp_path, interval, up, said
):
    run = write_run(tmp_path / "run")

    def change(result):
        result["metrics"] = {"auroc": {**result["metrics"]["auroc"], "higher_is_better": up}}
        result["comparison"]["metrics"]["auroc"]["ci95"] = interval

    edit(run, change)
    page = render_report(run).read_text(encoding="utf-8")
    assert said in page
    assert page.count('class="better"') + page.count('class="worse"') <= 1


def test_a_result_without_a_baseline_has_no_comparison(tmp_path):
    run = write_run(tmp_path / "run")
    edit(run, lambda result: result.update(baseline=None, comparison=None))
    assert "no proven difference" not in render_report(run).read_text(encoding="utf-8")
