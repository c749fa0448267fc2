"""The declaration of a system: everything that the rest of the package needs to know of one paper or one rule.

A system is one folder with one `SYSTEM`, named in the entry-point group `react_ros.systems` of whatever package it is
in. Registry, trainer, evaluation rows, paper tables and contract tests read the declaration; there is no other list.
Declarations import neither PyTorch nor their own networks: what is heavy is named as "module:object" and imported when
it is first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

Kind = Literal["baseline", "rule", "learned"]
KINDS: tuple[Kind, ...] = ("baseline", "rule", "learned")
"""In the order in which evaluations list them."""

SHUFFLED = "shuffled_speaker"
"""The variant of an evaluation row in which the generator hears another clip's speaker."""

Protocol = Literal["offline", "online"]
"""The challenge's protocols: offline, the whole clip is known before the first reaction; online, only the past is."""


@dataclass(frozen=True, slots=True)
class ContractCases:
    """How `react_ros.testing` runs the contract tests of a system."""

    parameters: tuple[Mapping[str, Any], ...] = ()
    """Sets of parameters, beside the defaults, with which the contract must hold too."""
    fast: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that make steps cheap and change nothing of the contract, e.g. fewer denoising steps."""
    share: float = 1.0
    """Share of the usual number of frames that suffices, for systems whose steps are slow."""
    expressions_sum_to_1: bool = True
    """Whether the 8 expression probabilities are a distribution (those of noise and of copied faces are not)."""


@dataclass(frozen=True, slots=True)
class System:
    """One system. Raises ValueError for an impossible declaration."""

    name: str
    """As people type it; the same as the entry point's."""
    Config: type[Any]
    """Frozen dataclass of the generator's parameters; refuses impossible values with one sentence (ValueError)."""
    generator: str
    """The `Generator` subclass, as "module:Class"."""
    kind: Kind = "learned"
    stages: tuple[str, ...] = ()
    """The training stages in order, each a `TrainingStage` subclass as "module:Class"; empty: it is not trained."""
    table: str = ""
    """The paper's table, a `PaperTable` as "module:OBJECT"; empty: none."""
    rows: tuple[str, ...] | None = None
    """The rows that `react-ros evaluate` runs by default; None: the system, and the system with shuffled speakers."""
    corpus_statistics: str = ""
    """The parameter that takes statistics of a corpus' training listeners (a file); empty: it needs none."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Parameters that had another name, old to new: configuration files and bags may have the old one."""
    contract: ContractCases = ContractCases()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"system {self.name}: kind is {self.kind!r}: it must be {', '.join(KINDS)}")
        for where in (self.generator, *self.stages, *filter(None, [self.table])):
            if where.count(":") != 1:
                raise ValueError(f"system {self.name}: {where!r} must be written module:object")

    @property
    def parameters(self) -> dict[str, Any]:
        """The generator's parameters with their defaults."""
        return {f.name: f.default for f in fields(self.Config)}

    @property
    def evaluation_rows(self) -> tuple[str, ...]:
        """The rows that an evaluation without named rows runs."""
        return (self.name, f"{self.name}:{SHUFFLED}") if self.rows is None else self.rows

    def load_generator(self) -> Any:
        """The `Generator` subclass."""
        return load(self.generator)

    def load_stages(self) -> list[Any]:
        """The `TrainingStage` subclasses, in order."""
        return [load(stage) for stage in self.stages]

    def load_table(self) -> Any:
        """The paper's table. Raises ValueError where there is none."""
        if not self.table:
            raise ValueError(f"{self.name} has no paper's table")
        return load(self.table)

    def training_configs(self) -> dict[str, Path]:
        """The training configurations in the system's folder, by name: configs/NAME.yaml; the system's own first."""
        folder = files(self.generator.split(":")[0].rpartition(".")[0] or self.generator.split(":")[0]) / "configs"
        if not folder.is_dir():
            return {}
        found = {}
        for file in folder.iterdir():
            if file.name.endswith(".yaml"):
                with as_file(file) as path:
                    found[file.name.removesuffix(".yaml")] = path
        return dict(sorted(found.items(), key=lambda named: (named[0] != self.name, named[0])))


def load(where: str) -> Any:
    """The object that "module:object" names."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


# The tables of papers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One row of a paper's table; None where the paper prints nothing."""

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
    """Rows written as "name | FRCorr | FRDist | FRDiv | FRVar | FRDvs | FRRea | FRSyn", a line each; - is None."""
    rows = []
    for line in text.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        a, b, c, d, e, f, g = (None if cell == "-" else float(cell) for cell in cells)
        rows.append(PublishedRow(name, protocol, a, b, c, d, e, f, g))  # type: ignore[arg-type]
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Direction:
    """A paper's finding: a metric of one system is higher than that of another."""

    metric: str
    higher: str
    """A `PublishedRow.system`, as is `lower`."""
    lower: str


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One paper's table: which row of ours stands for which printed one, and what the paper concludes."""

    rows: Mapping[str, str]
    """The row that is run here (see `parse_row`), by the name of the printed one."""
    directions: tuple[Direction, ...] = ()
    """Each of them true of the printed rows of the protocol `printed_for`."""
    printed_for: Protocol = "online"
    more: tuple[str, ...] = ()
    """Rows that no paper has, for comparison."""
    published: tuple[PublishedRow, ...] = ()
    """The rows that the paper prints."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Weights that this package does not ship, by name, with the command that trains them."""

    @property
    def row_texts(self) -> Sequence[str]:
        """All rows to run, in order."""
        return (*self.rows.values(), *self.more)
