"""The data of a run, dealt as they were when it was made."""

from __future__ import annotations

from moekit.contract.kits import KitSpec
from moekit.data.duplicates import duplicates as deciding
from moekit.data.duplicates import settle_duplicates
from moekit.data.near.group import regrouped
from moekit.data.samples import Dataset
from moekit.jobs.session import load_licensed
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import prepared
from moekit.runs.near import read_groups
from moekit.runs.run import Run


def data_of_run(
    registry: Registry,
    spec: KitSpec,
    data: str,
    run: Run,
    *,
    licence: str | None = None,
    duplicates: str | None = None,
) -> Dataset:
    """Loads data for a run.

    Args:
        registry: The installed plugins.
        spec: The kit as the run was made with it.
        data: `LOADER` or `LOADER=PATH`.
        run: The run, which says by which seed they are dealt, and with which groups.
        licence: The user's own words on the licence of the data.
        duplicates: What happens to equal files in two splits; as the run was made if None.

    Raises:
        DataError: The data cannot be used, or not be dealt with the run's groups.
    """
    request = run.read()["request"]
    seed, policy = request["seed"], duplicates or request.get("duplicates")
    with deciding(policy):
        dataset = load_licensed(registry, data, seed=seed, licence=licence)
        dataset = prepared(spec, dataset, seed=seed)
    dataset = settle_duplicates(dataset, policy)
    groups = read_groups(run)
    return regrouped(dataset, groups) if groups else dataset
