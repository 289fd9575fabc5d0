"""Map metrics in a result: next to the others, with intervals, or with a note that says why not."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import moekit
from moekit import MapMetricSpec, Registry, Sample
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.evaluation.summary import summarise
from moekit.files import read_json
from moekit.plugins.resolve import resolve
from moekit.report.report import render_report
from moekit.runs.run import Run
from moekit.tasks.score import SCORE
from moekit.tasks.score.localisation import localise
from moekit.tasks.score.map_summary import with_map_metrics
from moekit.tasks.score.metrics import METRICS
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.threshold import OperatingPoint
from moekit.testing import refused
from moekit.testing.inputs import write_images
from moekit.testing.reference import REFERENCE_KIT, SIDE, add_reference, run_kit, small_backbone

pytestmark = pytest.mark.usefixtures("all_pairs")


def mean_overlap(counts):
    return float(counts.overlap_T.mean())


def region_pixels(counts):
    return float(counts.weights_N[counts.image_R] @ counts.sizes_R) / 1e6


def spec(compute, name="overlap"):
    return MapMetricSpec(
        name=name,
        compute=compute,
        higher_is_better=True,
        bounds=(0.0, 1.0),
        summary="-",
        source="the tests",
    )


class Hooks:
    @moekit.hookimpl
    def moekit_map_metrics(self):
        return [spec(mean_overlap)]


KIT = dataclasses.replace(
    REFERENCE_KIT, build_head=moekit.PooledHead, map_metrics=("extras/overlap",)
)


def registry():
    made = add_reference(Registry(strict=False))
    made.register(Hooks(), distribution="extras")
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a kit whose head gives maps, on images whose squares are masked; and the images."""
    folder = tmp_path_factory.mktemp("maps")
    images = folder / "images"
    images.mkdir()
    dataset = write_images(images, None, side=SIDE)
    run_kit(KIT, dataset, folder / "run", registry())
    return folder / "run", dataset


def evaluated(run, dataset, **changes):
    given = {"kit": KIT, "dataset": dataset, "run": Run(run), "batch_size": 8, **changes}
    return evaluate(
        EvaluateJob(**given),
        backbone=small_backbone(),
        registry=registry(),
        on_progress=lambda *_: None,
    )


def test_a_result_holds_the_map_metric_of_kit_and_baseline_and_their_difference(trained):
    result = read_json(trained[0] / "result.json")
    for part in (result, result["baseline"]):
        entry = part["metrics"]["overlap"]
        assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
        assert (entry["n"], entry["regions"]) == (8, 4)
    gap = result["comparison"]["metrics"]["overlap"]["difference"]
    values = [part["metrics"]["overlap"]["value"] for part in (result, result["baseline"])]
    assert gap == pytest.approx(values[0] - values[1])
    assert next(iter(result["metrics"])) == "auroc"
    assert result["notes"] == []
    assert result["localisation"]["regions"] == 4
    assert "extras" in {plugin["distribution"] for plugin in result["plugins"]}


def test_the_report_shows_it_with_the_number_of_regions(trained):
    page = render_report(trained[0], registry=registry()).read_text(encoding="utf-8")
    assert "<td>overlap<br>" in page
    assert "4 regions in 8 images" in page


def with_masks(dataset, mask_of):
    return dataset.with_samples(
        dataclasses.replace(sample, mask=mask_of(sample)) for sample in dataset.samples
    )


def test_masks_that_are_gone_are_named_and_the_rest_is_counted(trained, tmp_path):
    run, dataset = shutil.copytree(trained[0], tmp_path / "run"), trained[1]
    lost = dataset.split("test")[1]
    given = with_masks(
        dataset, lambda sample: tmp_path / "no.png" if sample == lost else sample.mask
    )
    result = evaluated(run, given)
    assert result["n"] == 8
    assert not result["skipped"]
    assert (result["metrics"]["overlap"]["n"], result["metrics"]["overlap"]["regions"]) == (7, 3)
    assert [skip["id"] for skip in result["localisation"]["left_out"]] == [lost.id]
    (note,) = result["notes"]
    assert note.startswith("overlap computed from 7 of 8 images")
    assert note in render_report(run, registry=registry()).read_text(encoding="utf-8")


