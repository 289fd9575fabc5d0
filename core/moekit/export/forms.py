"""Modules that need another form if their computation is recorded as a graph."""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

from torch import nn

from moekit.errors import PluginError
from moekit.export.attention import AttentionForm, has_attention_form


@runtime_checkable
class HasExportForm(Protocol):
    """A module whose `forward` cannot be recorded as it is, and what can be in its place.

    A graph has fixed control flow and shapes that depend on no data but the number of images. An
    expert, a gate that is a module, or a head that needs loops over data, in-place writes or a
    library of its own offers the method `export_form`. Most need none: what differs by a line asks
    `torch.compiler.is_exporting()`.
    """

    def export_form(self) -> nn.Module:
        """A module that is called in the same way and gives the same to rounding.

        It may share tensors with this one and is not trained.
        """
        ...


def in_export_form(module: nn.Module) -> nn.Module:
    """A copy of a module in which all that have an export form are in it; outer ones first.

    It shares the tensors of the module. timm's attention has a form here.

    Raises:
        PluginError: A form is no module.
    """
    form = _form_of(module)
    if form is not None:
        return form
    tensors = [*module.parameters(), *module.buffers()]
    copied = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    _replace_children(copied)
    return copied.eval()


def _replace_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        form = _form_of(child)
        if form is None:
            _replace_children(child)
        else:
            setattr(module, name, form)


def _form_of(module: nn.Module) -> nn.Module | None:
    if has_attention_form(module):
        return AttentionForm(module)
    if not isinstance(module, HasExportForm):
        return None
    form: object = module.export_form()
    if not isinstance(form, nn.Module):
        raise PluginError(
            f"its export form is a {type(form).__name__}, not a module",
            whose=type(module).__name__,
            fix="return a torch.nn.Module from export_form",
            code="plugin/not-exportable",
        )
    return form.eval()
