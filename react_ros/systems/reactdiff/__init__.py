"""ReactDiff: latent diffusion behind a multi-modality transformer (Li et al.), with listener reaction shifts."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.reactdiff.config import ReactDiffConfig

SYSTEM = System(
    "reactdiff",
    ReactDiffConfig,
    generator="react_ros.systems.reactdiff.generator:ReactDiff",
    stages=tuple(f"react_ros.systems.reactdiff.training:{stage}Stage" for stage in ("Mmt", "Diffusion", "Style")),
    table="react_ros.systems.reactdiff.table:TABLE",
    renamed={"protocol": "schedule"},
    contract=ContractCases(
        parameters=({"schedule": "window", "eta": 0.5, "steps": 5, "style": "lively"},), fast={"steps": 4}, share=1 / 3
    ),
)
