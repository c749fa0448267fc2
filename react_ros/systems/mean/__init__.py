"""The mean baselines: the mean reaction of all listeners, over time and frame by frame."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.mean.config import MeanConfig

MEAN_FRAME, MEAN_SEQUENCE = (
    System(
        name,
        MeanConfig,
        generator=f"react_ros.systems.mean.generator:{cls}",
        kind="baseline",
        rows=(name,),
        corpus_statistics="statistics",
        contract=ContractCases(expressions_sum_to_1=False),
    )
    for name, cls in (("mean_frame", "MeanFrame"), ("mean_sequence", "MeanSequence"))
)
