"""The plugin keeps the contract."""

from moekit.testing import parametrize_with_checks


@parametrize_with_checks("moekit-finegrained")
def test_the_plugin_keeps_the_contract(check):
    check.run()
