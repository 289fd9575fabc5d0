"""The industrial kit keeps the contract of plugins."""

import pytest

from moekit.testing import NotApplicable, parametrize_with_checks


@parametrize_with_checks("moekit-industrial")
def test_the_kit_keeps_the_contract(check):
    try:
        check.run()
    except NotApplicable as error:
        pytest.skip(str(error))
