"""`react-ros bench generators`: what every listener costs on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from react_ros.cli.progress import progress
from react_ros.cli.terminal import plain_console, user_errors

if TYPE_CHECKING:
    from react_ros.face import SpeakerFrame


def bench_generators(
    names: Annotated[list[str] | None, typer.Argument(help="which; all without any (react-ros generators)")] = None,
    device: Annotated[str, typer.Option(help="auto (the CPU, and CUDA too where there is one), cpu or cuda")] = "auto",
    seconds: Annotated[float, typer.Option(help="of frames that each system answers", min=1.0)] = 30.0,
    file: Annotated[Path | None, typer.Option("--json", help="also write the figures into this file")] = None,
) -> None:
    """Time a step, batch throughput, parameters, memory, loading and delay of the listeners, in one run."""
    from react_ros.cli import generator_costs as bench
    from react_ros.machine import describe_machine

    with user_errors():
        where = bench.places(names or [], device)
        with progress("measuring") as tell:
            costs = bench.bench_generators(simulated_speaker(), where, seconds=seconds, progress=tell)
        if file is not None:
            figures = {"machine": describe_machine(), "seconds": seconds, "generators": [asdict(c) for c in costs]}
            file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    console = plain_console()
    console.print(describe_machine())
    console.print(bench.cost_table(costs))
    console.print(
        f"1 p50 …: ms a step for 1 listener; 10 p50 …: for 10 at once; steps without a pause, in turns of one second, "
        f"{seconds:g} s of frames each, one thread. A listener that plans makes its plans beside the clock when it "
        "runs live; here a step waits for the plan that is due. plan 1, plan 10: ms of the median plan. batch: "
        "reactions a second of a clip with 10 listeners. load: to "
        f"the first reaction, memory: after {bench.ALONE_STEPS} steps of 1 listener, both in a fresh process beside "
        "Python and numpy. The speaker is simulated."
    )


def simulated_speaker() -> list[SpeakerFrame]:
    """30 s of a simulated speaker, seen and heard as live."""
    import numpy as np

    from react_ros.corpus.simulation.session import simulate_session
    from react_ros.corpus.sounds import listen
    from react_ros.face import FPS, FRAME_NS, SAMPLE_RATE, Face, FaceState, SpeakerFrame, split_face_model

    speaker = simulate_session(0, 0).speaker
    sound = listen(np.round(32767.0 * np.clip(speaker.sound, -1.0, 1.0)).astype(np.int16), SAMPLE_RATE)
    blendshapes, rotation, translation = split_face_model(speaker.face_model)
    faces = zip(blendshapes, rotation, translation, speaker.attributes, strict=True)
    return [
        SpeakerFrame(k, k * FRAME_NS, Face(FaceState.TRACKED, *face, count=1), sound.frame(k))
        for k, face in enumerate(list(faces)[: 30 * FPS])
    ]
