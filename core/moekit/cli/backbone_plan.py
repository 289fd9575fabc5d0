"""`moekit backbone plan`: what a backbone of billions of parameters needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from moekit.cli.options import debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table

if TYPE_CHECKING:
    from moekit.scale.plan import Plan
    from moekit.scale.tier import Tier

_size = click.IntRange(min=1)
_tier_options = with_options(
    click.option("--blocks", type=_size, help="Transformer blocks; 128 in the base tier."),
    click.option("--width", type=_size, help="Width of a token; 1792."),
    click.option("--heads", type=_size, help="Attention heads; 28."),
    click.option("--experts", type=_size, help="Experts a block; 16."),
    click.option("--top-k", type=_size, help="Experts a token; 4."),
    click.option("--hidden", type=_size, help="Hidden neurons of an expert; 1792."),
    click.option("--patch", type=_size, help="Side of a patch; 14."),
    click.option("--twin", is_flag=True, help="Plan the narrow twin of the same depth."),
)


@click.command("plan")
@click.option("--gpus", type=_size, default=64, show_default=True, help="Number of GPUs.")
@click.option(
    "--expert-axis",
    type=_size,
    help="GPUs that the experts are spread over; the data axis is the rest.  [default: up to 8]",
)
@click.option("--image-size", type=_size, help="Side of the images.  [default: the tier's, 224]")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="bf16",
    show_default=True,
    help="In which blocks compute.",
)
@click.option("--batch-size", type=_size, default=16, show_default=True, help="Images a GPU.")
@click.option("--recompute", is_flag=True, help="Keep blocks' inputs only, compute them again.")
@with_options(_tier_options, json_option, debug_option)
def plan(
    gpus: int,
    expert_axis: int | None,
    image_size: int | None,
    precision: str,
    batch_size: int,
    recompute: bool,
    twin: bool,
    as_json: bool,
    **sizes: int | None,
) -> None:
    """Tell parameters, memory and operations of a large backbone, and build it without memory."""
    from moekit.scale.plan import make_plan

    tier = _tier({name: value for name, value in sizes.items() if value is not None}, twin=twin)
    made = make_plan(
        tier,
        gpus=gpus,
        expert=expert_axis,
        image_size=image_size,
        arithmetic=precision,  # type: ignore[arg-type]
        batch=batch_size,
        recompute=recompute,
    )
    built = sum(value.numel() for value in tier.build("meta").parameters())
    if as_json:
        print_json({**made.model_dump(), "parameters_built": built})
    else:
        print_table("Plan", ("", ""), _rows(made, built))


def _tier(sizes: dict[str, int], *, twin: bool) -> Tier:
    import pydantic

    from moekit.errors import UsageError
    from moekit.scale.tier import Tier

    try:
        tier = Tier(**(Tier().twin().model_dump() if twin else {}) | sizes)
    except pydantic.ValidationError as error:
        raise UsageError(
            str(error.errors()[0]["msg"]),
            whose="the sizes",
            fix="choose sizes that fit together",
            code="usage/bad-sizes",
        ) from error
    return tier


def _rows(plan: Plan, built: int) -> list[list[str]]:
    tier, memory = plan.tier, plan.memory_bytes_per_gpu
    rows: list[tuple[str, Any]] = [
        ("blocks, width, heads", f"{tier.blocks}, {tier.width}, {tier.heads}"),
        ("experts, chosen, hidden", f"{tier.experts}, {tier.top_k}, {tier.hidden}"),
        ("parameters", f"{plan.parameters:,} (built on the meta device: {built:,})"),
        ("active parameters a token", f"{plan.active_parameters:,}"),
        ("GPUs, data x expert", f"{plan.gpus}, {plan.data} x {plan.expert}"),
        ("batch a GPU", f"{plan.batch} images of {plan.image_size} pixels, {plan.arithmetic}"),
        ("tokens an image", plan.tokens_per_image),
        ("forward an image", f"{plan.forward_flops_per_image / 1e12:.2f} TFLOP"),
        ("training an image", f"{plan.training_flops_per_image / 1e12:.2f} TFLOP"),
        *((f"memory: {name}", _gib(size)) for name, size in memory.model_dump().items()),
        ("sent by a GPU, forward", _gib(plan.exchanged_bytes_per_gpu)),
    ]
    return [[name, str(value)] for name, value in rows]


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
