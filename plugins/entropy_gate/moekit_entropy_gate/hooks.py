"""The hooks of the entropy gate."""

from __future__ import annotations

from moekit import GateSpec, hookimpl
from moekit_entropy_gate.gate import EntropyAdaptive


@hookimpl
def moekit_gates() -> list[GateSpec]:
    """The entropy-adaptive gate."""
    return [
        GateSpec(
            name="entropy_adaptive",
            build=EntropyAdaptive,
            summary="one expert for a decided token, up to k for an undecided one",
            source="in the line of Huang et al. 2024, arXiv:2403.07652",
            weights="normalised",
            count="at_most",
        )
    ]
