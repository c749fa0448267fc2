"""Writes a trained system's weights with their model card."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from react_ros.corpus.clips import Split
from react_ros.corpus.reader import Corpus
from react_ros.evaluation.behaviour.responsiveness import Responsiveness
from react_ros.evaluation.responsiveness.score import responsiveness
from react_ros.generators import registry
from react_ros.io import atomic_write
from react_ros.machine import describe_machine
from react_ros.nn.weights import save_weights
from react_ros.training.data import Clips
from react_ros.training.gate import Gate
from react_ros.training.stage_run import StageOutcome
from react_ros.training.training_stage import TrainingStage


@dataclass(frozen=True, slots=True)
class Provenance:
    """How weights were made, for their configuration file and model card."""

    system: str
    corpora: Sequence[Corpus]
    clips: Mapping[Split, Clips]
    """By split."""
    outcomes: Mapping[str, StageOutcome]
    """By stage."""
    command: str
    seed: int
    code: str
    """Version."""
    device: torch.device
    processes: int


def write_weights(path: Path, stage: TrainingStage, provenance: Provenance) -> None:
    """Write the finished last stage: PATH.safetensors, PATH.yaml (see `nn.weights`) and PATH.md, the model card.

    Raises OSError.
    """
    tensors, config = stage.weights()
    training = _training(provenance)
    save_weights(path, tensors, provenance.system, config, training, notice(provenance.corpora))
    parameters = sum(tensor.numel() for tensor in tensors.values())
    text = _card(path.name, provenance, training, parameters)
    atomic_write(path.with_name(f"{path.name}.md"), text)


def add_responsiveness(path: Path, system: str, gate: Gate, outcome: Mapping[str, Any]) -> None:
    """Score finished weights before the gate's speakers, 4 samples and three seeds, and add that to their card.

    path: of the weights, without suffix. outcome: `StageOutcome.gate` of the last stage. Raises OSError.
    """
    listener = registry.create(system, weights=str(path))
    result = responsiveness(listener, gate.clips, 4, (1, 2, 3), conditions=("own", "still"))
    described = gate.describe()
    chosen = ""
    if outcome:
        chosen = (
            f"These clips also chose the checkpoint: of the validated ones whose {outcome['judged_by']} is at most "
            f"{100 * gate.config.tolerance:g} % above the lowest ({outcome['lowest_loss']:.5g}, step "
            f"{outcome['lowest_loss_step']}), the one with the highest gate score ({outcome['score']:.3f}; its "
            f"{outcome['judged_by']}: {outcome['loss']:.5g})."
        )
    card = path.with_name(f"{path.name}.md")
    source = f"{described['clips']}, digest {described['digest']}"
    atomic_write(card, with_responsiveness(card.read_text("utf-8"), result, source=source, chosen_by=chosen))


def notice(corpora: Sequence[Corpus]) -> str:
    """What viewers of these weights' reactions must be told: simulated data, licences. May be empty."""
    simulated = [corpus for corpus in corpora if corpus.simulated]
    if simulated:
        part = "" if len(simulated) == len(corpora) else f" in {len(simulated)} of {len(corpora)} corpora"
        return f"Trained on simulated people{part}: what it does says nothing about how real people listen."
    return " ".join(dict.fromkeys(corpus.notice for corpus in corpora if corpus.notice))


def _training(provenance: Provenance) -> dict[str, Any]:
    data = [
        {
            "corpus": str(c.settings.get("made_by", c.root.name)),
            "simulated": c.simulated,
            "layout": c.layout,
            "scheme": c.scheme,
            **({"notice": c.notice} if c.notice else {}),
        }
        for c in provenance.corpora
    ]
    machine = describe_machine()
    if provenance.device.type == "cuda":
        machine += f"; {provenance.processes} x {torch.cuda.get_device_name(provenance.device)}"
    return {
        "data": data,
        "clips": {split: len(clips) for split, clips in provenance.clips.items()},
        "left_out": sum(len(clips.left_out) for clips in provenance.clips.values()),
        "command": provenance.command,
        "seed": provenance.seed,
        "steps": {stage: o.steps for stage, o in provenance.outcomes.items()},
        "chosen_steps": {stage: o.chosen_step for stage, o in provenance.outcomes.items()},
        "skipped_steps": {stage: o.skipped for stage, o in provenance.outcomes.items()},
        "seconds": {stage: o.seconds for stage, o in provenance.outcomes.items()},
        "machine": machine,
        "processes": provenance.processes,
        "code": provenance.code,
        "torch": str(torch.__version__),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "figures": {stage: dict(o.figures) for stage, o in provenance.outcomes.items()},
        **({"gates": gates} if (gates := {s: dict(o.gate) for s, o in provenance.outcomes.items() if o.gate}) else {}),
    }


