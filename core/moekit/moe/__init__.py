"""The MoE layer: router, gates, experts, dispatch, specialists, statistics."""
