"""The streaming contract over every installed system: the tests that `react_ros.testing` brings for any package."""

from react_ros.testing.test_streaming_contract import group_of, test_streaming_contract

__all__ = ["group_of", "test_streaming_contract"]
