"""ReactDiff as a generator: learned, planning by latent diffusion, with the style of one listener where it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from react_ros.config import DEVICES, in_range, whole_in_range
from react_ros.face import Reaction, SpeakerFrame
from react_ros.generators.contract import Generator, GeneratorInfo

if TYPE_CHECKING:
    from react_ros.generators.action_chunks import PlannedStream

DEFAULT_WEIGHTS = "reactdiff"


@dataclass(frozen=True, slots=True)
class ReactDiffConfig:
    """Raises ValueError for a value out of range."""

    weights: str = DEFAULT_WEIGHTS
    """Name in models/, or a path."""
    protocol: Literal["live", "window"] = "live"
    """live: a plan every 8 frames, blended into the former; window: the paper's, one every 50 frames."""
    temperature: float = 1.0
    """Scale of the noise: below 1 listeners are more alike."""
    steps: int = 0
    """Of denoising; 0: as many as there are noise levels, 20 in the paper."""
    eta: float = 0.0
    """How much noise each step renews: 0 (DDIM, as the paper) to 1 (DDPM)."""
    guidance: float = 1.0
    """How much more the speaker counts than in training (Ho and Salimans 2021); the paper has no guidance: 1."""
    lasting: bool = True
    """Whether a listener's chance has a part that stays the same in all plans, so that who smiles a lot goes on to."""
    diffusion: bool = True
    """False is the paper's ablation "w/o diffusion": the transformer alone, and all listeners are one."""
    style: str = ""
    """A listener's reactions, to listen as they do: an npz with `face_model` (T, 58) and `attributes` (T, 25), a folder
    of such clips, or one of the packaged simulated listeners, lively or quiet. Empty: as nobody in particular."""
    binarize: bool = False
    """Action units as 0 or 1 instead of probabilities."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.weights, str) or not self.weights:
            raise ValueError(f"weights are {self.weights!r}: they must be a name in models/ or a path")
        if self.protocol not in ("live", "window"):
            raise ValueError(f"protocol is {self.protocol!r}: it must be live or window")
        in_range("temperature", self.temperature, 0.0, 10.0)
        whole_in_range("steps", self.steps, 0, 1000)
        in_range("eta", self.eta, 0.0, 1.0)
        in_range("guidance", self.guidance, 0.0, 10.0)
        for name in ("lasting", "diffusion", "binarize"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}: it must be true or false")
        if not isinstance(self.style, str):
            raise ValueError(f"style is {self.style!r}: it must be the path of a listener's clips")
        if self.device not in DEVICES:
            raise ValueError(f"device is {self.device!r}: it must be one of {', '.join(DEVICES)}")


class ReactDiff(Generator):
    """Li et al., ReactDiff: a multi-modality transformer with a conditional diffusion in its latent space."""

    Config = ReactDiffConfig
    info = GeneratorInfo(
        name="reactdiff",
        summary="learned: plans of two seconds by diffusion in the latent space of a transformer over face and sound",
        inputs=("blendshapes", "rotation", "translation", "sound"),
        delay_frames=10,
        learned=True,
    )

    def __init__(self, config: ReactDiffConfig | None = None) -> None:
        """Raises ValueError, in one sentence, where weights or style are not there, or not what they should be."""
        from react_ros.systems.reactdiff.planning import ReactDiffPlanner

        self.config = config or ReactDiffConfig()
        self.planner = ReactDiffPlanner(self.config)
        self.info = replace(
            type(self).info,
            notice=self.planner.notice,
            weights=self.planner.sha256,
            delay_frames=int(self.planner.planning.delay),
            stochastic=self.config.diffusion and self.config.temperature > 0.0,
        )

    @property
    def parameters(self) -> int:
        """How many numbers were learned by gradient."""
        return self.planner.parameters

    def rehearse(self, samples: int) -> Callable[[], object]:
        from react_ros.generators.chunk_model import one_plan

        return one_plan(self.planner, self.planner.window, samples)

    def start(self, *, samples: int = 1, seed: int = 0) -> PlannedStream:
        """Begin a stream. Raises ValueError for weights that were trained for the offline protocol only."""
        from react_ros.generators.action_chunks import PlannedStream

        self._expect_online()
        return PlannedStream(self.planner, self.planner.planning, samples, seed)

    def generate(self, frames: Iterable[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        from react_ros.generators.chunk_batch import generate

        self._expect_online()
        return generate(self.planner, self.planner.planning, frames, samples=samples, seed=seed)

    def generate_offline(self, frames: Sequence[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The offline protocol with weights that were trained for it; others answer as they do online."""
        if self.planner.trained_for == "online":
            return self.generate(frames, samples=samples, seed=seed)
        return self.planner.offline(frames, samples, seed)

    def _expect_online(self) -> None:
        if self.planner.trained_for != "online":
            raise ValueError(
                f"weights {self.config.weights} were trained for the offline protocol, where the clip is known before "
                "it is answered: they cannot answer live; train with stages.mmt.task.model.protocol=online"
            )
