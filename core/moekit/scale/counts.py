"""Parameters, operations and activations of a tier, by formula; tests hold each to a real model.

Shapes: D width, E experts, H hidden neurons of an expert, K chosen, N tokens of an image.
"""

from __future__ import annotations

import dataclasses

from moekit.scale.tier import Tier


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameters:
    """Numbers of parameters, by how they are spread over processes.

    Attributes:
        experts: Those of all experts, which the expert axis spreads.
        shared_biases: Output biases of the banks, replicated along the expert axis.
        rest: Attention, norms, scales, routers, stem; sharded over all processes.
        one_expert: Of a single expert.
        unused: Of the experts that a token does not have.
    """

    experts: int
    shared_biases: int
    rest: int
    one_expert: int
    unused: int

    @property
    def total(self) -> int:
        """All parameters."""
        return self.experts + self.shared_biases + self.rest

    @property
    def active(self) -> int:
        """Parameters that take part in the computation of one token."""
        return self.total - self.unused


def count_parameters(tier: Tier) -> Parameters:
    """The parameters of the model that `tier.build` makes."""
    one_expert = 2 * tier.hidden * tier.width + tier.hidden
    return Parameters(
        experts=tier.blocks * tier.experts * one_expert,
        shared_biases=tier.blocks * tier.width,
        rest=tier.blocks * block_rest(tier) + stem(tier),
        one_expert=one_expert,
        unused=tier.blocks * (tier.experts - tier.top_k) * one_expert,
    )


def block_rest(tier: Tier) -> int:
    """Parameters of one block but its bank: attention 4 D^2 + 4 D, norms, scales, router E D."""
    width = tier.width
    return 4 * width**2 + 4 * width + 4 * width + 2 * width + tier.experts * width


def stem(tier: Tier) -> int:
    """Parameters outside the blocks: patches, class token, positions, last norm."""
    width = tier.width
    return 3 * tier.patch**2 * width + width + width + tier.tokens() * width + 2 * width


def forward_flops(tier: Tier, image_size: int) -> int:
    """Floating-point operations of one image's forward pass, a multiply-add as two.

    Matrix products only, as `torch.utils.flop_counter` counts: the patches 2 * 3 p^2 D (N - 1); in
    each block 8 N D^2 for attention's layers, 4 N^2 D for attention itself, 2 N D E for the router
    and 4 N K D H for the experts.
    """
    tokens, width = tier.tokens(image_size), tier.width
    patches = 2 * 3 * tier.patch**2 * width * (tokens - 1)
    block = (
        8 * tokens * width**2
        + 4 * tokens**2 * width
        + 2 * tokens * width * tier.experts
        + 4 * tokens * tier.top_k * width * tier.hidden
    )
    return patches + tier.blocks * block


def block_activations(tier: Tier) -> int:
    """Values that one block keeps for its backward pass, a token.

    10 D outside the experts: the inputs of both norms and their outputs, queries, keys and values,
    attention's output, and the inputs of both scales. K (3 D + 2 H) for the experts: the tokens
    sent, the hidden layer before and after its activation, the outputs before and after their
    weights. Attention must be fused, or its scores come on top. Indices and norms' statistics, a
    few percent, are left out.
    """
    return 10 * tier.width + tier.top_k * (3 * tier.width + 2 * tier.hidden)
