"""FSQ tokens and the cross-modality transformer (Dam et al. 2024): the default generator."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.fsq.config import FsqConfig

SYSTEM = System(
    "fsq",
    FsqConfig,
    generator="react_ros.systems.fsq.generator:Fsq",
    stages=tuple(f"react_ros.systems.fsq.training:{stage}Stage" for stage in ("Tokenizer", "Encoder", "Predictor")),
    contract=ContractCases(parameters=({"forgetting": 0.0, "guidance": 1.0},)),
)
