"""The command line, `react-ros`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from react_ros import __version__, bringup
from react_ros.cli import ablation, bench_generators, corpus, evaluate, fail, sessions, train
from react_ros.generators import registry

app = typer.Typer(
    name="react-ros",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A robot's face that listens to a person, live. Start with `react-ros doctor` and `react-ros demo`.",
)


_DEFAULT = {argument.name: argument for argument in bringup.ARGUMENTS}


def _option(name: str, *flags: str) -> typer.models.OptionInfo:
    return typer.Option(*flags, help=_DEFAULT[name].description)


@app.command()
def run(
    camera: Annotated[str, _option("source", "--camera")] = "0",
    mic: Annotated[str, _option("microphone", "--mic")] = "default",
    generator: Annotated[str, _option("generator", "--generator")] = registry.DEFAULT,
    seed: Annotated[int, _option("seed", "--seed")] = 0,
    samples: Annotated[int, _option("samples", "--samples")] = 1,
    namespace: Annotated[str, _option("namespace", "--namespace")] = "robot",
    device: Annotated[str, _option("device", "--device")] = "auto",
    rendering: Annotated[bool, _option("rendering", "--rendering/--no-rendering")] = True,
    view_port: Annotated[int, _option("view_port", "--view-port")] = 8025,
    window: Annotated[bool, _option("window", "--window")] = False,
    loop: Annotated[bool, _option("loop", "--loop")] = False,
    record: Annotated[str, _option("record", "--record")] = "",
    privacy: Annotated[str, _option("privacy", "--privacy")] = "raw",
    config: Annotated[str, _option("config", "--config")] = "",
    sim_time: Annotated[bool, _option("use_sim_time", "--sim-time")] = False,
    composed: Annotated[bool, typer.Option("--composed", help="all nodes in one process")] = False,
) -> None:
    """Start the robot: camera, microphone, perception, listener and avatar, until Ctrl-C."""
    from react_ros.runner import Runner

    chosen = {
        "source": camera, "microphone": mic, "generator": generator, "seed": str(seed), "samples": str(samples),
        "namespace": namespace, "device": device, "rendering": str(rendering).lower(), "view_port": str(view_port),
        "window": str(window).lower(), "loop": str(loop).lower(), "record": record, "privacy": privacy,
        "use_sim_time": str(sim_time).lower(), "config": config,
        # Picture and sound of files begin together, once every node is there.
        "start_at": str(time.time() + 8.0),
    }  # fmt: skip
    try:
        processes = bringup.processes(chosen)
    except ValueError as error:
        raise fail(error) from None
    if view_port:
        print(f"human and avatar: http://127.0.0.1:{view_port}   (Ctrl-C ends the robot)", flush=True)
    if composed:
        import os

        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        os.environ.update(bringup.environment())
        from react_ros.nodes.composed import run_composed

        raise typer.Exit(run_composed([(p.executable, p.ros_arguments) for p in processes]))
    raise typer.Exit(Runner(processes).run())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for film, bag and page")] = Path("demo"),
    camera: Annotated[str, typer.Option(help="live: camera number or address; without: real footage")] = "",
    mic: Annotated[str, typer.Option(help="live: default or a device's name; without: a real recorded voice")] = "",
    generator: Annotated[str, _option("generator", "--generator")] = registry.DEFAULT,
    seed: Annotated[int, _option("seed", "--seed")] = 0,
    seconds: Annotated[float, typer.Option(help="how long; 0: the whole film, or until Ctrl-C", min=0.0)] = 0.0,
    view_port: Annotated[int, typer.Option(help="live page; 0: none; default: 8025 with a camera")] = -1,
    window: Annotated[bool, _option("window", "--window")] = False,
) -> None:
    """Run the whole robot on a real face and voice; leaves a film, a bag and a one-page report."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from react_ros.cli.demo import DemoError, DemoOptions, run_demo

    port = (8025 if camera else 0) if view_port < 0 else view_port
    if port:
        print(f"human and avatar: http://127.0.0.1:{port}", flush=True)
    options = DemoOptions(out, camera, mic, generator, seed, seconds, port, window)
    try:
        with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), transient=True) as bar:
            task = bar.add_task("the robot starts", total=None)

            def show(what: str, done: float, total: float) -> None:
                bar.update(task, description=what, completed=done, total=total)

            code = run_demo(options, bar.console.print, show)
    except (DemoError, FileNotFoundError, ValueError) as error:
        raise fail(error) from None
    if code:
        raise typer.Exit(code)
    print(f"film:   {out / 'avatar.mp4'}\nreport: {out / 'report.html'}\nbag:    {out / 'bag'}")


