"""Recovery, first part: routers and corrections fitted on the tokens that the sparse model makes.

A correction fitted on the dense model's tokens knows nothing of what the blocks before it lost.
Here every block is fitted to bring the sparse model's tokens back to the dense model's, given the
tokens that the sparse blocks before it really make (as layer-wise reconstruction does in pruning
and quantisation, for example Frantar and Alistarh 2022, arXiv:2208.11580). Least squares, no
gradients.

Shapes: B images, N tokens, T tokens of a batch, D width, F neurons, E experts, R rank.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from moekit.backbone.block import MoEBlock
from moekit.backbone.carve import shaped_layer
from moekit.backbone.model import MoEBackbone
from moekit.backbone.sparse.form import BlockForm, SparseForm
from moekit.backbone.sparse.neurons import Excess, Neurons
from moekit.backbone.sparse.regression import Regression
from moekit.moe.layer import MoELayer
from moekit.runtime.device import Arithmetic, autocast

_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
_ROUTER_RIDGE = 1e-4
_ROUTER_TOKENS = 40
_HELD_OUT = 8  # every eighth batch decides the ridge


@dataclasses.dataclass
class _Path:
    """Tokens of one batch on their way through both models, float16 on the CPU."""

    dense_BND: Tensor
    sparse_BND: Tensor
    chosen_BND: Tensor | None = None


@torch.inference_mode()
def refit(
    dense: MoEBackbone,
    form: SparseForm,
    batches: Iterable[Tensor],
    *,
    top_k: int,
    rank: int,
    arithmetic: Arithmetic,
    progress: Callable[[int, int], None],
) -> SparseForm:
    """Fits routers and corrections of all blocks again.

    Args:
        dense: The backbone without a form; it is run with all its experts.
        form: The form to begin with.
        batches: (B, 3, H, W) normalised images, held in memory as tokens: 0.4 MB an image of 224
            pixels and width 384.
        top_k: Experts that a token has.
        rank: R.
        arithmetic: Of the forward passes.
        progress: Called with blocks done and their total.
    """
    device = next(dense.parameters()).device
    paths = []
    for images in batches:
        tokens_BND = dense.embed(images.to(device))[0].half().cpu()
        paths.append(_Path(dense_BND=tokens_BND, sparse_BND=tokens_BND.clone()))
    blocks = []
    for index, block in enumerate(dense.blocks):
        fit = _BlockFit(block, form.blocks[index], top_k, rank, arithmetic)  # type: ignore[arg-type]
        blocks.append(fit.run(paths))
        progress(index + 1, len(dense.blocks))
    return form.with_blocks(blocks)


class _BlockFit:
    """The fit of one block.

    Args:
        block: The dense block.
        form: Its form until now.
        top_k: Experts that a token has.
        rank: R.
        arithmetic: Of the forward passes.
    """

    def __init__(
        self, block: MoEBlock, form: BlockForm, top_k: int, rank: int, arithmetic: Arithmetic
    ) -> None:
        self._block = block
        self._form = form
        self._top_k = top_k
        self._rank = rank
        self._neurons = Neurons.of(block.moe.bank)
        self._device = block.moe.bank.w1_EHD.device
        self._arithmetic: Arithmetic = arithmetic

    def run(self, paths: Sequence[_Path]) -> BlockForm:
        """Moves all paths past the block and returns its new form."""
        self._attend(paths)
        router_ED, choice_E = self._fit_router(paths)
        width = router_ED.shape[1]
        form = dataclasses.replace(
            self._form,
            router_ED=router_ED,
            choice_E=choice_E,
            down_RD=router_ED.new_zeros(0, width),
            up_DR=router_ED.new_zeros(width, 0),
            bias_D=router_ED.new_zeros(width),
        )
        layer = shaped_layer(self._block.moe, form).to(self._device)
        form = dataclasses.replace(
            form,
            **self._fit_correction(paths, layer),
            strength_E=self._form.strength_E / _reference(self._form.strength_E, self._top_k),
        )
        self._finish(paths, form)
        return form

    def _attend(self, paths: Sequence[_Path]) -> None:
        """Dense tokens past the whole block, sparse ones past its attention."""
        experts = self._block.moe.bank.experts
        for path in paths:
            with autocast(self._device, self._arithmetic):
                middle_BND = self._block.attend(path.dense_BND.to(self._device).float())
                y_BND = self._block.moe(self._block.norm2(middle_BND), top_k=experts)
                path.dense_BND = _kept(middle_BND + self._block.ls2(y_BND))
                path.sparse_BND = _kept(
                    self._block.attend(path.sparse_BND.to(self._device).float())
                )

    def _fit_router(self, paths: Sequence[_Path]) -> tuple[Tensor, Tensor]:
        form, neurons = self._form, self._neurons
        experts = form.router_ED.shape[0]
        cluster_F = torch.empty_like(form.order_F)
        cluster_F[form.order_F] = torch.arange(len(form.order_F)) // (len(form.order_F) // experts)
        slope_F, offset_F = form.slope_F.to(self._device), form.offset_F.to(self._device)
        fit = Regression(form.router_ED.shape[1], experts)
        for path in paths:
            z_BND = self._inputs(path)
            every = max(1, z_BND.shape[1] // _ROUTER_TOKENS)
            z_TD = z_BND[:, ::every].flatten(0, 1)
            excess = Excess.of(neurons, z_TD, slope_F, offset_F)
            fit.add(z_TD, excess.energies_TE(neurons, cluster_F.to(self._device), experts))
        return fit.solve(_ROUTER_RIDGE)

    def _fit_correction(self, paths: Sequence[_Path], layer: MoELayer) -> dict[str, Tensor]:
        """The map that brings the tokens nearest to the dense ones, in the units of the FFN."""
        width = self._form.router_ED.shape[1]
        fit, check = Regression(width, width), Regression(width, width)
        for number, path in enumerate(paths):
            z_BND = self._inputs(path)
            with autocast(self._device, self._arithmetic):
                y_BND = layer(z_BND, top_k=self._top_k).float()
            path.chosen_BND = _kept(y_BND)
            need_BND = path.dense_BND.to(self._device).float() - path.sparse_BND.to(self._device)
            need_BND = need_BND - self._block.ls2(y_BND)
            part = check if len(paths) > _HELD_OUT and number % _HELD_OUT == 0 else fit
            part.add(z_BND.flatten(0, 1), need_BND.flatten(0, 1))
        solved = [fit.solve(ridge) for ridge in _RIDGES]
        judge = check if check.count else fit
        weights_DD, bias_D = min(solved, key=lambda found: judge.error(*found))
        down_RD, up_DR = fit.low_rank(weights_DD, min(self._rank, width))
        scale_D = self._scale_D().cpu()
        return {"down_RD": down_RD, "up_DR": up_DR / scale_D[:, None], "bias_D": bias_D / scale_D}

    def _finish(self, paths: Sequence[_Path], form: BlockForm) -> None:
        down_RD, up_DR = form.down_RD.to(self._device), form.up_DR.to(self._device)
        for path in paths:
            assert path.chosen_BND is not None
            z_BND = self._inputs(path)
            added_BND = nn.functional.linear(z_BND @ down_RD.T, up_DR, form.bias_D.to(z_BND))
            y_BND = path.chosen_BND.to(self._device).float() + added_BND
            path.sparse_BND = _kept(path.sparse_BND.to(self._device) + self._block.ls2(y_BND))
            path.chosen_BND = None

    def _inputs(self, path: _Path) -> Tensor:
        z_BND: Tensor = self._block.norm2(path.sparse_BND.to(self._device).float())
        return z_BND

    def _scale_D(self) -> Tensor:
        """(D,) what the block multiplies the FFN's output with."""
        width = self._form.router_ED.shape[1]
        ones: Tensor = self._block.ls2(torch.ones(width, device=self._device))
        return torch.where(ones.abs() < 1e-6, 1e-6, ones)


def _kept(x_BND: Tensor) -> Tensor:
    return x_BND.half().cpu()


def _reference(strength_E: Tensor, top_k: int) -> Tensor:
    """What counts as full strength: that of the fit's own `top_k`; 1 if there was none."""
    value = strength_E[top_k - 1]
    return value if value.abs() > 1e-3 else torch.ones_like(value)
