"""Modules in their export form."""

import pytest
import torch
from timm.layers.attention import Attention
from torch import nn

from moekit.export.attention import AttentionForm
from moekit.export.forms import in_export_form
from moekit.testing import refused


class Looping(nn.Module):
    """A module with a form of its own."""

    def __init__(self, form):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.form = form

    def export_form(self):
        return self.form(self)


def test_a_module_with_a_form_is_replaced_and_left_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(Looping(lambda module: module.linear)))
    form = in_export_form(model)
    assert isinstance(form[1][0], nn.Linear)
    assert isinstance(model[1][0], Looping)


def test_the_form_shares_its_tensors_with_the_module():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    form = in_export_form(model)
    assert form[0] is not model[0]
    assert form[0].weight is model[0].weight
    assert form[1].running_mean is model[1].running_mean


def test_a_form_that_is_no_module_is_its_authors_fault():
    with refused("plugin/not-exportable") as error:
        in_export_form(nn.Sequential(Looping(lambda module: "a name")))
    assert error.value.whose == "Looping"


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "norm_layer": nn.LayerNorm}])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_in_its_form_gives_the_same(options, bias, generator):
    attention = Attention(24, num_heads=3, qkv_bias=bias, **options).eval()
    x_BND = torch.randn(2, 7, 24, generator=generator)
    form = in_export_form(attention)
    assert isinstance(form, AttentionForm)
    torch.testing.assert_close(form(x_BND), attention(x_BND))


def test_attention_of_another_kind_stays_as_it_is():
    gated = Attention(24, num_heads=3, gated=True).eval()
    assert isinstance(in_export_form(gated), Attention)
