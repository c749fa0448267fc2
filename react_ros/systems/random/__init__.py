"""The random baseline: uniform noise."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.random.config import RandomConfig

SYSTEM = System(
    "random",
    RandomConfig,
    generator="react_ros.systems.random.generator:Random",
    kind="baseline",
    contract=ContractCases(expressions_sum_to_1=False),
)
