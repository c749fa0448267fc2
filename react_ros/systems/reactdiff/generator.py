"""ReactDiff as a generator: action chunks by latent diffusion, optionally in the style of one listener."""

from __future__ import annotations

from react_ros.generators.chunked import ChunkedGenerator, LoadedChunks
from react_ros.generators.contract import GeneratorInfo
from react_ros.systems.reactdiff.config import ReactDiffConfig


class ReactDiff(ChunkedGenerator):
    """Li et al., ReactDiff: a multi-modality transformer with a conditional diffusion in its latent space."""

    Config = ReactDiffConfig
    config: ReactDiffConfig
    info = GeneratorInfo(
        name="reactdiff",
        summary="learned: action chunks of two seconds by diffusion in a transformer's latent space",
        inputs=("blendshapes", "rotation", "translation", "sound"),
        delay_frames=10,
        learned=True,
    )

    def load(self) -> LoadedChunks:
        from react_ros.systems.reactdiff.chunk_model import ReactDiffChunkModel, live

        model = ReactDiffChunkModel(self.config)
        return LoadedChunks(
            model,
            live(model.window),
            model.trained_for,
            model.notice,
            model.sha256,
            model.parameters,
            stochastic=self.config.diffusion and self.config.temperature > 0.0,
            offline=model.offline,
        )
