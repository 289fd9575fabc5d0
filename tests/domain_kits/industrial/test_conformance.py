"""The industrial kit keeps the contract of plugins."""

from moekit.testing import parametrize_with_checks


@parametrize_with_checks("moekit-industrial")
def test_the_kit_keeps_the_contract(check):
    check.run()
