"""The speaker's rows, frame by frame, to an encoding with a recurrent memory, and to the reaction that is expected."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, ROTATION_58, TRANSLATION_58, VA
from react_ros.nn.face_units import ROTATION_UNIT, TRANSLATION_UNIT

_CLIP = 6.0
"""Standard deviations at which inputs are clipped."""
_LEAST_DEVIATION = 0.02
"""Lower bound of an input's standard deviation, for features that hardly moved in training."""
ACTIVITY = 2
"""How much the listener's head is about to move: pitch, and yaw with roll; see `Expectation`."""


class Columns(Protocol):
    """The columns of a row of the speaker, as of `generators.speaker_inputs.InputScheme`."""

    @property
    def inputs(self) -> int:
        """Width of a row."""
        ...

    @property
    def face(self) -> slice:
        """All columns of the face."""
        ...

    @property
    def sound(self) -> slice:
        """All columns of the sound."""
        ...

    @property
    def face_present(self) -> int:
        """The column that is 1 where there is a face, else 0."""
        ...

    @property
    def sound_present(self) -> int:
        """The column that is 1 where there is sound, else 0."""
        ...


class SpeakerEncoder(nn.Module):
    """The speaker's face and sound, frame by frame, with a recurrent memory; either may be missing."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: Columns, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.inputs = inputs
        self.register_buffer("mean", torch.zeros(inputs.inputs))
        self.register_buffer("deviation", torch.ones(inputs.inputs))
        self.face = nn.Linear(inputs.face.stop - inputs.face.start + 1, width)
        self.sound = nn.Linear(inputs.sound.stop - inputs.sound.start + 1, width)
        self.dropout = nn.Dropout(dropout)
        self.memory = nn.GRU(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.norm = nn.LayerNorm(width)

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the (inputs,) mean and standard deviation of the inputs, over frames in which they are present."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp_min(_LEAST_DEVIATION))

    def forward(self, speaker: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, width)."""
        hidden, _ = self.memory(self.dropout(self._embed(speaker)))
        return self.norm(hidden)

    def start(self) -> Tensor:
        """The initial memory of one stream: (layers, 1, width)."""
        return self.mean.new_zeros(self.memory.num_layers, 1, self.memory.hidden_size)

    def step(self, speaker: Tensor, state: Tensor) -> Tensor:
        """(1, inputs) to (1, width); `state` is changed in place."""
        x = self._embed(speaker)
        for layer in range(self.memory.num_layers):
            weights = [
                getattr(self.memory, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            x = torch.gru_cell(x, state[layer], *weights)
            state[layer].copy_(x)
        return self.norm(x)

    def _embed(self, speaker: Tensor) -> Tensor:
        x = ((speaker - self.mean) / self.deviation).clamp(-_CLIP, _CLIP)
        inputs = self.inputs
        has_face, has_sound = speaker[..., inputs.face_present, None], speaker[..., inputs.sound_present, None]
        face = self.face(torch.cat([x[..., inputs.face] * has_face, has_face], dim=-1))
        sound = self.sound(torch.cat([x[..., inputs.sound] * has_sound, has_sound], dim=-1))
        return F.gelu(face + sound)


class Expectation(nn.Module):
    """Linear regression of the mean reaction on the encoded speaker.

    With `activity` also of how much the head is about to move. The mean of nods at different moments is a still head:
    the mean pose does not tell that a nod is due.
    """

    units: Tensor

    def __init__(self, width: int, *, activity: bool = False) -> None:
        super().__init__()
        self.outputs = ATTRIBUTES + FACE_MODEL + ACTIVITY * activity
        self.read = nn.Linear(width, self.outputs)
        units = torch.ones(FACE_MODEL)
        units[ROTATION_58], units[TRANSLATION_58] = 5.0 * ROTATION_UNIT, 5.0 * TRANSLATION_UNIT
        self.register_buffer("units", units, persistent=False)

    def forward(self, encoding: Tensor) -> Tensor:
        """(…, width) to (…, outputs): logits of action units, valence, arousal, logits of expressions, 58 coefficients.

        The coefficients are in `units`; with `activity` two numbers more.
        """
        return self.read(encoding)

    def reaction(self, encoding: Tensor) -> Tensor:
        """(…, width) to (…, outputs): the same with probabilities for logits, scaled to about 0 to 1."""
        expected = self.read(encoding)
        emotion = expected[..., :ATTRIBUTES]
        parts = [
            emotion[..., AU].sigmoid(), 2.0 * emotion[..., VA], emotion[..., EXPRESSIONS].softmax(-1),
            4.0 * expected[..., ATTRIBUTES:],
        ]  # fmt: skip
        return torch.cat(parts, dim=-1)
