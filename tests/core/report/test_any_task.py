"""A report of a task that the core knows nothing of: its own sections, figures, kinds and words."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from PIL import Image

import moekit
import moekit.report
from moekit import Registry, ReportSection, ReportTable
from moekit.contract.report import HEADER, METRICS, NEXT, WORST, ReportChart, ReportGrid, ReportLine
from moekit.contract.tasks import Answering, Judge, Learn, Show, TaskSpec
from moekit.report.report import render_report
from moekit.testing import refused

TASK_WORDS = re.compile(
    r"\bscores?\b|positive|negative|threshold|auroc|\broc\b|missed|false.alarm|\blabels\b|delong",
    re.IGNORECASE,
)
CLASSES = ("maple", "oak", "yew")


def refuse(*_, **__):
    raise AssertionError("a report needs nothing of it")


def load(folder, stem):
    return (json.loads((folder / f"{stem}.json").read_text()),)


def sections(context):
    share = 0.5 if context.tallies else 0.0
    return [
        ReportSection(title=METRICS, paragraphs=("Leaves are told by their edges.",)),
        ReportSection(
            title=HEADER,
            tables=(ReportTable(columns=("", "", ""), rows=(("trees", "12", "of three kinds"),)),),
        ),
        ReportSection(title=NEXT, paragraphs=("Water the oaks.",)),
        ReportSection(title=WORST, notes=("Red is where the edge was looked for.",)),
        ReportSection(
            title="Confusion",
            grids=(
                ReportGrid(
                    columns=CLASSES,
                    rows=CLASSES,
                    shares=((0.9, 0.1, 0.0), (0.25, share, None), (0.0, float("nan"), 1.0)),
                ),
            ),
        ),
        ReportSection(
            title="Reliability",
            charts=(
                ReportChart(
                    title="Share that is right",
                    x="confidence",
                    y="share",
                    lines=(
                        ReportLine(label="kit", points=tuple((n / 999, 0.5) for n in range(1000))),
                        ReportLine(label="bare", points=((0.0, 0.0), (1.0, 1.0)), style="baseline"),
                    ),
                ),
            ),
            notes=("See `moekit tasks`.",),
        ),
    ]


TREES = TaskSpec(
    name="trees",
    summary="which tree",
    source="a test",
    outputs=(),
    metrics=("kappa",),
    learn=Learn(targets=refuse, loss=refuse),
    answering=Answering(merge=refuse, answers=refuse),
    judge=Judge(tallier=refuse, save=refuse, load=load),
    show=Show(columns=("file", "error"), sections=sections, names={"miou": "mIoU"}),
    example=refuse,
    example_head=refuse,
)


def registry_of(task):
    class Hooks:
        @moekit.hookimpl
        def moekit_tasks(self):
            return [task]

    registry = Registry([], strict=False)
    registry.register(Hooks(), distribution="forest")
    return registry


def entry(value, **more):
    low, high = value - 0.1, value + 0.1
    return {"value": value, "ci95": [low, high], "higher_is_better": True, "n": 12, **more}


def write(folder, **changes):
    """A run folder of the task."""
    text = dict.fromkeys(("architecture", "provenance", "licence", "sha256"), "-")
    result = {
        **dict.fromkeys(("kit", "dataset", "split", "split_note", "created", "command"), "leaf"),
        "task": "forest/trees",
        "disclaimer": "",
        "seed": 0,
        "bootstrap_seed": 0,
        "n": 12,
        "ripes": 5,
        "ripe": "fully grown",
        "metrics": {"kappa": entry(0.7), "pieces": entry(0.4, edges=31)},
        "subsets": {"spring": {"n": 7, "ripes": 3, "metrics": {"kappa": entry(0.6)}}},
        "interval": {"method": "percentile bootstrap", "resamples": 50},
        "baseline": {"name": "frozen backbone, same head", "metrics": {"kappa": entry(0.5)}},
        "comparison": {
            "metric": "kappa",
            "difference": 0.2,
            "ci95": [0.1, 0.3],
            "p": 0.04,
            "test": "permutation",
            "metrics": {"kappa": {"difference": 0.2, "ci95": None}},
        },
        "throughput": {"images_per_s": 9.5, "batch_size": 4, "precision": "fp32", "device": "cpu"},
        "backbone": {**text, "experts": 16, "top_k": 16},
        "weights": {"kit_sha256": "-"},
        "parameters": {"trained": 10, "backbone": 1000},
        "data": {"source": "-", "licence": "-"},
        "plugins": [],
        "skipped": [],
        "versions": {},
        "machine": {},
        **changes,
    }
    (folder / "overlays").mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "predictions.json").write_text(json.dumps(["item"] * 12))
    (folder / "routing.json").write_text(json.dumps({"n": 8, "classes": [""], "specialists": []}))
    epochs = [{"epoch": n, "train_loss": 1 / n, "val_miou": 1 - 1 / n} for n in (1, 2)]
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, epochs)))
    Image.new("RGB", (8, 8)).save(folder / "overlays" / "1.jpg")
    index = [{"id": "i", "file": "1.jpg", "kind": "wrong tree", "caption": "oak, told as yew"}]
    (folder / "overlays" / "index.json").write_text(json.dumps(index))
    return folder


def page_of(run, task=TREES):
    return render_report(run, registry=registry_of(task)).read_text(encoding="utf-8")


def text_of(page):
    page = re.sub(r"<style>.*</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", "", page).split())


@pytest.fixture
def run(tmp_path):
    return write(tmp_path / "run")


def test_the_folder_report_holds_no_word_of_any_task():
    folder = Path(moekit.report.__file__).parent
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".j2", ".css")]
    assert len(files) > 8
    for path in files:
        assert TASK_WORDS.search(path.read_text(encoding="utf-8")) is None, path.name


def test_the_page_says_what_the_task_says_in_its_places(run):
    page = page_of(run)
    assert TASK_WORDS.search(text_of(page)) is None
    titles = re.findall("<h2>(.*?)</h2>", page)
    first = ["What was found", "How sure is that", NEXT]
    assert titles[:8] == [*first, "Metrics", "By type", "Confusion", "Reliability", "Routing"]
    told = text_of(page)
    assert "n = 12 (5 fully grown), seed 0" in told
    assert "trees12of three kinds" in told
    assert "Leaves are told by their edges. n = 12; 95% intervals" in told
    assert "higher is better; 31 edges in 12 images" in told
    assert "<code>moekit tasks</code>" in page
    assert "taskforest/trees" in told


def test_pictures_have_the_headings_and_captions_of_the_task(run):
    told = text_of(page_of(run))
    assert "wrong tree, the worst first" in told
    assert "oak, told as yew" in told
    assert "Red is where the edge was looked for." in told


def test_right_answers_stand_before_mistakes_and_are_not_called_worst(run):
    index = run / "overlays" / "index.json"
    wrong = json.loads(index.read_text())
    right = [{**wrong[0], "kind": "right tree", "caption": "oak", "right": True}]
    index.write_text(json.dumps(wrong + right))
    told = text_of(page_of(run))
    assert "right tree, evenly chosen, from the clearest to the most doubtful" in told
    assert told.index("right tree, evenly") < told.index("wrong tree, the worst first")


def test_the_page_says_what_to_do_next_by_the_task_and_by_the_result(tmp_path):
    run = write(tmp_path / "run", skipped=[{"id": "leaf 3", "reason": "it is torn"}])
    told = text_of(page_of(run))
    assert told.index("Repair the 1 inputs") < told.index("Water the oaks.")
    assert "that of kappa is 0.200 wide with 12, and about half as wide with 48" in told
    assert f"moekit predict leaf INPUT --run {run} --out OUT" in told


def test_results_of_another_program_have_no_commands_for_a_model(tmp_path):
    told = text_of(page_of(write(tmp_path / "run", foreign=True)))
    assert "moekit predict" not in told


def test_long_lists_are_folded_and_lose_nothing(tmp_path):
    skipped = [{"id": f"leaf {number}", "reason": "torn"} for number in range(30)]
    page = page_of(write(tmp_path / "run", skipped=skipped))
    shown, _, folded = page.partition("<summary>20 more</summary>")
    assert "leaf 9<" in shown
    assert "leaf 10<" not in shown
    assert "leaf 29<" in folded.partition("</details>")[0]


def test_a_comparison_that_names_its_metric_has_a_tile_and_a_sentence(run):
    told = text_of(page_of(run))
    said = "95% interval +0.1000 to +0.3000, permutation p = 0.04"
    assert f"difference in kappa+0.2000{said}" in told
    assert "The specialist beats the baseline (frozen backbone, same head)" in told


def test_where_less_is_better_a_greater_figure_is_worse(tmp_path):
    errors = {"errors": {**entry(0.5), "higher_is_better": False}}
    gap = {"metric": "errors", "difference": 0.2, "ci95": [0.1, 0.3]}
    told = text_of(page_of(write(tmp_path / "run", metrics=errors, comparison=gap)))
    assert "The specialist is worse than the baseline (frozen backbone, same head)" in told
    assert " p = " not in told


def test_a_result_without_metrics_has_a_page(tmp_path):
    run = write(tmp_path / "run", metrics={}, baseline=None, comparison=None, notes=["no masks"])
    assert "no masks" in text_of(page_of(run))


def test_a_grid_shades_its_cells_and_leaves_undefined_ones_blank(run):
    page = page_of(run)
    assert re.search(r"var\(--a\) 50%, transparent\)\">90\.0%</td>", page)
    assert page.count('<td class="cell"></td>') == 2


def test_a_long_curve_is_thinned_and_keeps_its_ends(run):
    points = re.search('<polyline class="curve-a" points="(.*?)"', page_of(run)).group(1).split()
    assert len(points) == 400
    assert (points[0], points[-1]) == ("58.0,153.0", "366.0,153.0")


def test_where_every_token_has_all_experts_the_page_says_so(run):
    assert "Every token has all experts of the backbone" in page_of(run)


def test_each_figure_of_the_history_has_a_chart_under_its_own_name(run):
    page = page_of(run)
    assert "<h3>Training loss</h3>" in page
    assert "<h3>Validation mIoU</h3>" in page
    assert ">mIoU</text>" in page


def test_a_figure_that_is_no_number_names_the_history(run):
    (run / "history.jsonl").write_text('{"epoch": 1, "train_loss": "low"}')
    with refused("data/damaged-run") as caught:
        page_of(run)
    assert caught.value.whose == str(run / "history.jsonl")


def test_tallies_of_another_result_are_refused(run):
    (run / "predictions.json").write_text("[1]")
    with refused("data/damaged-run", match=r"result\.json.*12"):
        page_of(run)


@pytest.mark.parametrize(
    "made",
    [
        None,
        [ReportTable(columns=(), rows=())],
        [ReportSection(title="x", charts=("no chart",))],
        [ReportSection(title="x", grids=(ReportGrid(columns=("a",), rows=("b",), shares=()),))],
        [ReportSection(title="x", tables=(ReportTable(columns=("a",), rows=(("b", "c"),)),))],
        [ReportSection(title=HEADER, tables=(ReportTable(columns=("a",), rows=(("b",),)),))],
    ],
)
def test_sections_that_cannot_be_made_say_so_and_the_report_is_written(run, made):
    show = dataclasses.replace(TREES.show, sections=lambda context: made)
    page = page_of(run, dataclasses.replace(TREES, show=show))
    assert "The sections of the task could not be made" in page
    assert "<h2>Provenance</h2>" in page


def test_a_task_that_is_not_installed_costs_its_sections_only(tmp_path):
    page = page_of(write(tmp_path / "run", task="forest/shrubs"))
    assert "The sections of the task could not be made" in page
    assert "<h2>Provenance</h2>" in page


def test_tallies_that_a_task_cannot_read_for_a_fault_of_its_own_count_as_gone(run, caplog):
    judge = dataclasses.replace(TREES.judge, load=lambda folder, stem: 1 / 0)
    assert "<h2>Confusion</h2>" in page_of(run, dataclasses.replace(TREES, judge=judge))
    assert "could not read predictions" in caplog.text
