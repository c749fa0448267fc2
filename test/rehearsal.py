"""The simulated speaker of `react_ros.testing`, under the name that the tests import."""

from react_ros.testing.speaker import SimulatedParts as Speaker
from react_ros.testing.speaker import simulated_speaker

__all__ = ["Speaker", "simulated_speaker"]
