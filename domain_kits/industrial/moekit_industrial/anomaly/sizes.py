"""Modules whose buffers are as long as what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class SizedByState(nn.Module):
    """A module whose buffers take the length that they have in a state that is loaded.

    All other sides must agree, as of any module.
    """

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            given = state_dict.get(prefix + name)
            if isinstance(given, Tensor) and given.shape[1:] == buffer.shape[1:]:
                setattr(self, name, buffer.new_zeros(given.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **options)
