"""The model card of a sparse form, made from the facts in its file.

`python -m moekit.backbone.sparse.card FORM.safetensors` writes FORM.md next to it.

The headings follow model cards (Mitchell et al. 2019, doi:10.1145/3287560.3287596).
"""

from __future__ import annotations

import sys
from pathlib import Path

from moekit.backbone.sparse.form import SparseForm, load_form
from moekit.files import atomic_text


def render_card(form: SparseForm) -> str:
    """The card as Markdown.

    Args:
        form: A recovered form, whose facts hold figures for several `top_k`.

    Raises:
        KeyError: The form was carved and not recovered.
    """
    facts = form.facts
    top_k, health = facts["top_k"], facts["health"]
    lines = [
        f"# Sparse form of {form.architecture}",
        "",
        "Which neurons of each FFN make an expert, how tokens are routed, and what stands in for",
        "the experts that a token does not have. The experts' weights are not in the file: they",
        "are those of the dense model, and with all experts the backbone is that model.",
        "",
        f"- Made for the dense weights with sha256 `{form.dense_sha256}`, and refused with others.",
        f"- {form.experts} experts a block, made for top-{top_k}; correction of rank "
        f"{form.blocks[0].down_RD.shape[0]}.",
        f"- Way to carve: {facts['method']} ({facts['method_source']}).",
        f"- Made by `{facts['command']}` after `moekit backbone carve`, in {facts['seconds']} s.",
        "- Licence: Apache-2.0, as moekit; the dense weights have their own.",
        "",
        "## Data",
        "",
        f"{facts['pictures']['train']} everyday photographs without labels, at "
        f"{facts['image_size']} pixels and half of that, in random crops; "
        f"{facts['pictures']['held_out']} others were held out for the figures below. No image",
        "of any special field was seen.",
        "",
        "## Figures",
        "",
        "Mean cosine of the final features with the dense model's, on the held-out photographs:",
        "",
        "| top-k | patches | class token |",
        "| --- | --- | --- |",
    ]
    for k, near in sorted(facts["nearness"].items(), key=lambda entry: int(entry[0])):
        first = "none" if near["class_token"] is None else f"{near['class_token']:.4f}"
        lines.append(f"| {k} | {near['patches']:.4f} | {first} |")
    dead = sum(len(block) for block in health["dead"])
    lines += [
        "",
        f"At top-{top_k} the busiest expert of a block takes up to {max(health['maxvio']) + 1:.1f} "
        f"times the mean load (MaxVio {max(health['maxvio']):.2f}); experts that no token had: "
        f"{dead}.",
        "",
        "## Limits",
        "",
        "- A cosine near 1 is not the same result: thresholds and heads are trained again for each",
        "  `top_k`, and a run refuses another form than its own.",
        "- The photographs are few and everyday ones. Measure on your own images with",
        "  `moekit evaluate` at both settings before relying on it, or recover on your own folder.",
        "- What the dense weights do badly, the sparse form does badly too.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Writes the card of each form named."""
    for name in arguments:
        path = Path(name)
        with atomic_text(path.with_suffix(".md")) as file:
            file.write(render_card(load_form(path)))


if __name__ == "__main__":
    main(sys.argv[1:])
