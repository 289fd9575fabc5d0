"""Exports of a run, from the task to the folder and back."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from moekit.export.libraries import need
from moekit.export.predictor import ExportedPredictor
from moekit.export.record import CARD, open_export
from moekit.export.sessions import onnx_session, openvino_session
from moekit.files import read_json
from moekit.runs.run import Run
from moekit.runtime.predictor import Predictor
from moekit.sealed import write_sealed
from moekit.tasks.score import SCORE
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused
from moekit.testing.child import child_command, child_environment

pytest.importorskip("openvino", reason="needs the extra `export`")
pytestmark = pytest.mark.usefixtures("recorded_once")


class Shifted(Predictor):
    """A predictor that does not give what its kit computes."""

    def __call__(self, images, **options):
        computed = super().__call__(images, **options)
        shifted = {**computed.kit, "logit_B": computed.kit["logit_B"] + 0.04}
        return dataclasses.replace(computed, outputs=(shifted,))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the run of `exported` is kept between tests."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def exported(write, make_predictor, kept, tmp_path):
    """A copy of a run with an export, which is made once, and the export's record."""
    if kept.exists():
        shutil.copytree(kept, tmp_path / "run")
    else:
        run, _ = write(make_predictor())
        shutil.copytree(run.folder, kept)
    run = Run(tmp_path / "run")
    return run, read_json(run.folder / "export" / "openvino" / "export.json")


@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_an_export_scores_as_the_kit_and_has_its_own_validation_scores(
    write, make_predictor, preprocess, cells, format_
):
    predictor = make_predictor(views=2)
    run, record = write(predictor, format_, format=format_)
    opened = open_export(run, format_)
    assert opened.preprocess == preprocess
    assert json.loads(json.dumps(record)) == json.loads((opened.folder / "export.json").read_text())
    assert record["parity"]["fields"]["score_B"]["greatest"] <= 1e-4
    assert record["scoring_views"] == {"numbers": [0, 1], "merged": "inside the graph"}
    open_session = onnx_session if format_ == "onnx" else openvino_session
    session = open_session(opened.model, threads=1)
    graph = ExportedPredictor(session, task=SCORE, precision="fp32")
    samples = cells.split("val")
    images = torch.stack([preprocess(sample.path) for sample in samples])
    wanted = predictor(images).kit["logit_B"].sigmoid()
    found = graph(images).kit["logit_B"].sigmoid()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    stored = Predictions.read_csv(opened.folder / "validation.csv")
    assert stored.ids == tuple(sample.id for sample in samples)
    torch.testing.assert_close(torch.from_numpy(stored.scores), wanted, rtol=0, atol=1e-5)
    files = {path.name for path in opened.folder.iterdir()}
    assert files == {"export.json", *record["files"]}
    card = (opened.folder / CARD).read_text(encoding="utf-8").strip()
    assert card.startswith("run that answered: not recorded\n")
    if format_ == "onnx":
        (kept,) = need("onnx").load(opened.model).metadata_props
        assert (kept.key, kept.value) == ("licences", card)
    else:
        model = need("openvino").Core().read_model(opened.model)
        assert model.get_rt_info(["moekit", "licences"]).astype(str).strip() == card


def test_int8_is_compared_with_float32_and_its_own_scores_are_kept(write, make_predictor):
    pytest.importorskip("nncf", reason="needs the extra `export`")
    run, record = write(
        make_predictor(), "openvino-int8", int8=True, max_loss=1.0, allow_slower=True
    )
    accuracy = record["quantisation"]["accuracy"]
    assert record["precision"] == "int8"
    assert accuracy["n"] == 20
    assert accuracy["greatest_drift"] > 0
    assert record["validation"]["auroc"] == pytest.approx(accuracy["int8"])
    graph = open_export(run, "openvino-int8").model.read_text()
    assert 'element_type="i8"' in graph
    speed = record["quantisation"]["speed"]
    assert speed["rounds"] >= 5
    assert speed["ratio_quartiles"][0] <= speed["ratio"] <= speed["ratio_quartiles"][1]


