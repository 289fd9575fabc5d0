"""The conformance checks as pytest parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from moekit.errors import UsageError
from moekit.plugins.discovery import Plugin
from moekit.testing.check import Check
from moekit.testing.report import check_expectations
from moekit.testing.subject import find_plugin
from moekit.testing.suite import checks_of, expected_number
from moekit.testing.verdicts import NotApplicable

if TYPE_CHECKING:
    import pytest


class _Skipping(Check):
    """A check that pytest skips if it has nothing to ask."""

    def run(self) -> None:
        import pytest

        try:
            super().run()
        except NotApplicable as reason:
            pytest.skip(str(reason))


def parametrize_with_checks(
    plugin: str | Plugin, *, expected_failures: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """Parametrises a test with all checks of a plugin.

    Example:
        A test module of a plugin's own:

        ```python
        from moekit.testing import parametrize_with_checks

        @parametrize_with_checks("my-plugin")
        def test_the_plugin_keeps_the_contract(check):
            check.run()
        ```

    Args:
        plugin: An installed plugin, or its distribution or short name.
        expected_failures: Ids of checks that are known to fail, each with the reason; one that
            passes all the same fails the test.

    Raises:
        UsageError: No such plugin or check, or fewer checks than the manifest calls for.
    """
    import pytest

    found = find_plugin(plugin) if isinstance(plugin, str) else plugin
    checks = list(checks_of(found))
    if len(checks) != expected_number(found):
        raise UsageError(
            f"{len(checks)} checks were found, {expected_number(found)} are expected",
            whose=found.distribution,
            fix="reinstall moekit",
            code="usage/missing-checks",
        )
    excused = check_expectations(checks, expected_failures)
    parameters = []
    for one in checks:
        marks = (
            [pytest.mark.xfail(reason=excused[one.id], strict=True)] if one.id in excused else []
        )
        parameters.append(pytest.param(_Skipping(**vars(one)), id=one.id, marks=marks))
    return pytest.mark.parametrize("check", parameters)
