"""Writes a finished system's weights with the card that says what they are and what they were trained on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from react_ros.corpus.cache import atomically
from react_ros.corpus.clips import Split
from react_ros.corpus.reader import Corpus
from react_ros.machine import describe_machine
from react_ros.nn.weights import save_weights
from react_ros.training.data import Clips
from react_ros.training.stage_run import Outcome
from react_ros.training.training_stage import Task


@dataclass(frozen=True, slots=True)
class Story:
    """How weights came to be."""

    system: str
    corpora: Sequence[Corpus]
    clips: Mapping[Split, Clips]
    """By split."""
    outcomes: Mapping[str, Outcome]
    """By stage."""
    command: str
    seed: int
    code: str
    device: torch.device
    processes: int


def write_weights(path: Path, task: Task, story: Story) -> None:
    """PATH.safetensors, PATH.yaml (see `parts.weights`) and PATH.md of the last stage's finished task.

    Raises OSError.
    """
    tensors, config = task.weights()
    training = _training(story)
    save_weights(path, tensors, story.system, config, training, notice(story.corpora))
    parameters = sum(tensor.numel() for tensor in tensors.values())
    text = _card(path.name, story, training, parameters)
    atomically(path.with_name(f"{path.name}.md"), lambda file: file.write(text.encode()))


def notice(corpora: Sequence[Corpus]) -> str:
    """What whoever sees these weights at work must know."""
    simulated = [corpus for corpus in corpora if corpus.simulated]
    if simulated:
        part = "" if len(simulated) == len(corpora) else f" in {len(simulated)} of {len(corpora)} corpora"
        return f"Trained on simulated people{part}: what it does says nothing about how real people listen."
    return " ".join(dict.fromkeys(corpus.notice for corpus in corpora if corpus.notice))


def _training(story: Story) -> dict[str, Any]:
    data = [
        {
            "corpus": str(c.settings.get("made_by", c.root.name)),
            "simulated": c.simulated,
            "layout": c.layout,
            "scheme": c.scheme,
            **({"notice": c.notice} if c.notice else {}),
        }
        for c in story.corpora
    ]
    machine = describe_machine()
    if story.device.type == "cuda":
        machine += f"; {story.processes} x {torch.cuda.get_device_name(story.device)}"
    return {
        "data": data,
        "clips": {split: len(clips) for split, clips in story.clips.items()},
        "left_out": sum(len(clips.left_out) for clips in story.clips.values()),
        "command": story.command,
        "seed": story.seed,
        "steps": {stage: o.steps for stage, o in story.outcomes.items()},
        "chosen_steps": {stage: o.chosen_step for stage, o in story.outcomes.items()},
        "skipped_steps": {stage: o.skipped for stage, o in story.outcomes.items()},
        "seconds": {stage: o.seconds for stage, o in story.outcomes.items()},
        "machine": machine,
        "processes": story.processes,
        "code": story.code,
        "torch": str(torch.__version__),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "figures": {stage: dict(o.figures) for stage, o in story.outcomes.items()},
    }


def _card(name: str, story: Story, training: Mapping[str, Any], parameters: int) -> str:
    said = notice(story.corpora)
    lines = [f"# {name}", ""]
    lines += [f"**{said}**", ""] if said else []
    lines += [
        f"Weights of the system `{story.system}` of react_ros, {parameters:,} numbers: `{name}.safetensors`, described "
        f"by `{name}.yaml`.",
        "",
        "## Data",
    ]
    for corpus, told in zip(story.corpora, training["data"], strict=True):
        whose = "simulated: data about nobody" if corpus.simulated else "recorded people, under their corpus' licence"
        lines.append(f"- {told['corpus']} ({whose}; {corpus.layout}, faces of scheme {corpus.scheme})")
    counts = ", ".join(f"{split} {count} dyads" for split, count in training["clips"].items())
    lines += [f"- {counts}; {training['left_out']} clips left out as unusable", "", "## Training", ""]
    lines += ["```", story.command, "```", ""]
    lines += [
        f"Seed {story.seed}; {story.code}; torch {training['torch']}; {training['date']}.",
        f"{training['machine']}; {story.processes} process{'es' if story.processes > 1 else ''}.",
        "",
        "| stage | steps | taken from step | skipped | time |",
        "|---|---|---|---|---|",
    ]
    for stage, o in story.outcomes.items():
        lines.append(f"| {stage} | {o.steps} | {o.chosen_step} | {o.skipped} | {_time(o.seconds)} |")
    lines += ["", "## Figures"]
    if "val" in story.clips:
        lines += ["Of the val split, which was not trained on; the step that was taken was chosen by it.", ""]
        lines += ["| stage | figure | value |", "|---|---|---|"]
        for stage, o in story.outcomes.items():
            lines += [f"| {stage} | {figure} | {value:.5g} |" for figure, value in o.figures.items()]
    else:
        lines.append("None: there was no val split, so nothing was validated.")
    lines += ["", "## Limits"]
    if any(corpus.simulated for corpus in story.corpora):
        lines.append("- What it learned of listening was made by rule, and is no evidence of how people listen.")
    lines += [
        "- It shows facial reactions; it does not understand what is said, and must not be taken for a judgement of "
        "the person who speaks.",
        "- It was trained on the data above only: other cameras, languages and faces may be answered worse.",
        "",
    ]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    minutes = round(seconds / 60.0)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes // 60} h {minutes % 60:02d} min"
