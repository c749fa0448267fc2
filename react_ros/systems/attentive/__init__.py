"""The attentive listener: rules from published figures of human timing."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.attentive.config import AttentiveConfig

SYSTEM = System(
    "attentive",
    AttentiveConfig,
    generator="react_ros.systems.attentive.generator:Attentive",
    kind="rule",
    contract=ContractCases(parameters=({"expressiveness": 0.5, "mimicry_delay_ms": 600},)),
)