def test_without_a_mask_a_note_says_why_there_is_no_figure(trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    result = evaluated(run, with_masks(trained[1], lambda sample: None))
    assert "overlap" not in result["metrics"]
    (note,) = result["notes"]
    assert note == "overlap not computed: the samples of the split have no masks"
    assert result["localisation"]["left_out"] == []


def test_where_no_mask_can_be_used_each_is_named(trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    given = with_masks(trained[1], lambda sample: tmp_path / "no.png" if sample.label else None)
    result = evaluated(run, given)
    assert "overlap" not in result["metrics"]
    (note,) = result["notes"]
    assert "no positive image of the split has a usable mask; 4 left out" in note
    assert len(result["localisation"]["left_out"]) == 4


def test_a_kit_without_map_metrics_reads_no_mask(trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    given = with_masks(trained[1], lambda sample: tmp_path / "no.png")
    result = evaluated(run, given, kit=dataclasses.replace(KIT, map_metrics=()))
    assert (result["localisation"], result["notes"]) == (None, [])


def test_a_map_metric_of_the_name_of_another_metric_is_refused(trained):
    kit = dataclasses.replace(KIT, map_metrics=("extras/overlap",), metrics=("x/overlap",))
    with refused("usage/metric-conflict", match="overlap"):
        resolve(kit, registry())


def split(tmp_path, *, images=40, groups=None, subtypes=None, side=16):
    """Samples with one square each in every other image, maps that see it now and then."""
    generator = np.random.default_rng(0)
    samples, maps = [], []
    for number in range(images):
        mask, path = np.zeros((side, side), dtype=bool), None
        if number % 2:
            mask[4:8, 4:8] = True
            path = tmp_path / f"{number}.png"
            Image.fromarray(mask).save(path)
        samples.append(
            Sample(
                id=str(number),
                path=tmp_path / "x",
                label=number % 2,
                mask=path,
                group=groups and groups[number],
                subtype=subtypes and subtypes[number],
            )
        )
        seen = generator.random() * mask + generator.random((side, side)) / 2
        maps.append((seen / 2).astype(np.float32))
    labels = np.array([sample.label for sample in samples])
    scores = np.clip(0.3 * labels + generator.random(images) / 2, 0, 1)
    return Predictions.of(samples, scores), localise(samples, [(side, side)] * images, maps)


def summary_of(tmp_path, metrics=(), *, resamples=200, **options):
    predictions, found = split(tmp_path, **options)
    plain = summarise(
        [predictions],
        [OperatingPoint(threshold=0.5, rule="-", split="val", n=1, value=0.0)],
        METRICS,
        task=SCORE,
        seed=0,
        resamples=resamples,
    )
    return with_map_metrics(
        plain, predictions, metrics or [spec(mean_overlap)], found, seed=0, resamples=resamples
    )


def test_an_interval_covers_its_value_and_repeats_with_its_seed(tmp_path):
    first, again = (summary_of(tmp_path) for _ in range(2))
    json.dumps(first, allow_nan=False)
    assert first == again
    entry = first["metrics"]["overlap"]
    assert entry["ci95"][0] < entry["value"] < entry["ci95"][1]


def test_images_of_one_group_are_drawn_together(tmp_path):
    uneven = [
        name for name, size in zip("abcde", (2, 4, 6, 10, 18), strict=True) for _ in range(size)
    ]
    lone, grouped = (
        summary_of(tmp_path, [spec(region_pixels, "pixels")], groups=groups)["metrics"]["pixels"]
        for groups in (None, uneven)
    )
    # Within classes each resample holds as many positive images, all with one square.
    # What nothing varies has no interval, rather than one without width.
    assert lone["ci95"] is None
    assert grouped["ci95"][0] < 0.8 * grouped["value"] < 1.2 * grouped["value"] < grouped["ci95"][1]


def test_each_subtype_has_its_own_figure(tmp_path):
    kinds = ["first" if number < 10 else "second" for number in range(40)]
    result = summary_of(tmp_path, subtypes=kinds)
    regions = {
        name: part["metrics"]["overlap"]["regions"] for name, part in result["subsets"].items()
    }
    assert regions == {"first": 5, "second": 15}
    for part in result["subsets"].values():
        assert list(part["metrics"]) == list(result["metrics"])


@pytest.mark.parametrize(
    ("value", "code"), [(2.0, "plugin/metric-bounds"), ("raise", "plugin/metric-failed")]
)
def test_a_map_metric_that_breaks_its_word_is_named(tmp_path, value, code):
    def compute(counts):
        if value == "raise":
            raise RuntimeError("no")
        return value

    with refused(code, match="odd"):
        summary_of(tmp_path, [spec(compute, "odd")])
