"""Checks of token gates.

Shapes: B images (or the frames of stacks), P patches, D width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from moekit.contract.experts import TokenGateSpec
from moekit.moe.specialists import Grid
from moekit.moe.token_gates import TokenGate
from moekit.testing.check import check
from moekit.testing.inputs import GRID, STACK, WIDTH, generator, tokens
from moekit.testing.subject import Subject
from moekit.testing.verdicts import ConformanceError, NotApplicable, require

IMAGES, PATCH = 2, 14
_GRIDS = (GRID, STACK, Grid(3, 5), Grid(1, 1))
_TOLERANCE = 1e-4


def _spec(subject: Subject, name: str) -> TokenGateSpec:
    spec: TokenGateSpec = subject.record("token_gates", name)
    return spec


def _gate(subject: Subject, name: str) -> TokenGate:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gate: TokenGate = _spec(subject, name).build(WIDTH)
    if not callable(gate):
        raise ConformanceError("build must return something that is called with tokens")
    return gate


def _inputs(grid: Grid, *, images: int = IMAGES) -> tuple[Tensor, Tensor]:
    """(B, P, D) tokens and (B, 3, H, W) pictures, whose upper left is finer than the rest."""
    patch_BPD = tokens(images, grid, seed=5)[:, 1:]
    shape = (len(patch_BPD), 3, grid.rows * PATCH, grid.columns * PATCH)
    picture = torch.randn(shape, generator=generator(6))
    picture[..., shape[2] // 2 :, :] *= 0.1
    return patch_BPD, picture


@torch.no_grad()
def _scores(gate: TokenGate, grid: Grid, patch_BPD: Tensor, picture: Tensor) -> Tensor:
    return gate(patch_BPD, grid, picture=picture)


@check("token-gate")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary and a source."""
    spec = _spec(subject, name)
    require(bool(spec.summary.strip() and spec.source.strip()), "summary or source is empty")


@check("token-gate")
def gives_a_score_a_patch(subject: Subject, name: str) -> None:
    """Images and stacks of any grid get one finite score a patch."""
    gate = _gate(subject, name)
    for grid in _GRIDS:
        patch_BPD, picture = _inputs(grid)
        scores = _scores(gate, grid, patch_BPD, picture)
        if not isinstance(scores, Tensor):
            raise ConformanceError(f"it gives a {type(scores).__name__}, not a tensor")
        shape = patch_BPD.shape[:2]
        require(scores.shape == shape, f"{tuple(scores.shape)} for {tuple(shape)} patches")
        require(bool(scores.isfinite().all()), "a score is not finite")


@check("token-gate")
def takes_an_empty_picture(subject: Subject, name: str) -> None:
    """Equal tokens and a picture of one brightness give finite scores."""
    scores_BP = _scores(
        _gate(subject, name),
        GRID,
        torch.zeros(IMAGES, GRID.patches, WIDTH),
        torch.zeros(IMAGES, 3, GRID.rows * PATCH, GRID.columns * PATCH),
    )
    require(bool(scores_BP.isfinite().all()), "a score is not finite")


@check("token-gate")
def keeps_images_apart(subject: Subject, name: str) -> None:
    """An image, or a stack, is scored alike by itself and next to another."""
    gate = _gate(subject, name)
    for grid in (GRID, STACK):
        patch_BPD, picture = _inputs(grid)
        together_BP = _scores(gate, grid, patch_BPD, picture)
        own = [slice(start, start + grid.frames) for start in range(0, len(picture), grid.frames)]
        alone_BP = torch.cat([_scores(gate, grid, patch_BPD[one], picture[one]) for one in own])
        require(
            torch.allclose(together_BP, alone_BP, atol=_TOLERANCE, rtol=_TOLERANCE),
            "one image changes the other's scores",
        )


@check("token-gate")
def repeats_itself(subject: Subject, name: str) -> None:
    """The same image gives the same scores, to the bit, also of a gate that is built again."""
    patch_BPD, picture = _inputs(GRID)
    gate = _gate(subject, name)
    found = [_scores(one, GRID, patch_BPD, picture) for one in (gate, gate, _gate(subject, name))]
    require(torch.equal(found[0], found[1]), "two calls differ")
    require(torch.equal(found[0], found[2]), "a gate that is built again differs")


@check("token-gate")
def leaves_its_inputs_alone(subject: Subject, name: str) -> None:
    """Tokens and picture are not changed in place."""
    inputs = _inputs(STACK)
    before = [one.clone() for one in inputs]
    _scores(_gate(subject, name), STACK, *inputs)
    same = all(torch.equal(*pair) for pair in zip(before, inputs, strict=True))
    require(same, "the tokens or the picture changed")


@check("token-gate")
def can_learn(subject: Subject, name: str) -> None:
    """A learned gate is a module, and each of its weights gets a gradient from its scores."""
    if not _spec(subject, name).learned:
        raise NotApplicable("it learns nothing")
    gate = _gate(subject, name)
    if not isinstance(gate, nn.Module) or not list(gate.parameters()):
        raise ConformanceError("a learned gate must be a torch module with weights")
    patch_BPD, picture = _inputs(GRID)
    scores_BP = cast(TokenGate, gate)(patch_BPD, GRID, picture=picture)
    require(scores_BP.requires_grad, "the scores are cut off from the weights")
    factor_BP = torch.rand(scores_BP.shape, generator=generator(7))
    torch.autograd.backward((scores_BP * factor_BP).sum())
    for of, weight in gate.named_parameters():
        require(weight.grad is not None and bool(weight.grad.any()), f"{of} gets no gradient")
