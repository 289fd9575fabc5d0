"""Times the rules of dispatch on a CPU in a process of its own: `python -m ... OUT.json`.

One thread, whose processor time is measured. The instruction set is that of the processor, or what
`ATEN_CPU_CAPABILITY`, `ONEDNN_MAX_CPU_ISA` and `MKL_ENABLE_INSTRUCTIONS` leave of it.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

from moekit.bench.timing import compare
from moekit.moe import batched
from moekit.moe.experts import ExpertBank
from moekit.moe.gates import UnitTopK
from moekit.moe.instructions import instruction_set
from moekit.moe.layer import MoELayer
from moekit.moe.router import Router

WIDTH, HIDDEN, EXPERTS, TOP_K = 384, 96, 16, 4
TOKENS = (64, 196, 512, 1024)
SLACKS = (0, 24, 48, 96, 192)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
SECONDS, ROUNDS = 1.0, 11


def layer():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator) * 0.05

    bank = ExpertBank(
        w1_EHD=draw(EXPERTS, HIDDEN, WIDTH),
        b1_EH=draw(EXPERTS, HIDDEN),
        w2_EHD=draw(EXPERTS, HIDDEN, WIDTH),
        b2_D=draw(WIDTH),
        activation=torch.nn.GELU(),
    )
    router = Router(WIDTH, EXPERTS)
    with torch.no_grad():
        router.weight_ED.copy_(draw(EXPERTS, WIDTH))
    return MoELayer(router=router, gate=UnitTopK(), bank=bank).requires_grad_(False).eval()


def with_rule(made, inputs, rule, slack):
    """A call of the layer under a rule: rows of slack, or "grouped" with the slack in force."""

    def call(number):
        batched.pays_grouped = lambda *_: rule == "grouped"
        batched.slack_rows = lambda *_: slack if rule == "grouped" else rule
        return made(inputs[number % len(inputs)], top_k=TOP_K)

    return call


@torch.inference_mode()
def main(out):
    torch.set_num_threads(1)
    rows = []
    for name, dtype in DTYPES.items():
        made = layer().to(dtype)
        for tokens in TOKENS:
            table = torch.randn(1, tokens + 256, WIDTH).to(dtype)
            inputs = [table[:, first : first + tokens] for first in range(0, 256, 32)]
            own = batched.pays_grouped, batched.slack_rows
            slack = batched.slack_rows(dtype, 1)
            kept = "grouped" if batched.pays_grouped(WIDTH, HIDDEN, dtype, 1) else slack
            rules = dict.fromkeys((kept, *SLACKS, "grouped"))
            calls = {str(rule): with_rule(made, inputs, rule, slack) for rule in rules}
            found = compare(calls, baseline=str(kept), seconds=SECONDS, least_rounds=ROUNDS)
            batched.pays_grouped, batched.slack_rows = own
            rows += [
                {"dtype": name, "tokens": tokens, "rule": rule, **dataclasses.asdict(timing)}
                for rule, timing in found.items()
            ]
    found = {"computed_with": computed_with(), "rows": rows}
    Path(out).write_text(json.dumps(found, allow_nan=False))


def computed_with():
    """What the libraries computed with in this process."""
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "rules": instruction_set(),
        **{name: os.environ[name] for name in LIMITS if name in os.environ},
    }


if __name__ == "__main__":
    main(sys.argv[1])
