"""The mean baseline's parameters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeanConfig:
    """Raises ValueError for a path that is not a text."""

    statistics: str = ""
    """Path of a safetensors file with its YAML card; empty: the packaged one."""

    def __post_init__(self) -> None:
        if not isinstance(self.statistics, str):
            raise ValueError(f"statistics is {self.statistics!r}: it must be the path of a .safetensors file, as text")
