"""`moekit backbone`: about the shared backbone."""

from __future__ import annotations

import click

from moekit.cli.backbone_carve import carve_command
from moekit.cli.backbone_plan import plan
from moekit.cli.backbone_recover import recover_command
from moekit.cli.backbone_upcycle import upcycle
from moekit.cli.options import (
    architecture_option,
    debug_option,
    form_option,
    json_option,
    weights_option,
    with_options,
)
from moekit.cli.output import print_json, print_table


@click.group()
def backbone() -> None:
    """Tell about the shared backbone."""


for command in (carve_command, recover_command, upcycle, plan):
    backbone.add_command(command)


@backbone.command("info")
@with_options(architecture_option, weights_option, form_option, json_option, debug_option)
def info(architecture: str | None, weights: str, form: str, as_json: bool) -> None:
    """Load the backbone and print its size, its experts and where its weights come from."""
    from moekit.backbone.sources import DEFAULT_ARCHITECTURE
    from moekit.backbone.sparse.sources import find_form
    from moekit.jobs.session import open_backbone
    from moekit.runs.facts import backbone_facts

    model = open_backbone(
        device="cpu",
        weights=weights,
        architecture=architecture or DEFAULT_ARCHITECTURE,
        form=form,
    )
    facts = {
        **backbone_facts(model),
        "blocks": len(model.blocks),
        "width": model.width,
        "patch": model.patch,
        "parameters": sum(value.numel() for value in model.parameters()),
    }
    sparse = find_form(model.provenance.sha256, experts=model.experts, form=form)
    if sparse is not None:
        told = ("method", "pictures", "nearness", "health", "command")
        facts["form"] = {name: sparse.facts[name] for name in told if name in sparse.facts}
    if as_json:
        print_json(facts)
    else:
        near = facts.pop("form", {}).get("nearness", {})
        print_table("Backbone", ("", ""), [[key, str(value)] for key, value in facts.items()])
        rows = [
            [k, str(near[k]["patches"]), str(near[k]["class_token"])] for k in sorted(near, key=int)
        ]
        if rows:
            print_table("Cosine with the dense model", ("top-k", "patches", "class token"), rows)
