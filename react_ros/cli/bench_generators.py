"""`react-ros bench generators`: the cost of every generator on this machine."""

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
    names: Annotated[
        list[str] | None, typer.Argument(help="systems to measure; default: all (react-ros generators)")
    ] = None,
    device: Annotated[str, typer.Option(help="auto (CPU, and CUDA where available), cpu or cuda")] = "auto",
    seconds: Annotated[float, typer.Option(help="seconds of speaker frames per system", min=1.0)] = 30.0,
    file: Annotated[Path | None, typer.Option("--json", help="also write the figures to this file")] = None,
) -> None:
    """Measure time per step, batch throughput, parameters, memory, loading time and delay of generators."""
    from react_ros.cli import generator_costs as bench
    from react_ros.machine import describe_machine

    with user_errors():
        where = bench.places(names or [], device)
        with progress("measuring") as report:
            costs = bench.bench_generators(simulated_speaker(), where, seconds=seconds, progress=report)
        if file is not None:
            figures = {"machine": describe_machine(), "seconds": seconds, "generators": [asdict(c) for c in costs]}
            file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    console = plain_console()
    console.print(describe_machine())
    console.print(bench.cost_table(costs))
    console.print(
        "1 p50 …: ms per step with 1 sample; 10 p50 …: with 10 samples; steps without a pause, systems in turns "
        f"of one second, {seconds:g} s of frames each, one thread. Live, action chunks are made in a worker; here the "
        "step that needs a chunk waits for it. chunk 1, chunk 10: median ms per action chunk. batch: reactions per "
        f"second of a clip with 10 samples. load: until the first reaction; memory: after {bench.ALONE_STEPS} steps "
        "with 1 sample; both in a fresh process, in addition to Python and numpy. The speaker is simulated."
    )


def simulated_speaker() -> list[SpeakerFrame]:
    """30 s of a simulated speaker with face and sound, as from live perception."""
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
