"""BeLFusion: diffusion in the latent space of a variational autoencoder (Barquero et al. 2023)."""

from react_ros.generators.system import ContractCases, System
from react_ros.systems.belfusion.config import BelfusionConfig

SYSTEM = System(
    "belfusion",
    BelfusionConfig,
    generator="react_ros.systems.belfusion.generator:Belfusion",
    stages=tuple(
        f"react_ros.systems.belfusion.training:{stage}Stage" for stage in ("Autoencoder", "Encoder", "Diffusion")
    ),
    renamed={"protocol": "schedule"},
    contract=ContractCases(parameters=({"schedule": "window", "guidance": 1.0},), fast={"steps": 3}),
)
