"""The memory in its form for graphs: what the routed one finds, in torch and in the runtimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moekit.export.forms import in_export_form
from moekit.export.graph import write_onnx
from moekit.export.sessions import onnx_session, openvino_model, openvino_session
from moekit.tasks.score import SCORE
from moekit_industrial.anomaly import MemoryHead, MemoryLearner
from moekit_industrial.anomaly.grouped import GroupedMemory
from moekit_industrial.anomaly.memory import Members, RoutedMemory

from .conftest import GRID, SITE, WIDTH


def memory_of(banks: Sequence[Tensor], *, asked: int) -> RoutedMemory:
    memory = RoutedMemory(banks[0].shape[1], asked=asked)
    draw = torch.Generator().manual_seed(1)
    memory.fill([Members.of(bank, cells=40, generator=draw) for bank in banks])
    return memory


@pytest.fixture
def banks() -> list[Tensor]:
    """Two kinds: one of 40 cells of many sizes, one of two."""
    draw = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(30, 16, generator=draw)
    which = (30 * torch.rand(40 * 512, generator=draw).square()).long()
    crowded = centres[which] + torch.randn(len(which), 16, generator=draw)
    return [crowded, 5 + torch.randn(2 * 512, 16, generator=draw)]


@pytest.mark.parametrize("asked", [1, 8, 64])
def test_it_gives_what_the_routed_memory_gives(banks: list[Tensor], asked: int) -> None:
    memory = memory_of(banks, asked=asked)
    assert len(memory.counts_K) > 32  # more than two groups
    assert memory.counts_K.max() > 2 * memory.counts_K.min()
    form = in_export_form(nn.Sequential(memory))[0]
    assert isinstance(form, GroupedMemory)
    draw = torch.Generator().manual_seed(2)
    query = torch.cat([bank[:300] for bank in banks]) + torch.randn(600, 16, generator=draw)
    kind = torch.arange(600) // 300
    for wanted in (torch.rand(600, generator=draw) > 0.3, torch.arange(600) == 7):
        found, expected = form(query, kind, wanted), memory(query, kind, wanted)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
        assert (expected[wanted] > 0).all()


def test_queries_that_all_ask_one_cell_and_none_at_all(banks: list[Tensor]) -> None:
    memory = memory_of(banks[:1], asked=1)
    form = memory.export_form()
    query = memory.centres_KC[3] + torch.linspace(0, 0.1, 500)[:, None]
    kind, every = torch.zeros(500, dtype=torch.int64), torch.ones(500, dtype=torch.bool)
    torch.testing.assert_close(form(query, kind, every), memory(query, kind, every))
    assert (form(query, kind, ~every) == 0).all()


def test_members_lie_in_it_about_once(banks: list[Tensor]) -> None:
    memory = memory_of(banks, asked=8)
    padded = sum(tensor.nbytes for tensor in memory.export_form().buffers())
    assert memory.bank_MC.nbytes < padded < 1.5 * memory.bank_MC.nbytes


FIELDS = (*SCORE.outputs, *SCORE.derived)
NAMES = ["logit", "map", "kind", "score"]


class Program(nn.Module):
    """A head from features to the outputs of a graph."""

    def __init__(self, head: MemoryHead) -> None:
        super().__init__()
        self.head = in_export_form(head)

    def forward(self, x_BND: Tensor) -> tuple[Tensor | None, ...]:
        outputs = self.head([x_BND], GRID)
        named = {**outputs, **SCORE.answering.derive(outputs)}
        return tuple(named.get(field.name) for field in FIELDS)


@pytest.mark.parametrize("plain", [False, True])
def test_a_head_is_a_graph_for_any_number_of_images(
    make: Callable[..., Any], tokens: Callable[..., Any], tmp_path: Path, plain: bool
) -> None:
    pytest.importorskip("openvino", reason="needs the extra `export`")
    head = MemoryHead(SITE)
    train = make("nut", 40, seed=0) + make("bolt", 20, seed=1)
    MemoryLearner(
        head, train, make("nut", 8, seed=2) + make("bolt", 8, seed=3), seed=0, plain=plain
    ).run()
    path = tmp_path / "head.onnx"
    shape = (GRID.patches + 1, WIDTH)
    names = write_onnx(Program(head.eval()), NAMES, shape, path, whose="head")
    assert names == NAMES
    fresh = [make(name, 3, seed=4).x_BPF for name in ("nut", "washer", "bolt")]
    (x_BND,) = tokens(torch.cat(fresh))
    expected = head([x_BND], GRID)
    assert expected["kind_B"].tolist() == [1, 1, 1, -1, -1, -1, 0, 0, 0]
    for session in (
        onnx_session(path, threads=1),
        openvino_session(openvino_model(path), threads=1),
    ):
        parts = [session(part.numpy()) for part in x_BND.split([1, 2, 6])]
        found = {
            name: torch.cat([torch.from_numpy(part[name]) for part in parts]) for name in names
        }
        torch.testing.assert_close(found["logit"], expected["logit_B"], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(found["map"], expected["map_BHW"], atol=1e-3, rtol=0)
        assert found["kind"].tolist() == expected["kind_B"].tolist()
