"""What an evaluation computes: its options, its rows, its blocks of clips and its shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from react_ros.config import did_you_mean
from react_ros.corpus.clips import SPLITS, Split
from react_ros.generators import registry
from react_ros.generators.system import SHUFFLED, Protocol
from react_ros.io import sha256

VERSION = 2
"""Version of the stored blocks; blocks of different versions are never mixed."""

GROUND_TRUTH = "ground_truth"
ANOTHER_LISTENER = "another_listener"
PREDICTIONS = "predictions"


def default_rows() -> tuple[str, ...]:
    """The rows that are run when none are named: both ceilings, then the rows of every installed system."""
    return (GROUND_TRUTH, ANOTHER_LISTENER, *(row for s in registry.systems() for row in s.evaluation_rows))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the source of the scored reactions."""

    name: str
    """A generator's name, "ground_truth", "another_listener" or "predictions"."""
    parameters: tuple[tuple[str, Any], ...] = ()
    """The generator's parameters that differ from its defaults, by name."""
    shuffled: bool = False
    """Whether the generator hears another clip's speaker: its score without listening."""
    file: str = ""
    """The npy file of "predictions"; empty for other rows."""

    @property
    def generator(self) -> bool:
        """Whether the reactions come from a generator."""
        return self.name in registry.names()

    @property
    def label(self) -> str:
        """Its name in tables; `parse_row(label)` returns the same row."""
        if self.file:
            return f"{PREDICTIONS}={self.file}"
        parameters = "".join(f",{k}={json.dumps(v)}" for k, v in self.parameters)
        return f"{self.name}{parameters}{f':{SHUFFLED}' if self.shuffled else ''}"

    @property
    def key(self) -> str:
        """Name of the row's folder: the row's name and a digest of its label."""
        return f"{self.name}-{sha256(self.label)[:10]}"


def parse_row(text: str, more: Sequence[str] = ()) -> Row:
    """Parse a row: NAME[,parameter=value…][:shuffled_speaker], or predictions=FILE.

    A generator is created once, so that wrong parameters and missing weights are found here. Raises ValueError, in one
    sentence, for anything else, unknown generators and parameters included. more: further rows that exist here, for the
    sentence.
    """
    if text.startswith(f"{PREDICTIONS}="):
        file = text.split("=", 1)[1]
        if not file:
            raise ValueError(f"row {text!r}: name the file, {PREDICTIONS}=FILE.npy")
        return Row(PREDICTIONS, file=file)
    head, colon, variant = text.partition(f":{SHUFFLED}")
    if variant or (":" in head and not colon):
        raise ValueError(f"row {text!r}: after a colon only {SHUFFLED} is known")
    name, _, pairs = head.partition(",")
    if name in (GROUND_TRUTH, ANOTHER_LISTENER):
        if colon or pairs:
            raise ValueError(f"row {text!r}: {name} has neither parameters nor a variant")
        return Row(name)
    try:
        name, parameters = registry.parse_choice(head)
    except ValueError as error:
        raise ValueError(f"row {error}") from None
    if name not in registry.names():
        known = (*more, GROUND_TRUTH, ANOTHER_LISTENER, *registry.names())
        raise ValueError(
            f"there is no row {name!r}{did_you_mean(name, known)}: there are {', '.join(known)}, "
            f"and {PREDICTIONS}=FILE.npy"
        )
    parameters = registry.current_names(name, parameters)
    registry.create(name, **parameters)
    return Row(name, tuple(sorted(parameters.items())), bool(colon))


@dataclass(frozen=True, slots=True)
class Plan:
    """The options that the figures depend on. Raises ValueError, in one sentence, for an impossible value."""

    corpus: Path
    split: Split = "test"
    protocol: Protocol = "online"
    samples: int = 10
    seed: int = 0
    frames: int = 750
    binarize: bool = False
    """Whether action units are rounded to 0 or 1 before all metrics."""
    limit: int = 0
    """Number of clips to evaluate, the first ones of the split; 0 for all."""
    role_swap: bool | None = None
    """Whether every dyad is also evaluated with roles swapped; None: as the corpus does."""
    inception: str = ""
    """TorchScript file of Inception v3, for FRRea's FID; empty: not measured."""
    i3d: str = ""
    """TorchScript file of I3D, for FRRea's FVD; empty: not measured."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(
                f"split is {self.split!r}{did_you_mean(self.split, SPLITS)}: there are {', '.join(SPLITS)}"
            )
        if self.protocol not in ("online", "offline"):
            raise ValueError(f"protocol is {self.protocol!r}: it must be online or offline")
        for name, low, high in (("samples", 1, 1000), ("seed", 0, 2**31), ("frames", 2, 100_000), ("limit", 0, 10**7)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}: it must be from {low} to {high}")

    @property
    def pictures(self) -> bool:
        """Whether rendered pictures are scored."""
        return bool(self.inception or self.i3d)

    def to_dict(self) -> dict[str, Any]:
        """All options in plain types, with the version."""
        return {**asdict(self), "corpus": str(self.corpus), "version": VERSION}


def block_size(clips: int) -> int:
    """Clips per block, 4 to 32: small blocks lose little work when interrupted, large ones store fewer sums.

    A function of the number of clips alone, so that all shards cut the same blocks.
    """
    return max(4, min(32, -(-clips // 64)))


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`: the blocks whose number is `index - 1` modulo `count`."""

    index: int = 1
    """From 1."""
    count: int = 1

    def has(self, block: int) -> bool:
        """Whether the block belongs to this shard."""
        return block % self.count == self.index - 1


def parse_shard(text: str) -> Shard:
    """Parse a shard written i/n, 1 <= i <= n. Raises ValueError otherwise."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise ValueError(f"shard is {text!r}: it must be i/n with i from 1 to n, e.g. 2/4")
    return Shard(int(i), int(n))
