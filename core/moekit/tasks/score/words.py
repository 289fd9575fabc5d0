"""What result.json says of the data and of the words for what is found, whoever scored them."""

from __future__ import annotations

from typing import Any

from moekit.contract.kits import KitSpec
from moekit.data.samples import Dataset


def words_of(kit: KitSpec, dataset: Dataset) -> dict[str, Any]:
    """`positive` and `outcome_names`: the kit's words, or the data set's own where it has one."""
    positive = dataset.positive
    return {
        "positive": positive or kit.positive,
        "outcome_names": (
            {"missed": f"missed {positive}", "false_alarm": f"false {positive}"}
            if positive
            else dict(kit.outcome_names)
        ),
    }


def data_facts(dataset: Dataset) -> dict[str, str]:
    """Where the data come from, their terms, and what they can show."""
    return {
        "source": dataset.source,
        "licence": dataset.licence,
        "caution": dataset.caution,
    }
