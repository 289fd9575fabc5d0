"""The recorded graph in both runtimes next to the predictor."""

import dataclasses
import functools

import pytest
import torch
from torch import nn

import moekit
from moekit.export import graph as graph_module
from moekit.export.graph import write_onnx
from moekit.export.predictor import ExportedPredictor
from moekit.export.program import KitProgram
from moekit.export.sessions import onnx_session, openvino_model, openvino_session
from moekit.runtime.predictor import Predictor
from moekit.tasks.score import SCORE
from moekit.tasks.score.image_kinds import kind_names
from moekit.testing import refused

pytest.importorskip("openvino", reason="needs the extra `export`")


class FixedHead(nn.Module):
    """A head that was written for two images."""

    def __init__(self, site):
        super().__init__()
        self.linear = nn.Linear(site.width, 1)

    def forward(self, tokens, grid):
        first, second = tokens[-1].mean(1)
        return {
            "logit_B": torch.cat([self.linear(first), self.linear(second)]),
        }


class ScoreHead(nn.Module):
    """A head without a map."""

    def __init__(self, site):
        super().__init__()
        self.linear = nn.Linear(site.width, 1)

    def forward(self, tokens, grid):
        return {"logit_B": self.linear(tokens[-1].mean(1))[:, 0]}


class KindHead(ScoreHead):
    """A head that tells kinds of image apart, and has not met all of them."""

    kinds = ("bright", "dark")

    def forward(self, tokens, grid):
        output = super().forward(tokens, grid)
        middle_B = tokens[-1].mean((1, 2))
        kind_B = torch.where(middle_B > 0.1, 0, torch.where(middle_B < -0.1, 1, -1))
        return {**output, "kind_B": kind_B}


def record(predictor, preprocess, path):
    """Writes a predictor's graph; returns the names of its outputs."""
    program = KitProgram.of(predictor, preprocess.shape)
    names = [field.short for field in program.fields]
    return write_onnx(program, names, preprocess.shape, path, whose="fake/small")


@pytest.mark.parametrize(
    ("views", "top_k", "experts", "frames", "members"), [(1, 16, 16, 1, 3), (5, 2, 4, 3, 1)]
)
def test_a_graph_gives_the_predictors_scores_and_maps_for_any_number_of_images(
    make_predictor, preprocess, generator, tmp_path, views, top_k, experts, frames, members
):
    head = functools.partial(moekit.PooledHead, members=members)
    predictor = make_predictor(views=views, top_k=top_k, experts=experts, build_head=head)
    preprocess = dataclasses.replace(preprocess, frames=frames)
    path = tmp_path / "model.onnx"
    assert record(predictor, preprocess, path) == ["score", "logit", "map"]
    content = path.read_bytes()
    assert b".py" not in content, "it names a path of the machine"
    assert b"kit.head/" in content
    assert b"backbone.blocks.0.attn" in content
    for session in (
        onnx_session(path, threads=1),
        openvino_session(openvino_model(path), threads=1),
    ):
        graph = ExportedPredictor(session, task=SCORE, precision="fp32")
        for images in (1, 2, 7):
            batch = torch.randn(images, *preprocess.shape, generator=generator)
            found, wanted = graph(batch).kit, predictor(batch).kit
            score_B = found["logit_B"].sigmoid()
            torch.testing.assert_close(score_B, wanted["logit_B"].sigmoid(), rtol=0, atol=1e-5)
            assert (found["map_BHW"] - wanted["map_BHW"]).abs().mean() < 1e-3
            scores = torch.from_numpy(session(batch.numpy())["score"])
            torch.testing.assert_close(scores.double(), score_B, rtol=0, atol=1e-6)


class NarrowExpert(nn.Module):
    """A bottleneck whose maps are grouped in the side stream."""

    reads_map = True

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Linear(width, 6), nn.Linear(6, width)

    def forward(self, x_BND, grid):
        return self.up(self.between(self.down(x_BND), grid))

    def between(self, hidden_BNR, grid):
        plane = grid.plane(hidden_BNR[:, -grid.patches :])
        around = nn.functional.avg_pool2d(plane, 3, 1, 1).flatten(2).transpose(1, 2)
        first = hidden_BNR[:, : -grid.patches]
        return nn.functional.gelu(torch.cat([first, around], dim=1))


class Narrow:
    @moekit.hookimpl
    def moekit_experts(self):
        return [moekit.ExpertSpec(name="narrow", build=NarrowExpert, summary="-", source="-")]