@app.command()
def generators() -> None:
    """List the systems that can listen."""
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what it is", "delay", "learned", box=None, padding=(0, 2, 1, 0))
    for name in registry.names():
        info = registry.describe(name)
        summary = info.summary + (f"\n{info.notice}" if info.notice else "")
        table.add_row(
            name, summary.replace("[", "\\["), f"{40 * info.delay_frames} ms", "yes" if info.learned else "no"
        )
    Console().print(table)


@app.command()
def doctor() -> None:
    """Tell what this machine has, and for each thing missing the one command that mends it."""
    from react_ros.cli.doctor import examine

    raise typer.Exit(examine())


assets_app = typer.Typer(no_args_is_help=True, help="Files that are too big to ship: the face model, demo footage.")
app.add_typer(assets_app, name="assets")


@assets_app.command("fetch")
def fetch_assets(
    names: Annotated[list[str] | None, typer.Argument(help="which; all without any (react-ros assets list)")] = None,
) -> None:
    """Bring files into the cache and verify them. The only part of react_ros that uses the network."""
    from react_ros import assets

    try:
        for path in assets.fetch(names or tuple(assets.ASSETS), progress=lambda line: print(line, flush=True)):
            print(path)
    except (assets.FetchFailed, ValueError) as error:
        raise fail(error) from None


@assets_app.command("list")
def list_assets() -> None:
    """List the files, where they are and under which licence."""
    from react_ros import assets

    for asset in assets.ASSETS.values():
        try:
            where = str(assets.resolve(asset.name))
        except FileNotFoundError:
            where = "missing"
        print(f"{asset.name:16} {asset.size / 1e6:5.1f} MB  {asset.what} ({asset.licence}): {where}")


bench_app = typer.Typer(no_args_is_help=True, help="Measure this machine. Nothing here passes or fails.")
app.add_typer(bench_app, name="bench")


@bench_app.command("live")
def bench_live(
    seconds: Annotated[float, typer.Option(help="how long to measure", min=5.0)] = 30.0,
    generator: Annotated[str, _option("generator", "--generator")] = registry.DEFAULT,
) -> None:
    """Sensor stamp to face message, over DDS, with all five nodes on 640x480 at 25 frames a second."""
    from react_ros.cli.bench_live import BenchError, live

    try:
        live(seconds, generator)
    except (BenchError, FileNotFoundError, ValueError) as error:
        raise fail(error) from None


@bench_app.command("perception")
def bench_perception(seconds: Annotated[float, typer.Option(help="of footage", min=1.0)] = 10.0) -> None:
    """What a frame costs: face landmarks, affect, sound features, speech detection."""
    from react_ros.cli.bench_live import perception

    try:
        perception(seconds)
    except (FileNotFoundError, ValueError) as error:
        raise fail(error) from None


@bench_app.command("metrics")
def bench_metrics(
    memory: Annotated[bool, typer.Option("--memory", help="also measure the memory of a whole test set")] = False,
) -> None:
    """FRCorr, FRDist and FRSyn against the libraries and loops of the challenge's own code, in one run."""
    from react_ros.cli.bench_metrics import bench_metrics

    try:
        bench_metrics(memory=memory)
    except ValueError as error:
        raise fail(error) from None


bench_app.command("generators")(bench_generators.bench_generators)
bench_app.command("replay")(sessions.bench_replay)
app.add_typer(corpus.app, name="corpus")
app.command()(train.train)
app.command()(ablation.ablation)
app.command()(evaluate.evaluate)
app.command()(sessions.record)
app.command()(sessions.replay)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)
