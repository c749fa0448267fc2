"""Contract tests for systems, of this package or of any other: `check_contract(name)`, or pytest.

`pytest --pyargs react_ros.testing` runs every claim of the streaming contract over every installed system; `-k NAME`
chooses a system.
"""

from react_ros.testing.contract import check_contract

__all__ = ["check_contract"]
