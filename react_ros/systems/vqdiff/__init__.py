"""VQ-Diff: diffusion in the latent space of a vector-quantized autoencoder (Nguyen et al. 2024)."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.vqdiff.config import VqDiffConfig

SYSTEM = System(
    "vqdiff",
    VqDiffConfig,
    generator="react_ros.systems.vqdiff.generator:VqDiff",
    stages=tuple(
        f"react_ros.systems.vqdiff.training:{stage}Stage" for stage in ("Autoencoder", "Encoder", "Diffusion")
    ),
    table="react_ros.systems.vqdiff.table:TABLE",
    renamed={"protocol": "schedule"},
    contract=ContractCases(parameters=({"schedule": "window", "codebook": False},), fast={"steps": 3}),
)
