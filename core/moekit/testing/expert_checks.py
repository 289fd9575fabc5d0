"""Checks of experts.

Shapes: B images (or the frames of stacks), N tokens, D width.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from moekit.contract.experts import ExpertSpec
from moekit.moe.side import is_bottleneck
from moekit.moe.specialists import Grid, SpecialistExpert
from moekit.testing.check import check
from moekit.testing.inputs import GRID, STACK, WIDTH, awaken, tokens
from moekit.testing.subject import Subject
from moekit.testing.verdicts import ConformanceError, NotApplicable, require

_TOLERANCE = 1e-5


def _build(subject: Subject, name: str, *, awake: bool = True) -> nn.Module:
    spec: ExpertSpec = subject.record("experts", name)
    torch.manual_seed(0)
    expert = spec.build(WIDTH)
    if not isinstance(expert, nn.Module):
        raise ConformanceError("build must return a torch.nn.Module")
    if not isinstance(getattr(expert, "reads_map", None), bool):
        raise ConformanceError("the expert needs the attribute reads_map, True or False")
    return (awaken(expert) if awake else expert).eval()


def _apply(expert: nn.Module, x_BND: Tensor, grid: Grid = GRID) -> Tensor:
    if cast(SpecialistExpert, expert).reads_map:
        output: Tensor = expert(x_BND, grid)
        return output
    flat: Tensor = expert(x_BND.flatten(0, 1))
    wanted = (x_BND.shape[0] * x_BND.shape[1], x_BND.shape[2])
    require(flat.shape == wanted, f"tokens {wanted} became {tuple(flat.shape)}")
    return flat.view_as(x_BND)


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=_TOLERANCE, rtol=_TOLERANCE)


@check("expert")
def is_described(subject: Subject, name: str) -> None:
    """It has a summary, a source and the attribute reads_map."""
    spec: ExpertSpec = subject.record("experts", name)
    require(bool(spec.summary.strip()), "the summary is empty")
    require(bool(spec.source.strip()), "the source is empty")
    _build(subject, name)


@check("expert")
def starts_at_zero(subject: Subject, name: str) -> None:
    """A new expert puts out zero, so that attaching it changes nothing."""
    for grid in (GRID, STACK):
        output = _apply(_build(subject, name, awake=False), tokens(2, grid), grid)
        require(
            bool((output == 0).all()),
            f"it puts out up to {output.abs().max():.3g}; begin its last layer with zeros",
        )


@check("expert")
def keeps_shape_and_type(subject: Subject, name: str) -> None:
    """The output has the shape and the type of the input."""
    x_BND = tokens(2)
    output = _apply(_build(subject, name), x_BND)
    require(output.shape == x_BND.shape, f"{tuple(x_BND.shape)} became {tuple(output.shape)}")
    require(output.dtype == x_BND.dtype, f"{x_BND.dtype} became {output.dtype}")


@check("expert")
def takes_no_tokens(subject: Subject, name: str) -> None:
    """An empty batch gives an empty output: an expert that nobody chose."""
    output = _apply(_build(subject, name), tokens(0))
    require(output.shape[0] == 0, f"no image became {output.shape[0]}")


@check("expert")
def keeps_images_apart(subject: Subject, name: str) -> None:
    """The output for one image is the same alone and next to another."""
    expert, x_BND = _build(subject, name), tokens(2)
    together = _apply(expert, x_BND)
    alone = torch.cat([_apply(expert, x_BND[:1]), _apply(expert, x_BND[1:])])
    require(_close(together, alone), f"they differ by {(together - alone).abs().max():.3g}")


@check("expert")
def takes_odd_sizes(subject: Subject, name: str) -> None:
    """It runs on grids of one patch, of odd sides and of one row."""
    expert = _build(subject, name)
    for grid in (Grid(1, 1), Grid(3, 5), Grid(1, 7)):
        x_BND = tokens(1, grid)
        require(_apply(expert, x_BND, grid).shape == x_BND.shape, f"it fails on {tuple(grid)}")


@check("expert")
def takes_stacks(subject: Subject, name: str) -> None:
    """It runs on stacks of one, two and three frames, and keeps their shape."""
    expert = _build(subject, name)
    for frames in (1, 2, 3):
        grid = Grid(*GRID, frames)
        x_BND = tokens(2, grid)
        found = _apply(expert, x_BND, grid).shape
        require(
            found == x_BND.shape, f"{frames} frames: {tuple(x_BND.shape)} became {tuple(found)}"
        )


@check("expert")
def keeps_stacks_apart(subject: Subject, name: str) -> None:
    """The output for one stack of frames is the same alone and next to another."""
    expert, x_BND = _build(subject, name), tokens(2, STACK)
    together = _apply(expert, x_BND, STACK)
    pair = (x_BND[: STACK.frames], x_BND[STACK.frames :])
    alone = torch.cat([_apply(expert, one, STACK) for one in pair])
    require(_close(together, alone), f"they differ by {(together - alone).abs().max():.3g}")


@check("expert")
def repeats_itself(subject: Subject, name: str) -> None:
    """In eval mode the same input gives the same output, to the bit."""
    expert, x_BND = _build(subject, name), tokens(2)
    require(torch.equal(_apply(expert, x_BND), _apply(expert, x_BND)), "two calls differ")


@check("expert")
def stays_finite(subject: Subject, name: str) -> None:
    """Zeros and values a hundred times the usual ones give finite outputs."""
    expert = _build(subject, name)
    for factor in (0.0, 1.0, 100.0):
        output = _apply(expert, tokens(2) * factor)
        require(bool(output.isfinite().all()), f"not finite for inputs scaled by {factor:g}")


@check("expert")
def leaves_its_input_alone(subject: Subject, name: str) -> None:
    """The input is not changed in place."""
    x_BND = tokens(2)
    before = x_BND.clone()
    _apply(_build(subject, name), x_BND)
    require(torch.equal(x_BND, before), "the input changed")


@check("expert")
def learns_everywhere(subject: Subject, name: str) -> None:
    """A gradient reaches the input and exactly the parameters that require one."""
    expert, x_BND = _build(subject, name), tokens(2).requires_grad_()
    torch.autograd.backward(_apply(expert, x_BND).square().sum())
    require(x_BND.grad is not None and bool(x_BND.grad.any()), "none reaches the input")
    for parameter_name, parameter in expert.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        require(reached == parameter.requires_grad, f"{parameter_name}: reached is {reached}")
        if parameter.grad is not None:
            require(bool(parameter.grad.isfinite().all()), f"{parameter_name}: not finite")


@check("expert")
def changes_nothing_in_eval(subject: Subject, name: str) -> None:
    """A call in eval mode changes no buffer and no parameter."""
    expert = _build(subject, name)
    before = {key: value.clone() for key, value in expert.state_dict().items()}
    _apply(expert, tokens(2))
    changed = [k for k, value in expert.state_dict().items() if not torch.equal(value, before[k])]
    require(not changed, f"changed: {', '.join(changed)}")


@check("expert")
def survives_safetensors(subject: Subject, name: str) -> None:
    """Saved as safetensors and loaded into a new one, it gives the same output."""
    expert, x_BND = _build(subject, name), tokens(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "expert.safetensors"
        save_file({k: v.contiguous() for k, v in expert.state_dict().items()}, path)
        fresh = _build(subject, name, awake=False)
        fresh.load_state_dict(load_file(path))
    require(torch.equal(_apply(expert, x_BND), _apply(fresh, x_BND)), "the outputs differ")


@check("expert")
def shares_nothing(subject: Subject, name: str) -> None:
    """Two experts that are built share no memory."""
    first, second = _build(subject, name), _build(subject, name)
    places = {value.data_ptr() for value in first.state_dict().values() if value.numel()}
    shared = [k for k, v in second.state_dict().items() if v.numel() and v.data_ptr() in places]
    require(not shared, f"shared: {', '.join(shared)}")


@check("expert")
def runs_in_mixed_precision(subject: Subject, name: str) -> None:
    """Under bfloat16 autocast it gives finite outputs near those of float32."""
    expert, x_BND = _build(subject, name), tokens(2)
    exact = _apply(expert, x_BND).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rough = _apply(expert, x_BND).detach().float()
    require(bool(rough.isfinite().all()), "not finite")
    error = float((rough - exact).norm() / exact.norm().clamp_min(1e-12))
    require(error < 0.05, f"the relative error is {error:.3f}")


@check("expert")
def is_the_same_in_the_side_stream(subject: Subject, name: str) -> None:
    """Its linear maps, grouped with those of other experts, give what it gives by itself."""
    expert = _build(subject, name)
    if not is_bottleneck(expert):
        raise NotApplicable("it has not all of `down`, `between` and `up`, so it runs by itself")
    for grid in (GRID, STACK):
        x_BND = tokens(2, grid)
        hidden_BNR = expert.down(x_BND)
        if cast(SpecialistExpert, expert).reads_map:
            found = expert.up(expert.between(hidden_BNR, grid))
        else:
            found = expert.up(expert.between(hidden_BNR.flatten(0, 1))).view_as(x_BND)
        off = (found - _apply(cast(nn.Module, expert), x_BND, grid)).abs().max()
        require(off <= _TOLERANCE, f"up(between(down(x))) is off by {off:.3g}")