def _card(name: str, provenance: Provenance, training: Mapping[str, Any], parameters: int) -> str:
    text = notice(provenance.corpora)
    lines = [f"# {name}", ""]
    lines += [f"**{text}**", ""] if text else []
    lines += [
        f"Weights of the system `{provenance.system}` of react_ros, {parameters:,} numbers: `{name}.safetensors`, "
        f"described by `{name}.yaml`.",
        "",
        "## Data",
    ]
    for corpus, described in zip(provenance.corpora, training["data"], strict=True):
        kind = "simulated: no data about people" if corpus.simulated else "recorded people, under their corpus' licence"
        lines.append(f"- {described['corpus']} ({kind}; {corpus.layout}, faces of scheme {corpus.scheme})")
    counts = ", ".join(f"{split} {count} dyads" for split, count in training["clips"].items())
    lines += [f"- {counts}; {training['left_out']} clips left out as unusable", "", "## Training", ""]
    lines += ["```", provenance.command, "```", ""]
    lines += [
        f"Seed {provenance.seed}; {provenance.code}; torch {training['torch']}; {training['date']}.",
        f"{training['machine']}; {provenance.processes} process{'es' if provenance.processes > 1 else ''}.",
        "",
        "| stage | steps | chosen step | skipped | time |",
        "|---|---|---|---|---|",
    ]
    for stage, o in provenance.outcomes.items():
        lines.append(f"| {stage} | {o.steps} | {o.chosen_step} | {o.skipped} | {_time(o.seconds)} |")
    lines += ["", "## Figures"]
    if "val" in provenance.clips:
        lines += ["Of the val split, which was not trained on, but by which the steps were chosen.", ""]
        lines += ["| stage | figure | value |", "|---|---|---|"]
        for stage, o in provenance.outcomes.items():
            lines += [f"| {stage} | {figure} | {value:.5g} |" for figure, value in o.figures.items()]
    else:
        lines.append("None: there was no val split, so nothing was validated.")
    lines += ["", "## Limits"]
    if any(corpus.simulated for corpus in provenance.corpora):
        lines.append("- The listeners that it learned from are made by rule: it is no evidence of how people listen.")
    lines += [
        "- It shows facial reactions; it does not understand what is said, and must not be taken for a judgement of "
        "the person who speaks.",
        "- It was trained on the data above only: it may answer other cameras, languages and faces worse.",
        "",
        "## License",
        "To be chosen by whoever trained it, within the licenses of the data above; the code is Apache-2.0.",
        "",
    ]
    return "\n".join(lines)


RESPONSIVENESS = "## Responsiveness"


def with_responsiveness(card: str, result: Responsiveness, *, source: str, chosen_by: str = "") -> str:
    """A model card with its section of responsiveness, which replaces an earlier one.

    card: Markdown. source: where the speakers' clips come from. chosen_by: a sentence, where the gate also chose the
    checkpoint.
    """
    events = result.events
    lines = [
        RESPONSIVENESS,
        f"Before {events['clips']} clips of {events['people']} speakers ({source}): {events['onsets']} smile onsets, "
        f"{events['pauses']} pauses; {result.samples} samples, seed{'s' * (len(result.seeds) > 1)} "
        f"{', '.join(map(str, result.seeds))}. Definitions: docs/evaluation.md; intervals: 95 %, over people.",
        *([chosen_by] if chosen_by else []),
        "",
        "| figure | value | 95 % | target | |",
        "|---|---:|---|---|---|",
    ]
    for v in result.verdicts():
        if v.value is None:
            lines.append(f"| {v.name} | – | | {v.target.text} | not measurable |")
            continue
        interval = "" if v.value.low is None else f"{v.value.low:.3g} to {v.value.high:.3g}"
        lines.append(
            f"| {v.name} | {v.value.mean:.3g} | {interval} | {v.target.text} | {'met' if v.met else 'not met'} |"
        )
    return _with_section(card, lines, before=("## Limits", "## License"))


def _with_section(text: str, section: Sequence[str], before: Sequence[str]) -> str:
    """Markdown with a section of level 2, in place of the one with its heading, else before these headings."""
    lines = text.rstrip("\n").split("\n")
    if section[0] in lines:
        start = lines.index(section[0])
        end = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("## ")), len(lines))
    else:
        start = end = next((lines.index(heading) for heading in before if heading in lines), len(lines))
    head = lines[:start]
    while head and not head[-1]:
        head.pop()
    return "\n".join([*head, "", *section, "", *lines[end:], ""]).rstrip("\n") + "\n"


def _time(seconds: float) -> str:
    minutes = round(seconds / 60.0)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes // 60} h {minutes % 60:02d} min"
