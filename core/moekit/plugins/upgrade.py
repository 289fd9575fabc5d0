"""Records of an earlier version of the plugin contract, as those of today."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from moekit.contract.kits import KitSpec

if TYPE_CHECKING:
    from torch import nn

    from moekit.contract.outputs import HeadSite


def upgraded(record: Any, api: str) -> Any:
    """A record as it is today.

    Args:
        record: What a hook returned.
        api: The version of the contract that its plugin was written for. Until 2.0 `build_head`
            was called with the width and the number of blocks.
    """
    if isinstance(record, KitSpec) and int(api.partition(".")[0]) < 2:
        other = record.negatives_only
        return dataclasses.replace(
            record,
            build_head=_of_site(cast("Callable[[int, int], nn.Module]", record.build_head)),
            negatives_only=None if other is None else upgraded(other, api),
        )
    return record


def _of_site(build: Callable[[int, int], nn.Module]) -> Callable[[HeadSite], nn.Module]:
    def build_head(site: HeadSite) -> nn.Module:
        return build(site.width, site.blocks)

    return build_head
