"""What makes a listener trained on simulated people answer real ones? One encoder a row, on the gate of real speakers.

    .venv/bin/python tools/listening_ablation.py CLIPS WORK [SESSIONS [SEEDS]]

CLIPS: a folder of clips of real people, as for `react-ros evaluate --responsiveness`. WORK: a folder for the corpora.
Each row adds one thing to the row before. What is trained is the encoder stage of `fsq`'s default configuration alone
(300 steps: its speaker encoder with the mean reaction as the only listener), because it decides what is answered and
trains in a minute; a whole listener has figures of its own. Figures: mean over SEEDS trainings, least and greatest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from react_ros.corpus.simulation import simulate
from react_ros.corpus.simulation.world_a import speaker as world_a_speaker
from react_ros.evaluation.responsiveness.clips import SpeakerClip, read_clips
from react_ros.evaluation.responsiveness.score import responsiveness
from react_ros.face import AU
from react_ros.generators.speaker_inputs import PERSON, RUNNING_MEAN, InputScheme
from react_ros.systems.fsq.model import PredictorConfig
from react_ros.systems.fsq.training import EncoderStage, EncoderStageConfig
from react_ros.training.config import OptimizerConfig
from react_ros.training.data import Batch, Clips, CropOrder, load_clips
from react_ros.training.optimisation import adamw, rate_at
from react_ros.training.speaker_augmentation import Variation

STEPS, BATCH, CROP = 300, 16, 300
FIGURES = (
    "smile gain", "smile correlation", "onsets answered", "smiles held", "frown at smiles", "smile at distress",
)  # fmt: skip
Change = Callable[[Batch], Batch]


def _as_is(batch: Batch) -> Batch:
    return batch


def _occurrences(batch: Batch) -> Batch:
    """Action units that are there or not, 0 or 1, as annotators code them."""
    rows = batch.speaker.clone()
    units = slice(PERSON.attributes.start + AU.start, PERSON.attributes.start + AU.stop)
    rows[..., units] = rows[..., units].round()
    return replace(batch, speaker=rows)


ROWS: tuple[tuple[str, str, InputScheme, bool, Change], ...] = (
    ("old world: early people, old inputs", "early", RUNNING_MEAN, False, _as_is),
    ("+ new faces, feelings and listeners (world a, formant voices)", "formants", RUNNING_MEAN, False, _as_is),
    ("+ new voices (world a)", "a", RUNNING_MEAN, False, _as_is),
    ("+ inputs relative to the person, with attributes as occurrences", "a", PERSON, False, _occurrences),
    ("+ attributes as degrees", "a", PERSON, False, _as_is),
    ("+ input variation: the shipped recipe", "a", PERSON, True, _as_is),
)


@contextmanager
def _formant_voices() -> Iterator[None]:
    drawn = world_a_speaker.draw_speaker
    world_a_speaker.draw_speaker = lambda rng: replace(drawn(rng), source="formants")
    try:
        yield
    finally:
        world_a_speaker.draw_speaker = drawn


def corpus(work: Path, kind: str, sessions: int) -> Path:
    """The corpus of a kind, made where it does not exist."""
    folder = work / f"{kind}-{sessions}"
    if folder.exists():
        return folder
    print(f"simulating {sessions} sessions: {kind}", flush=True)
    making = folder.with_name(f"making-{folder.name}")
    if kind == "formants":
        with _formant_voices():  # in this process, which is the one that is changed
            simulate(making, world="a", sessions=sessions, seed=2026, jobs=1)
    else:
        simulate(making, world=kind, sessions=sessions, seed=2026, jobs=1)
    return making.rename(folder)


def train(clips: Clips, inputs: InputScheme, variation: bool, change: Change, seed: int) -> EncoderStage:
    """The encoder after `STEPS` steps."""
    model = PredictorConfig(inputs=inputs.name, speaker="expectation", activity=True, encoder_layers=1)
    varied = Variation(gain=0.3, offset=0.6, drift=0.4, dropped=0.06) if variation else Variation()
    torch.manual_seed(seed)
    stage = EncoderStage(EncoderStageConfig(model=model, variation=varied), {})
    stage.prepare(clips)
    optimizer = OptimizerConfig(lr=4e-3, weight_decay=0.02)
    adam = adamw(stage, optimizer)
    order = CropOrder(clips.lengths, batch=BATCH, crop=CROP, crops=2, seed=seed)
    for step in range(STEPS):
        for group in adam.param_groups:
            group["lr"] = rate_at(optimizer, step, STEPS)
        batch = change(clips.batch(*order.at(step), CROP))
        loss = stage.loss(batch, step / STEPS, torch.Generator().manual_seed(1000 * seed + step))["loss"]
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        adam.step()
    return stage.eval()


def figures(stage: EncoderStage, speakers: list[SpeakerClip]) -> dict[str, float]:
    """On the gate. Live attributes are what perception reports: degrees."""
    found = responsiveness(stage.listener(), speakers, samples=1)
    return {name: found.mean(name) for name in FIGURES}


def main() -> None:
    clips, work, *rest = sys.argv[1:]
    sessions, seeds = int(rest[0]) if rest else 300, int(rest[1]) if len(rest) > 1 else 2
    torch.set_num_threads(1)
    Path(work).mkdir(parents=True, exist_ok=True)
    speakers, _ = read_clips(Path(clips))
    print(f"{len(speakers)} clips; {sessions} sessions, {STEPS} steps, {seeds} trainings a row")
    print("| | " + " | ".join(FIGURES) + " |\n|---|" + "---|" * len(FIGURES), flush=True)
    for label, kind, inputs, variation, change in ROWS:
        data = load_clips([corpus(Path(work), kind, sessions)], "train", inputs=inputs, jobs=1)
        each: list[dict[str, Any]] = []
        for seed in range(seeds):
            each.append(figures(train(data, inputs, variation, change, seed), speakers))
        cells = [[e[name] for e in each] for name in FIGURES]
        texts = [f"{np.nanmean(c):.2f} ({np.nanmin(c):.2f} to {np.nanmax(c):.2f})" for c in cells]
        print(f"| {label} | {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
