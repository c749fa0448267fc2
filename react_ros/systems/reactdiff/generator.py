"""ReactDiff as a generator: action chunks by latent diffusion, optionally in the style of one listener."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from react_ros.generators.chunked import WHOLE_PERSON, ChunkedGenerator, LoadedChunks
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

    def content(self) -> Mapping[str, str]:
        if not self.config.style:
            return super().content()
        from react_ros.systems.reactdiff.style import style_files

        clips = {f"style/{file.name}": _sha256(file) for file in style_files(self.config.style)}
        return {**super().content(), **clips}

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
            stochastic=self.config.diffusion and model.sampling.temperature > 0.0,
            inputs=WHOLE_PERSON if model.rows.attributes.stop > model.rows.attributes.start else (),
            offline=model.offline,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