@pytest.mark.parametrize("with_baseline", [False, True])
def test_a_graph_holds_the_side_stream(
    make_predictor, registry, preprocess, generator, tmp_path, with_baseline
):
    registry.register(Narrow(), distribution="narrow")
    experts = ("narrow", "token", "narrow")
    slot = dataclasses.replace(make_predictor.slot, experts=experts, top_k=2)
    slots = (dataclasses.replace(slot, block=0), slot)
    predictor = make_predictor(views=2, slots=slots, placement="side")
    assert predictor.kit.is_side
    if with_baseline:
        predictor = Predictor(
            backbone=predictor.backbone,
            kit=predictor.kit,
            baseline=make_predictor(slots=()).kit,
            task=SCORE,
            arithmetic="fp32",
            views=2,
            mean="alone",
        )
    path = tmp_path / "model.onnx"
    record(predictor, preprocess, path)
    for session in (
        onnx_session(path, threads=1),
        openvino_session(openvino_model(path), threads=1),
    ):
        graph = ExportedPredictor(session, task=SCORE, precision="fp32")
        for images in (1, 3):
            batch = torch.randn(images, *preprocess.shape, generator=generator)
            found, wanted = graph(batch).kit, predictor(batch).kit
            for name, value in wanted.items():
                torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4)


def test_a_graph_of_the_mean_holds_both_models(make_predictor, preprocess, generator, tmp_path):
    views = 4
    kit, other = make_predictor(views=views), make_predictor(views=views, slots=())
    with torch.no_grad():
        for parameter in other.kit.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    both = Predictor(
        backbone=kit.backbone,
        kit=kit.kit,
        baseline=other.kit,
        task=SCORE,
        arithmetic="fp32",
        views=views,
        mean="alone",
    )
    path = tmp_path / "model.onnx"
    assert record(both, preprocess, path) == ["score", "logit", "map"]
    for session in (
        onnx_session(path, threads=1),
        openvino_session(openvino_model(path), threads=1),
    ):
        graph = ExportedPredictor(session, task=SCORE, precision="fp32")
        batch = torch.randn(3, *preprocess.shape, generator=generator)
        found, wanted = graph(batch).kit, both(batch).kit
        apart = [one(batch).kit["logit_B"] for one in (kit, other)]
        assert (apart[0] - apart[1]).abs().min() > 1e-3
        torch.testing.assert_close(wanted["logit_B"], sum(apart) / 2)
        torch.testing.assert_close(
            found["logit_B"].double(), wanted["logit_B"].double(), rtol=0, atol=1e-4
        )


def test_a_kit_that_fixes_the_number_of_images_is_refused_by_name(
    make_predictor, preprocess, tmp_path
):
    path = tmp_path / "model.onnx"
    with refused("plugin/not-exportable") as error:
        record(make_predictor(build_head=FixedHead), preprocess, path)
    assert error.value.whose == "fake/small"
    assert not path.exists()


def test_kinds_of_image_have_their_names_and_a_head_without_a_map_has_a_graph_without_one(
    make_predictor, preprocess, generator, tmp_path
):
    predictor = make_predictor(build_head=KindHead, views=2)
    path = tmp_path / "model.onnx"
    assert record(predictor, preprocess, path) == ["score", "logit", "kind"]
    plain = ExportedPredictor(onnx_session(path, threads=1), task=SCORE, precision="fp32")
    assert set(plain(torch.zeros(3, *preprocess.shape)).kit) == {"logit_B", "kind_B"}
    session = openvino_session(openvino_model(path), threads=1)
    graph = ExportedPredictor(session, task=SCORE, precision="fp32")
    images = torch.randn(24, *preprocess.shape, generator=generator)
    found, wanted = (
        kind_names(compute(images).kit["kind_B"].tolist(), predictor.kit.kinds)
        for compute in (graph, predictor)
    )
    assert found == wanted
    assert len(set(found)) > 1


class Buffered(nn.Module):
    """A program that holds much outside its parameters."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.ones(50_000))

    def forward(self, images):
        score = images.flatten(1).mean(1) + self.table.mean() * self.table[7]
        return score, None


def test_what_buffers_hold_counts_for_the_size_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_module, "_ONE_FILE", 100_000)
    path = tmp_path / "model.onnx"
    assert write_onnx(Buffered(), ("score", "map"), (3, 4, 4), path, whose="small") == ["score"]
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    found = onnx_session(path, threads=1)(torch.zeros(3, 3, 4, 4).numpy())
    assert found["score"] == pytest.approx([1, 1, 1])