def test_a_graph_outside_the_tolerance_leaves_nothing(write, make_predictor, make_run):
    predictor = make_predictor(of=Shifted)
    run = make_run(predictor)
    with refused("error/graph-differs", match=r"0\.0\d+.*score_B"):
        write(predictor, run=run)
    assert list((run.folder / "export").iterdir()) == []


def test_an_export_is_replaced_but_another_folder_is_not(write, make_predictor, exported):
    predictor, (run, _) = make_predictor(), exported
    write(predictor, run=run)
    other = run.folder / "export" / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with refused("storage/foreign-folder"):
        write(predictor, "other", run=run)
    assert (other / "mine.txt").read_text() == "mine"


def test_an_export_of_other_weights_is_refused(exported, make_predictor, make_run, randomise):
    predictor, (run, _) = make_predictor(), exported
    randomise(predictor.kit, seed=5)
    other = make_run(predictor, "other")
    with refused("weights/other-weights"):
        open_export(other, str(run.folder / "export" / "openvino"))
    with refused("data/no-export") as error:
        open_export(other, "onnx")
    assert "--format onnx" in error.value.fix


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "validation.csv"])
def test_a_damaged_file_is_refused_before_it_is_read(exported, name):
    run, _ = exported
    path = run.folder / "export" / "openvino" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with refused("weights/wrong-hash") as error:
        open_export(run, "openvino")
    assert error.value.whose == str(path)


def test_a_damaged_record_is_refused_by_name(exported):
    run, record = exported
    folder = run.folder / "export" / "openvino"
    for changed in ({"schema": 9}, {"files": {}}, {"preprocess": None}):
        write_sealed(folder / "export.json", {**record, **changed})
        with refused("data/damaged-run"):
            open_export(run, "openvino")
    shutil.rmtree(folder)
    with refused("data/no-export"):
        open_export(run, "openvino")


def test_other_data_than_the_runs_are_refused(write, make_predictor, cells):
    fewer = dataclasses.replace(cells, samples=cells.samples[:-1])
    with refused("data/other-data", match="samples"):
        write(make_predictor(), dataset=fewer)


def test_int8_of_onnx_is_refused(write, make_predictor):
    with refused("usage/option-conflict"):
        write(make_predictor(), format="onnx", int8=True)


def test_a_library_that_is_not_there_is_an_error_that_names_the_extra():
    with refused("usage/not-installed") as error:
        need("a_library_that_nobody_wrote")
    assert 'pip install -e "core[export]"' in str(error.value)


def test_a_limit_meant_for_torch_breaks_no_graph(tmp_path):
    """A width that is no multiple of 16 crashed the process on processors with AVX-512."""
    program = (
        "import numpy, os, sys\n"
        "from moekit.export.libraries import need\n"
        "openvino = need('openvino')\n"
        "assert os.environ['ONEDNN_MAX_CPU_ISA'] == 'AVX2'\n"
        "import openvino.opset13 as op\n"
        "x = op.parameter([-1, 4, 24], numpy.float32)\n"
        "normed = op.mvn(x, op.constant([2]), True, 1e-5, 'inside_sqrt')\n"
        "compiled = openvino.Core().compile_model(openvino.Model([normed], [x], 'm'), 'CPU')\n"
        "given = numpy.random.default_rng(0).normal(size=(2, 4, 24)).astype('float32')\n"
        "assert abs(compiled([given])[0].mean(-1)).max() < 1e-5\n"
    )
    environment = child_environment(ONEDNN_MAX_CPU_ISA="AVX2")
    subprocess.run(child_command("-c", program), env=environment, cwd=tmp_path, check=True)


def test_the_libraries_write_nothing_into_the_home_folder(tmp_path):
    code = (
        "from moekit.export.libraries import need; import sys; need('openvino'); need('nncf'); "
        "assert 'openvino_telemetry' not in sys.modules"
    )
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name == "intel"] == []
