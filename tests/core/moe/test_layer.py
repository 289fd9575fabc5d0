"""The MoE layer: router, gate and experts together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moekit import Gate, RoutingTrace, TopKSoftmax, UnitTopK
from moekit.moe.experts import ExpertBank
from moekit.moe.layer import MoELayer
from moekit.moe.router import Router
from moekit.testing import refused

B, N, D, E, H = 2, 9, 16, 4, 8


def make_layer(gate: Gate) -> MoELayer:
    numbers = torch.Generator().manual_seed(0)
    bank = ExpertBank(
        w1_EHD=torch.randn(E, H, D, generator=numbers),
        b1_EH=torch.randn(E, H, generator=numbers),
        w2_EHD=torch.randn(E, H, D, generator=numbers),
        b2_D=torch.randn(D, generator=numbers),
        activation=nn.GELU(),
    )
    router = Router(D, E)
    nn.init.normal_(router.weight_ED, generator=numbers)
    return MoELayer(router=router, gate=gate, bank=bank)


@pytest.fixture
def x_BND(generator: torch.Generator) -> Tensor:
    return torch.randn(B, N, D, generator=generator)


def test_with_all_experts_of_unit_weight_the_layer_is_the_dense_network(x_BND: Tensor) -> None:
    layer = make_layer(UnitTopK())
    assert torch.equal(layer(x_BND, top_k=E), layer.bank.all_experts(x_BND))


def test_with_weights_the_layer_is_routed_even_with_all_experts(x_BND: Tensor) -> None:
    layer = make_layer(TopKSoftmax())
    weight_BNE = layer.router(x_BND).softmax(-1)
    experts = [layer.bank.one_expert(index, x_BND.flatten(0, 1)) for index in range(E)]
    expected = torch.einsum("etd,te->td", torch.stack(experts), weight_BNE.flatten(0, 1))
    found = layer(x_BND, top_k=E) - layer.bank.b2_D
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("top_k", [1, 2, E])
def test_a_trace_changes_no_result(top_k: int, x_BND: Tensor) -> None:
    layer, trace = make_layer(UnitTopK()), RoutingTrace()
    assert torch.equal(layer(x_BND, top_k=top_k), layer(x_BND, top_k=top_k, trace=trace))
    assert [block.kit for block in trace.blocks] == [None]
    assert int(trace.blocks[0].counts_BE.sum()) == B * N * top_k


def test_fewer_experts_change_the_result(x_BND: Tensor) -> None:
    layer = make_layer(UnitTopK())
    assert not torch.allclose(layer(x_BND, top_k=2), layer(x_BND, top_k=E))


def test_the_balancing_bias_takes_part_in_the_choice(x_BND: Tensor) -> None:
    layer, trace = make_layer(UnitTopK()), RoutingTrace()
    layer.router.bias_E[3] = 1000
    layer(x_BND, top_k=1, trace=trace)
    assert trace.blocks[0].counts_BE.sum(0).tolist() == [0, 0, 0, B * N]


@pytest.mark.parametrize("top_k", [0, E + 1])
def test_an_impossible_number_of_experts_is_refused(top_k: int, x_BND: Tensor) -> None:
    with refused("usage/out-of-range"):
        make_layer(UnitTopK())(x_BND, top_k=top_k)


class Exported(nn.Module):
    """The layer at one top_k."""

    def __init__(self, layer: MoELayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_BND: Tensor) -> Tensor:
        return self.layer(x_BND, top_k=2)


@pytest.mark.parametrize("gate", [UnitTopK(), TopKSoftmax()])
def test_the_layer_is_exported_for_any_number_of_images_and_tokens(
    gate: Gate, x_BND: Tensor, generator: torch.Generator
) -> None:
    model = Exported(make_layer(gate)).eval()
    dynamic = ({0: torch.export.Dim("images"), 1: torch.export.Dim("tokens")},)
    exported = torch.export.export(model, (x_BND,), dynamic_shapes=dynamic).module()
    other = torch.randn(3, 7, D, generator=generator)
    for given in (x_BND, other):
        torch.testing.assert_close(exported(given), model(given), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # tracing warns of every size that it fixes
def test_the_layer_is_traced(x_BND: Tensor, generator: torch.Generator) -> None:
    model = Exported(make_layer(UnitTopK())).eval()
    traced = torch.jit.trace(model, (x_BND,), check_trace=False)
    other = torch.randn(B, N, D, generator=generator)
    torch.testing.assert_close(traced(other), model(other), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("top_k", [1, 2])
def test_an_image_has_the_same_result_alone_and_among_others(top_k: int, x_BND: Tensor) -> None:
    layer = make_layer(UnitTopK()).eval().requires_grad_(False)
    together = layer(x_BND, top_k=top_k)
    alone = torch.cat([layer(image[None], top_k=top_k) for image in x_BND])
    torch.testing.assert_close(together, alone)
