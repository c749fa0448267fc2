"""The base class of chunked generators: a window of the speaker in, an action chunk of reactions out.

A system supplies `load`: its networks as a `ChunkModel`, and its live schedule. The base class supplies streaming, the
batch path, the offline protocol, late chunks and idle blending.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from react_ros.config import expect_device, expect_flags, expect_weights_name, in_range, whole_in_range
from react_ros.face import Reaction, SpeakerFrame
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.contract import Generator

if TYPE_CHECKING:
    from react_ros.generators.action_chunks import ChunkedStream
    from react_ros.generators.chunk_model import ChunkModel

SCHEDULES = ("live", "window")
TRANSITIONS = ("crossfade", "inertial")
WHOLE_PERSON = ("blendshapes", "rotation", "translation", "attributes", "sound")
"""The inputs of weights that are told the rows `PERSON`, as `GeneratorInfo.inputs`."""


@dataclass(frozen=True, slots=True)
class ChunkSampling:
    """How weights are to be sampled, stored with them. Raises ValueError for a value out of range."""

    temperature: float = 1.0
    """Scale of the noise that a chunk is sampled from."""
    guidance: float = 1.0
    """Classifier-free guidance (Ho and Salimans 2022): weight of the speaker, 1 as in training; exaggerates above 1."""
    eta: float = 0.0
    """Share of noise that is renewed in each step (DDIM, Song et al. 2021): 0 none, 1 as in DDPM."""
    steps: int = 0
    """Denoising steps of a chunk; 0: the number of noise levels."""
    transitions: Literal["crossfade", "inertial"] = "crossfade"
    """How head, eyelids and gaze pass from one chunk to the next; the rest of the face is always crossfaded. inertial:
    a movement that has begun is finished, and the next chunk's movement is taken over whole (`ChunkPlayer`), because
    the mean of two nods at different moments is no nod. For weights whose chunks hold such movements."""

    def __post_init__(self) -> None:
        in_range("temperature", self.temperature, 0.0, 10.0)
        in_range("guidance", self.guidance, 0.0, 10.0)
        in_range("eta", self.eta, 0.0, 1.0)
        whole_in_range("steps", self.steps, 0, 1000)
        if self.transitions not in TRANSITIONS:
            raise ValueError(f"transitions is {self.transitions!r}: it must be {' or '.join(TRANSITIONS)}")


@dataclass(frozen=True, slots=True)
class ChunkedConfig:
    """The parameters of a chunked diffusion listener. Raises ValueError for a value out of range."""

    weights: str
    """Name in models/, or a path."""
    schedule: Literal["live", "window"] = "live"
    """live: a chunk every few frames, crossfaded into the former; window: as in the papers, one chunk after another."""
    temperature: float = 1.0
    """Scale of the noise that a chunk is sampled from, relative to the weights' own: below 1, listeners are more
    alike."""
    steps: int | None = None
    """Denoising steps of a chunk; None or 0: the weights' value."""
    eta: float | None = None
    """Share of noise that is renewed in each step (DDIM, Song et al. 2021): 0 none, 1 as in DDPM; None: the weights'
    value."""
    guidance: float | None = None
    """Classifier-free guidance (Ho and Salimans 2022): weight of the speaker, 1 as in training; exaggerates above 1.
    None: the weights' value."""
    transitions: Literal["", "crossfade", "inertial"] = ""
    """How head, eyelids and gaze pass from one chunk to the next, see `ChunkSampling`; empty: the weights' value."""
    binarize: bool = False
    """Whether action units are occurrences, 0 or 1: the papers' "+ Binarized AUs"."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        expect_weights_name(self.weights)
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}: it must be {' or '.join(SCHEDULES)}")
        in_range("temperature", self.temperature, 0.0, 10.0)
        if self.steps is not None:
            whole_in_range("steps", self.steps, 0, 1000)
        if self.eta is not None:
            in_range("eta", self.eta, 0.0, 1.0)
        if self.guidance is not None:
            in_range("guidance", self.guidance, 0.0, 10.0)
        if self.transitions not in ("", *TRANSITIONS):
            raise ValueError(
                f"transitions is {self.transitions!r}: it must be {' or '.join(TRANSITIONS)}, or empty for the weights'"
            )
        expect_flags(self, "binarize")
        expect_device(self.device)

    def sampling(self, own: ChunkSampling, levels: int, weights: str) -> ChunkSampling:
        """The sampling of weights with `own` stored sampling and `levels` noise levels; `steps` is a number of these.

        Raises ValueError, in one sentence, for more steps than levels.
        """
        steps = self.steps or own.steps or levels
        if steps > levels:
            raise ValueError(
                f"steps is {steps}: it must be at most {levels}, the noise levels of the weights {weights}"
            )
        return ChunkSampling(
            self.temperature * own.temperature,
            own.guidance if self.guidance is None else self.guidance,
            own.eta if self.eta is None else self.eta,
            steps,
            self.transitions or own.transitions,
        )


@dataclass(frozen=True, slots=True)
class LoadedChunks:
    """Loaded weights, ready to compute action chunks."""

    chunk_model: ChunkModel
    live: ChunkSchedule
    """The schedule `live`; its window is also that of the schedule `window`."""
    trained_for: str
    """The protocol the weights were trained for: online or offline."""
    notice: str
    """What viewers must be told about the weights."""
    sha256: str
    """SHA-256 of the weights' file."""
    parameters: int
    """Number of learned parameters."""
    stochastic: bool = True
    """Whether samples differ with these parameters."""
    inputs: tuple[str, ...] = ()
    """As `GeneratorInfo.inputs`, of these weights; empty: those of the class."""
    offline: Callable[[Sequence[SpeakerFrame], int, int], list[Reaction]] | None = None
    """(frames, samples, seed) to reactions, for the offline protocol; None: window by window."""


