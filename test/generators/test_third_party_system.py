"""A system of another package: listed, trained, evaluated, launched and tested as those of this package are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny_package
from tiny_corpus import write_react2024

from react_ros.face import Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, GeneratorInfo, Stream
from react_ros.generators.system import System
from react_ros.testing import check_contract

SETTINGS = {"scheme": "arkit52", "simulated": True, "role_swap": False, "notice": "Made for a test."}
MODALITIES = ("attributes", "face_model")


@dataclass
class Installed:
    """A folder on the path with the tiny package, beside this source tree."""

    site: Path
    work: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = tiny_package.environment(self.site, self.work / "cache")
        return subprocess.run(
            [sys.executable, *command], env=environment, cwd=self.work, capture_output=True, text=True, timeout=300
        )

    def react_ros(self, *arguments: str) -> str:
        """The output of a `react-ros` command that succeeds."""
        done = self.run("-m", "react_ros", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The tiny package, installed; trained, with its weights in its own folder, as it would ship them."""
    work = tmp_path_factory.mktemp("third_party")
    installed = Installed(work / "site", work)
    package = tiny_package.install(installed.site)
    for split, sessions in (("train", 4), ("val", 2)):
        write_react2024(
            work / "corpus", sessions=sessions, splits=(split,), frames=61, modalities=MODALITIES, arkit=True,
            seed=sessions, settings=SETTINGS,
        )  # fmt: skip
    out = installed.react_ros("train", "tiny", "--corpus", "corpus", "--device", "cpu", "--jobs", "1")
    assert "runs/tiny/tiny.safetensors" in out
    (package / "models").mkdir()
    for suffix in (".safetensors", ".yaml"):
        shutil.copy(work / "runs" / "tiny" / f"tiny{suffix}", package / "models")
    return installed


