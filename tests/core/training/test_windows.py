"""Large pictures by windows: learned, judged and answered at the same scale, put together."""

import collections
import dataclasses
import json

import numpy as np
import pytest
from lightning.fabric import Fabric
from PIL import Image

from moekit import Recipe, Registry
from moekit.data import images as reading
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.prediction.predict import predict
from moekit.runs.run import Run
from moekit.runtime.load import load_answerer
from moekit.tasks.segment import SEGMENT, LinearSegHead
from moekit.tasks.segment.example import write_example
from moekit.tasks.segment.tally import Counts
from moekit.tasks.segment.truth import read_truth
from moekit.testing import refused
from moekit.testing.inputs import write_images
from moekit.testing.reference import QUICK, REFERENCE_KIT, SIDE, add_reference, small_backbone
from moekit.training.adapt import AdaptJob, adapt

KIT = dataclasses.replace(
    REFERENCE_KIT, name="outline", task="segment", build_head=LinearSegHead, metrics=()
)
SIZE = (40, 56)


def silent(*_):
    """Tells nobody."""


def adapted(folder, dataset, registry, kit=KIT, **changes):
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    recipe = Recipe.model_validate({**QUICK, "image_size": 28, "fit": "letterbox", **changes})
    return adapt(
        AdaptJob(kit=kit, dataset=dataset, run=Run(folder), seed=0, recipe=recipe),
        backbone=small_backbone(),
        registry=registry,
        fabric=fabric,
        on_progress=silent,
        on_epoch=silent,
    )


def evaluated(folder, dataset, registry):
    return evaluate(
        EvaluateJob(kit=KIT, dataset=dataset, run=Run(folder), batch_size=4),
        backbone=small_backbone(),
        registry=registry,
        on_progress=silent,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The example, in which one picture fits a window, and where its runs lie."""
    folder = tmp_path_factory.mktemp("windows")
    dataset = write_example(folder / "data")
    first = next(one for one in dataset.samples if one.split == "test")
    for path in (first.path, first.mask):
        Image.open(path).crop((10, 5, 38, 30)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moekit.training.adapt.cache_folder", lambda: folder / "cache")
        yield folder, dataset


@pytest.fixture(scope="module")
def run(home):
    """A run that cuts pictures into windows of 28 x 28 pixels."""
    folder, dataset = home
    adapted(folder / "cut", dataset, add_reference(Registry()), tile=28)
    return folder / "cut"


@pytest.fixture
def registry():
    return add_reference(Registry())


def test_the_run_records_how_pictures_are_cut_and_how_many_windows_it_learned_from(run):
    record = json.loads((run / "run.json").read_text())
    assert record["request"]["tiling"] == {"height": 28, "width": 28, "overlap": 0.25}
    assert record["request"]["frame"] == {"height": 28, "width": 28, "fit": "letterbox"}
    assert record["images"] == {"train": 12, "val": 6}
    assert record["windows"] == {"train": 12 * 6, "val": 6 * 6}


def test_the_validation_tally_is_one_of_pictures(run):
    for tally in SEGMENT.judge.load(run, "validation"):
        assert len(tally) == 6
        assert tally.predicted_NC.sum(1).tolist() == [SIZE[0] * SIZE[1]] * 6


@pytest.fixture(scope="module")
def decoded(run, home):
    """An evaluation, and how often it decoded each picture."""
    count = collections.Counter()
    decode = reading._decode_page

    def counted(image, file, path, convert):
        count[path] += 1
        return decode(image, file, path, convert)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_decode_page", counted)
        evaluated(run, home[1], add_reference(Registry()))
    return count


def test_an_evaluation_judges_whole_pictures_and_decodes_each_once(run, home, decoded):
    samples = home[1].split("test")
    assert [decoded[one.path] for one in samples] == [1] * 6
    (kit, _) = SEGMENT.judge.load(run, "predictions")
    assert kit.ids == tuple(one.id for one in samples)
    assert kit.predicted_NC.sum(1).tolist() == [25 * 28, *[40 * 56] * 5]
    assert json.loads((run / "overlays/index.json").read_text())


def test_runtime_predict_and_evaluate_give_the_same_answers(run, home, decoded, tmp_path):
    _, answerer = load_answerer(
        Run(run), KIT, backbone=small_backbone(), registry=add_reference(Registry())
    )
    samples = home[1].split("test")
    rows = predict(
        [(one.id, one.path) for one in samples],
        answerer=answerer,
        provenance={},
        out=tmp_path,
        batch_size=4,
        on_progress=silent,
    )
    answers = answerer.answer(
        [Image.open(one.path).convert("RGB") for one in samples], batch_size=4
    )
    (tally, _) = SEGMENT.judge.load(run, "predictions")
    for number, (sample, row, answer) in enumerate(zip(samples, rows, answers, strict=True)):
        mask = np.asarray(Image.open(tmp_path / row["mask"]))
        assert np.array_equal(mask, answer.class_HW)
        counts = Counts.of(mask, read_truth(sample, mask.shape), 3)
        assert np.array_equal(counts.confusion_CC, tally.confusion_NCC[number])
    assert len({answer.class_HW.tobytes() for answer in answers}) == 6


def test_pictures_no_larger_than_the_window_give_the_bytes_of_a_run_without(
    home, tmp_path, registry
):
    dataset = home[1]
    for name, changes in (("with", {"tile": 56}), ("without", {})):
        record = adapted(
            tmp_path / name, dataset, registry, image_height=42, image_width=56, **changes
        )
        assert "windows" not in record
        evaluated(tmp_path / name, dataset, registry)
    names = sorted(path.name for path in (tmp_path / "with").glob("*.*") if path.is_file())
    same = [name for name in names if name not in ("run.json", "result.json", "history.jsonl")]
    assert len(same) >= 5
    for name in same:
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_a_task_that_puts_no_windows_together_is_refused(tmp_path, registry):
    (tmp_path / "images").mkdir()
    dataset = write_images(tmp_path / "images", None, side=SIDE)
    with refused("usage/tile"):
        adapted(tmp_path / "run", dataset, registry, kit=REFERENCE_KIT, tile=28)
    assert not (tmp_path / "run").exists()