class ChunkedGenerator(Generator):
    """A generator of action chunks: online from the speaker's past window, offline from the window of the same time.

    Weights are trained for one protocol. With online weights `generate_offline` gives the online reactions; offline
    weights need the speaker's future and cannot be streamed.
    """

    Config: ClassVar[type[Any]]

    def __init__(self, config: Any = None) -> None:
        """Raises ValueError, in one sentence, where the weights are missing or invalid."""
        self.config = config or self.Config()
        self._loaded = loaded = self.load()
        window = loaded.live.window
        self.chunk_schedule = loaded.live if self.config.schedule == "live" else ChunkSchedule(window, window)
        self.info = replace(
            type(self).info, notice=loaded.notice, weights=loaded.sha256,
            delay_frames=round(self.chunk_schedule.delay), stochastic=loaded.stochastic,
            inputs=loaded.inputs or type(self).info.inputs,
        )  # fmt: skip

    @abstractmethod
    def load(self) -> LoadedChunks:
        """Load the weights of `self.config`. Raises ValueError, in one sentence, where they are missing or invalid."""

    @property
    def chunk_model(self) -> ChunkModel:
        """The loaded networks."""
        return self._loaded.chunk_model

    @property
    def parameters(self) -> int:
        """Number of parameters that were learned by gradient."""
        return self._loaded.parameters

    def chunk_function(self, samples: int) -> Callable[[], object]:
        from react_ros.generators.chunk_model import repeatable_chunk

        return repeatable_chunk(self.chunk_model, self.chunk_schedule.window, samples)

    def start(self, *, samples: int = 1, seed: int = 0) -> ChunkedStream:
        """A new stream. Raises ValueError for samples < 1, seed < 0, or offline weights."""
        from react_ros.generators.action_chunks import ChunkedStream

        self._expect_online()
        return ChunkedStream(self.chunk_model, self.chunk_schedule, samples, seed)

    def generate(self, frames: Iterable[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        from react_ros.generators import chunk_batch

        self._expect_online()
        return chunk_batch.generate(self.chunk_model, self.chunk_schedule, frames, samples=samples, seed=seed)

    def generate_offline(self, frames: Sequence[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The papers' offline protocol where the weights were trained for it, else the online one."""
        from react_ros.generators import chunk_batch

        if self._loaded.trained_for == "online":
            return self.generate(frames, samples=samples, seed=seed)
        if self._loaded.offline is not None:
            return self._loaded.offline(frames, samples, seed)
        window = self.chunk_schedule.window
        return chunk_batch.generate_offline(self.chunk_model, window, frames, samples=samples, seed=seed)

    def _expect_online(self) -> None:
        if self._loaded.trained_for != "online":
            raise ValueError(
                f"the weights {self.config.weights!r} are of the offline protocol, which needs the speaker's future: "
                "live they must be of protocol online"
            )
