"""Graphs of kits that do not compute all tokens, in both runtimes beside the predictor."""

import dataclasses

import pytest
import torch

from moekit.export.export import export
from moekit.export.graph import write_onnx
from moekit.export.predictor import ExportedPredictor
from moekit.export.program import KitProgram
from moekit.export.sessions import onnx_session, openvino_model, openvino_session
from moekit.moe.tokens import TokenRouting
from moekit.runtime.tokens import named_gate
from moekit.tasks.score import SCORE
from moekit.testing import refused

pytest.importorskip("openvino", reason="needs the extra `export`")


@pytest.fixture
def make_routed(make_predictor, registry):
    """A predictor whose first block, of the two before the kit's own, computes half the patches."""

    def make(gate, *, window=2, share=0.5, threshold=None, **changes):
        slot = dataclasses.replace(make_predictor.slot, block=2)
        predictor = make_predictor(slots=(slot,), head_blocks=(0, 2), **changes)
        predictor.tokens = TokenRouting(
            gate=named_gate(gate, registry, width=32),
            block=0,
            until=2,
            share=share,
            threshold=threshold,
            window=window,
        )
        return predictor

    return make


@pytest.mark.parametrize(
    ("gate", "window"),
    [("texture", 2), ("texture", None), ("foreground", 2), ("motion", 2), ("learned", 2)],
)
def test_a_graph_computes_the_tokens_that_the_predictor_does(
    gate, window, make_routed, preprocess, generator, tmp_path, recordings
):
    frames = 3 if gate == "motion" else 1
    preprocess = dataclasses.replace(preprocess, frames=frames)
    predictor = make_routed(gate, window=window, views=2 if gate == "texture" else 1)
    program = KitProgram.of(predictor, preprocess.shape)
    names = [field.short for field in program.fields]
    path = tmp_path / "model.onnx"
    recordings.write(program, names, preprocess.shape, path, whose="fake/small")
    sessions = onnx_session(path, threads=1), openvino_session(openvino_model(path), threads=1)
    for images in (1, 5):
        batch = torch.randn(images, *preprocess.shape, generator=generator)
        wanted = predictor(batch).kit
        whole = dataclasses.replace(predictor.tokens, share=1.0)
        predictor.tokens, routed = whole, predictor.tokens
        dense = predictor(batch).kit
        predictor.tokens = routed
        apart = (dense["map_BHW"] - wanted["map_BHW"]).abs().mean()
        assert apart > 1e-3, "the test would not see a difference"
        for session in sessions:
            found = ExportedPredictor(session, task=SCORE, precision="fp32")(batch).kit
            torch.testing.assert_close(found["logit_B"], wanted["logit_B"], rtol=0, atol=1e-4)
            torch.testing.assert_close(found["map_BHW"], wanted["map_BHW"], rtol=0, atol=1e-4)


def test_a_graph_computes_as_many_tokens_of_each_image_as_the_predictor_does(
    make_routed, preprocess, generator, tmp_path
):
    predictor = make_routed("texture", window=None, share=1.0, threshold=0.4)
    program = KitProgram.of(predictor, preprocess.shape)
    names = [field.short for field in program.fields]
    path = tmp_path / "model.onnx"
    write_onnx(program, names, preprocess.shape, path, whose="fake/small")
    batch = torch.randn(5, *preprocess.shape, generator=generator)
    for row, fine in enumerate((0.0, 0.2, 0.5, 0.8, 1.0)):
        batch[row, :, int(fine * preprocess.frame.height) :] = 0.1
    x_BND, grid = predictor.backbone.embed(batch)
    choice = predictor.tokens.choose(x_BND, grid, batch)
    assert len(choice.groups) > 2, "the test would not see a difference"
    sessions = onnx_session(path, threads=1), openvino_session(openvino_model(path), threads=1)
    for images in (batch, batch[1:2], batch[:1]):
        wanted = predictor(images).kit
        for session in sessions:
            found = ExportedPredictor(session, task=SCORE, precision="fp32")(images).kit
            torch.testing.assert_close(found["logit_B"], wanted["logit_B"], rtol=0, atol=1e-4)
            torch.testing.assert_close(found["map_BHW"], wanted["map_BHW"], rtol=0, atol=1e-4)


def test_a_routing_that_no_graph_holds_is_refused(make_routed, preprocess):
    for changes in ({"window": 3}, {"threshold": 0.5}):
        with refused("usage/option-conflict", match="4 x 4 patches"):
            KitProgram.of(make_routed("texture", **changes), preprocess.shape)


@pytest.mark.usefixtures("recorded_once")
def test_a_run_that_routes_tokens_is_exported(
    make_routed, make_run, make_task, resolved, preprocess
):
    predictor = make_routed("learned")
    job = make_task(make_run(predictor), format="openvino")
    facts = export(
        job,
        resolved=resolved,
        predictor=predictor,
        preprocess=preprocess,
        on_progress=lambda *_: None,
    )
    assert facts["parity"]["n"] >= 10
