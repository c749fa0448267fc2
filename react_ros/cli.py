"""The command line, `react-ros`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from react_ros import __version__, bringup

app = typer.Typer(
    name="react-ros",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A robot's face that listens to a person, live. Start with `react-ros doctor` and `react-ros demo`.",
)


def fail(sentence: object) -> typer.Exit:
    """Print one sentence for people and end with exit code 2."""
    print(f"react-ros: {str(sentence).rstrip('.')}.", file=sys.stderr)
    return typer.Exit(2)


_DEFAULT = {argument.name: argument for argument in bringup.ARGUMENTS}


def _option(name: str, *flags: str) -> typer.models.OptionInfo:
    return typer.Option(*flags, help=_DEFAULT[name].description)


@app.command()
def run(
    camera: Annotated[str, _option("source", "--camera")] = "0",
    mic: Annotated[str, _option("microphone", "--mic")] = "default",
    generator: Annotated[str, _option("generator", "--generator")] = "attentive",
    seed: Annotated[int, _option("seed", "--seed")] = 0,
    samples: Annotated[int, _option("samples", "--samples")] = 1,
    namespace: Annotated[str, _option("namespace", "--namespace")] = "robot",
    device: Annotated[str, _option("device", "--device")] = "auto",
    rendering: Annotated[bool, _option("rendering", "--rendering/--no-rendering")] = True,
    view_port: Annotated[int, _option("view_port", "--view-port")] = 8025,
    window: Annotated[bool, _option("window", "--window")] = False,
    loop: Annotated[bool, _option("loop", "--loop")] = False,
    record: Annotated[str, _option("record", "--record")] = "",
    config: Annotated[str, _option("config", "--config")] = "",
    composed: Annotated[bool, typer.Option("--composed", help="all nodes in one process")] = False,
) -> None:
    """Start the robot: camera, microphone, perception, listener and avatar, until Ctrl-C."""
    from react_ros.runner import Runner

    chosen = {
        "source": camera, "microphone": mic, "generator": generator, "seed": str(seed), "samples": str(samples),
        "namespace": namespace, "device": device, "rendering": str(rendering).lower(), "view_port": str(view_port),
        "window": str(window).lower(), "loop": str(loop).lower(), "record": record, "config": config,
        # Picture and sound of files begin together, once every node is there.
        "start_at": str(time.time() + 5.0),
    }  # fmt: skip
    try:
        processes = bringup.processes(chosen)
    except ValueError as error:
        raise fail(error) from None
    if view_port:
        print(f"human and avatar: http://127.0.0.1:{view_port}   (Ctrl-C ends the robot)", flush=True)
    if composed:
        import os

        os.environ.update(bringup.environment())
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        from react_ros.nodes.composed import run_composed

        raise typer.Exit(run_composed([(p.executable, p.ros_arguments) for p in processes]))
    raise typer.Exit(Runner(processes).run())


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
