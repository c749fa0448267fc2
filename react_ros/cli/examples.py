"""One example for the help page of each command."""

from __future__ import annotations

import typer

EXAMPLES = {
    "run": "react-ros run --camera 0 --generator attentive,nodding=0.5 --record monday",
    "demo": "react-ros demo --camera 0 --mic default --seconds 60",
    "generators": "react-ros generators attentive",
    "doctor": "react-ros doctor --json",
    "set": "react-ros set generator mime,delay_frames=10",
    "status": "react-ros status --namespace robot",
    "record": "react-ros record monday --privacy features",
    "replay": "react-ros replay monday --generator mime --out again",
    "evaluate": "react-ros evaluate --bag monday recorded attentive,nodding=0.5",
    "train": "react-ros train fsq --corpus people",
    "ablation": "react-ros ablation --corpus people",
    "soak": "react-ros soak --minutes 30 --out robustness.md",
    "version": "react-ros version",
    "assets fetch": "react-ros assets fetch face-landmarker",
    "assets list": "react-ros assets list",
    "assets clear": "react-ros assets clear --downloads",
    "bench live": "react-ros bench live --seconds 30",
    "bench perception": "react-ros bench perception",
    "bench metrics": "react-ros bench metrics",
    "bench generators": "react-ros bench generators fsq --device cpu",
    "bench replay": "react-ros bench replay --minutes 5",
    "corpus check": "react-ros corpus check dyads --split test",
    "corpus simulate": "react-ros corpus simulate dyads --world b --sessions 200",
    "corpus from-video": "react-ros corpus from-video ann.mp4 bob.mp4 --out people",
    "corpus from-bags": "react-ros corpus from-bags monday tuesday --out people",
    "corpus from-seamless": "react-ros corpus from-seamless seamless --out people --limit 10",
    "corpus appropriateness": "react-ros corpus appropriateness dyads --split test",
    "corpus compare": "react-ros corpus compare footage people --split train",
    "corpus mean-listener": "react-ros corpus mean-listener dyads mean.safetensors",
}
"""By command, as it is typed after react-ros."""


def add_examples(app: typer.Typer, prefix: str = "") -> list[str]:
    """Put each command's example at the end of its help page. Returns the commands, those without an example too."""
    names = []
    for command in app.registered_commands:
        assert command.callback is not None
        name = prefix + (command.name or command.callback.__name__.replace("_", "-"))
        if name in EXAMPLES:
            command.epilog = f"Example: {EXAMPLES[name]}"
        names.append(name)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names += add_examples(group.typer_instance, f"{prefix}{group.name} ")
    return names
