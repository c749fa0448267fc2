"""Systems are trained with a feature cache of the tests' own."""

import pytest


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None: ...