def listed(text: str, name: str) -> str:
    """The part of the output of `react-ros generators` that is about one system."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"{name} "))
    return " ".join(" ".join(lines[first : first + 4]).split())


@pytest.mark.slow
def test_it_is_listed_and_launched_and_its_weights_are_found_in_its_own_folder(trained: Installed) -> None:
    assert "mirrors smiles" in listed(trained.react_ros("generators"), "tiny")
    code = (
        "import sys; from react_ros import bringup\n"
        "made = {p.executable: p.parameters for p in bringup.processes({'generator': 'tiny'})}\n"
        "assert made['listener']['generator'] == 'tiny' and 'torch' not in sys.modules\n"
        "from react_ros.generators import registry\n"
        "generator = registry.create('tiny')\n"
        "assert len(generator.info.weights) == 64 and 0.0 < generator._level < 1.0, generator._level"
    )
    done = trained.run("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_it_is_evaluated_with_its_own_table(trained: Installed) -> None:
    write_react2024(
        trained.work / "test_corpus", sessions=4, frames=101, modalities=MODALITIES, arkit=True, settings=SETTINGS
    )
    common = ("--corpus", "test_corpus", "--frames", "100", "--samples", "2", "--jobs", "1")
    assert "tiny" in trained.react_ros("evaluate", "tiny", *common, "--out", "results")
    trained.react_ros("evaluate", "--table", "tiny", *common, "--out", "table")
    table = (trained.work / "table" / "table.md").read_text()
    assert "`tiny`" in table and "Tiny" in table and "0.12" in table


@pytest.mark.slow
def test_it_passes_the_contract_tests_of_the_installed_package(trained: Installed) -> None:
    # The configuration of this tree's pytest does not hold there: the tests must bring all they need.
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow", "--strict-markers")
    done = trained.run("-m", "pytest", "--pyargs", "react_ros.testing", "-k", "tiny", *options)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "failed" not in done.stdout and int(done.stdout.split(" passed")[0].split()[-1]) >= 20


def test_systems_that_cannot_be_used_are_listed_with_the_reason_and_break_nothing(tmp_path: Path) -> None:
    installed = Installed(tmp_path / "site", tmp_path)
    tiny_package.install(installed.site)
    tiny_package.declare(installed.site, "broken-listener", {"broken": "module_that_is_not_there:SYSTEM"})
    tiny_package.declare(installed.site, "odd-listener", {"odd": "json:dumps"})
    tiny_package.declare(installed.site, "claims-mime", {"mime": "tiny_listener_package:SYSTEM"})
    text = installed.react_ros("generators")
    assert "cannot be imported: No module named 'module_that_is_not_there'" in listed(text, "broken")
    assert "json:dumps must be a System of that name" in listed(text, "odd")
    assert "'mime' is declared twice: by claims-mime" in listed(text, "mime")
    assert "Not available: no weights 'tiny' for tiny" in listed(text, "tiny")
    assert "baseline: uniform noise" in listed(text, "random")
    code = (
        "from react_ros.generators import registry\n"
        "for name in ('broken', 'odd', 'mime'):\n"
        "    try: registry.create(name)\n"
        "    except ValueError as error: print(error)"
    )
    sentences = installed.run("-c", code).stdout.splitlines()
    assert len(sentences) == 3
    assert sentences[0].startswith("generator 'broken' of broken-listener cannot be imported: ")
    assert sentences[1].startswith("generator 'odd': json:dumps must be a System of that name, not <function dumps")
    assert (
        sentences[2].endswith("; uninstall one of them") and "react_ros (react_ros.systems.mime:SYSTEM)" in sentences[2]
    )


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.argv = ['react-ros', '--help']\nfrom react_ros.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass",
        "from react_ros.generators import registry; registry.names()",
        "from react_ros.generators import registry; [s.parameters for s in registry.systems()]",
        "from react_ros import bringup; bringup.processes({'generator': 'reactdiff'})",
    ],
    ids=["react-ros --help", "names", "declarations", "bringup"],
)
def test_pytorch_is_not_imported_before_a_learned_system_is_used(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nassert 'torch' not in sys.modules"],
        cwd=tiny_package.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# One imported function -----------------------------------------------------------------------------------------------


class BrokenStream(Stream):
    """Reactions out of bounds."""

    def __init__(self, samples: int, seed: int) -> None:
        if samples < 1 or seed < 0:
            raise ValueError(f"samples is {samples}, seed is {seed}")
        self.samples, self.seed = samples, seed

    def step(self, frame: SpeakerFrame) -> Reaction:
        shape = np.full((self.samples, 52), 2.0, np.float32)
        pose, attributes = np.zeros((self.samples, 3), np.float32), np.zeros((self.samples, 25), np.float32)
        return Reaction(frame.index, frame.stamp_ns, shape, pose, pose.copy(), attributes, False)


@dataclass(frozen=True)
class NoParameters:
    pass


class Broken(Generator):
    Config = NoParameters
    info = GeneratorInfo("broken", "for a test", ())

    def __init__(self, config: NoParameters | None = None) -> None:
        self.config = config or NoParameters()

    def start(self, *, samples: int = 1, seed: int = 0) -> BrokenStream:
        return BrokenStream(samples, seed)


@pytest.fixture
def broken() -> Iterator[str]:
    registry.register(System("broken", NoParameters, generator=f"{__name__}:Broken", kind="rule"))
    yield "broken"
    registry.unregister("broken")


def test_check_contract_names_the_claim_that_a_system_breaks(broken: str) -> None:
    with pytest.raises(
        AssertionError,
        match="broken breaks the contract: values have their types shapes and ranges: blendshapes must be from 0 to 1",
    ):
        check_contract(broken)
    with pytest.raises(AssertionError, match="the declaration can be imported: unknown generator 'nobody'"):
        check_contract("nobody")


@pytest.mark.slow
def test_check_contract_accepts_a_system_that_keeps_it() -> None:
    check_contract("mime", slow=False)
