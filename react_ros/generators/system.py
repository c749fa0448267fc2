"""The declaration of a system (one paper, or one rule): all that the rest of the package needs to know of it.

A system is one folder with one `SYSTEM`, which its package names in the entry-point group `react_ros.systems`.
Registry, trainer, evaluation rows, paper tables and contract tests read the declaration; there is no other list.
A declaration imports neither PyTorch nor its own networks: generator, training stages and table are named as
"module:object" and imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

Kind = Literal["baseline", "rule", "learned"]
KINDS: tuple[Kind, ...] = ("baseline", "rule", "learned")
"""In the order of evaluation tables."""

COMMON_PARAMETERS = frozenset({"liveliness"})
"""Parameters that every system has beside its own (see `generators/liveliness.py`)."""

SHUFFLED = "shuffled_speaker"
"""Suffix of an evaluation row in which the generator gets the speaker of another clip."""

Protocol = Literal["offline", "online"]
"""The challenge's protocols: offline, the whole clip is known before the first reaction; online, only the past is."""


@dataclass(frozen=True, slots=True)
class ContractCases:
    """What the contract tests (`react_ros.testing`) need to know of a system."""

    parameters: tuple[Mapping[str, Any], ...] = ()
    """Sets of parameters, beside the defaults, for which numbers, ranges and causality are tested too."""
    fast: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that make steps cheaper, e.g. fewer denoising steps, for the tests of invalid and missing input."""
    share: float = 1.0
    """Share of the usual number of frames that is tested, above 0 to 1; below 1 for systems with slow steps."""
    expressions_sum_to_1: bool = True
    """Whether the 8 expression probabilities are a distribution; those of noise and of copied faces are not."""

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share is {self.share!r}: it must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class System:
    """The declaration of one system. Raises ValueError, in one sentence, for an impossible one."""

    name: str
    """As users type it; equal to the name of the entry point."""
    Config: type[Any]
    """Frozen dataclass of the generator's parameters; raises ValueError, in one sentence, for an impossible value."""
    generator: str
    """The `Generator` subclass, as "module:Class"."""
    kind: Kind = "learned"
    stages: tuple[str, ...] = ()
    """The training stages in order, each a `TrainingStage` subclass as "module:Class"; empty: not trainable."""
    table: str = ""
    """The table of its paper, a `PaperTable` as "module:OBJECT"; empty: none."""
    rows: tuple[str, ...] | None = None
    """The rows of `react-ros evaluate` without named rows; None: the system, and the same with shuffled speakers."""
    corpus_statistics: str = ""
    """The parameter for a file of statistics of a corpus' training listeners; empty: the system needs none."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Parameters with a former name, old to new: configuration files and bags may have the old one."""
    contract: ContractCases = ContractCases()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"system {self.name}: kind is {self.kind!r}: it must be {', '.join(KINDS)}")
        if not isinstance(self.Config, type) or not is_dataclass(self.Config):
            raise ValueError(f"system {self.name}: Config is {self.Config!r}: it must be a dataclass")
        if taken := sorted(COMMON_PARAMETERS & {f.name for f in fields(self.Config)}):
            raise ValueError(f"system {self.name}: every system has the parameter {taken[0]!r}: Config must not")
        for name in (self.generator, *self.stages, *filter(None, [self.table])):
            if name.count(":") != 1:
                raise ValueError(f"system {self.name}: {name!r} must be written module:object")

    @property
    def parameters(self) -> dict[str, Any]:
        """The generator's parameters with their defaults."""
        config = self.Config()
        return {f.name: getattr(config, f.name) for f in fields(self.Config)}

    @property
    def evaluation_rows(self) -> tuple[str, ...]:
        """The rows that an evaluation without named rows has."""
        return (self.name, f"{self.name}:{SHUFFLED}") if self.rows is None else self.rows

    def load_generator(self) -> Any:
        """The `Generator` subclass. Raises ValueError, in one sentence, where it cannot be imported."""
        return load(self.generator)

    def load_stages(self) -> list[Any]:
        """The `TrainingStage` subclasses, in order. Raises ValueError where one cannot be imported."""
        return [load(stage) for stage in self.stages]

    def load_table(self) -> Any:
        """The table of its paper. Raises ValueError where there is none."""
        if not self.table:
            raise ValueError(f"{self.name} has no table of a paper")
        return load(self.table)

    def training_configs(self) -> dict[str, Path]:
        """The training configurations, configs/NAME.yaml in the generator's package, by name; the own name first."""
        package = self.generator.partition(":")[0].rpartition(".")[0]
        if not package:  # a module of its own, in no folder
            return {}
        folder = files(package) / "configs"
        if not folder.is_dir():
            return {}
        found = {}
        for file in folder.iterdir():
            if file.name.endswith(".yaml"):
                with as_file(file) as path:
                    found[file.name.removesuffix(".yaml")] = path
        return dict(sorted(found.items(), key=lambda named: (named[0] != self.name, named[0])))


def load(name: str) -> Any:
    """The object that "module:object" names. Raises ValueError, in one sentence, where it cannot be imported."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # another package's module may raise anything
        raise ValueError(
            f"{name} cannot be imported: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


# The tables of papers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One printed row of a paper's table; None where nothing is printed."""

    system: str
    protocol: Protocol
    frcorr: float
    frdist: float
    frdiv: float
    frvar: float
    frdvs: float
    frrea: float | None
    frsyn: float


def published_rows(protocol: Protocol, text: str) -> tuple[PublishedRow, ...]:
    """Parse rows, one a line: "name | FRCorr | FRDist | FRDiv | FRVar | FRDvs | FRRea | FRSyn"; - is None."""
    rows = []
    for line in text.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        values = [None if cell == "-" else float(cell) for cell in cells]
        rows.append(PublishedRow(name, protocol, *values))  # type: ignore[arg-type]
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Direction:
    """A finding of a paper: a metric is higher for one system than for another."""

    metric: str
    higher: str
    """A `PublishedRow.system`, as is `lower`."""
    lower: str


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The table of a paper: the rows of ours that correspond to the printed ones, and the paper's findings."""

    rows: Mapping[str, str]
    """For each printed row, by its name, the row to run (see `parse_row`)."""
    directions: tuple[Direction, ...] = ()
    """Findings; each holds in the printed rows of the protocol `printed_for`."""
    printed_for: Protocol = "online"
    more: tuple[str, ...] = ()
    """Further rows to run, for comparison."""
    published: tuple[PublishedRow, ...] = ()
    """The printed rows."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Weights of these rows that are not shipped, by name, with the command that trains them."""

    @property
    def row_texts(self) -> Sequence[str]:
        """All rows to run, in order."""
        return (*self.rows.values(), *self.more)
