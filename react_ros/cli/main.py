"""The command line, `react-ros`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from react_ros import __version__, bringup
from react_ros.cli import ablation, bench_generators, corpus, evaluate, robot, sessions, train
from react_ros.cli.examples import add_examples
from react_ros.cli.launch_options import option, with_launch_options
from react_ros.cli.page_address import PageAddress
from react_ros.cli.progress import progress_display
from react_ros.cli.terminal import fail, plain_console, user_errors
from react_ros.generators import registry

app = typer.Typer(
    name="react-ros",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A robot face that listens to a person, live. Start with `react-ros doctor` and `react-ros demo`."""


@app.command()
@with_launch_options
def run(chosen: dict[str, str]) -> None:
    """Start the robot: camera, microphone, perception, listener and avatar, until Ctrl-C."""
    from react_ros import dds
    from react_ros.runner import Runner

    # Picture and sound of files start together, once every node is up.
    chosen["start_at"] = str(time.time() + bringup.START_S)
    try:
        processes = bringup.processes(chosen)
        if chosen["config"]:
            from react_ros.nodes.parameter_file import check_parameter_file

            check_parameter_file(chosen["config"], chosen["namespace"])
    except ValueError as error:
        raise fail(error) from None
    dds.remove_dead_segments()
    for notice in dds.notices():
        print(notice, file=sys.stderr)
    address = page_address(int(chosen["view_port"]), "   (Ctrl-C ends the robot)")
    raise typer.Exit(Runner(processes).run(until=address))


def page_address(port: int, advice: str = "") -> PageAddress:
    """Prints the live page's address once it is there. port: 0: there is none."""
    return PageAddress(port, f"human and avatar: http://127.0.0.1:{port}{advice}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for film, bag and report")] = Path("demo"),
    camera: Annotated[str, typer.Option(help="live: camera number or address; default: recorded footage")] = "",
    mic: Annotated[str, typer.Option(help="live: default or a device name; default: a recorded voice")] = "",
    generator: Annotated[str, option("generator")] = registry.DEFAULT,
    seed: Annotated[int, option("seed")] = 0,
    seconds: Annotated[float, typer.Option(help="duration, s; 0: the whole film, or until Ctrl-C", min=0.0)] = 0.0,
    view_port: Annotated[int, typer.Option(help="port of the live page; 0: none; default: 8025 with a camera")] = -1,
    window: Annotated[bool, option("window")] = False,
) -> None:
    """Run the whole robot on a real face and voice; leaves a film, a bag and a one-page report."""
    from react_ros.cli.demo import DemoError, DemoOptions, run_demo

    port = (8025 if camera else 0) if view_port < 0 else view_port
    options = DemoOptions(out, camera, mic, generator, seed, seconds, port, window)
    try:
        page_address(port).watch()
        with progress_display() as display:
            code = run_demo(options, display.print, display.update)
    except (DemoError, FileNotFoundError, ValueError) as error:
        raise fail(error) from None
    if code:
        raise typer.Exit(code)
    print(f"film:   {out / 'avatar.mp4'}\nreport: {out / 'report.html'}\nbag:    {out / 'bag'}")


@app.command()
def generators(
    name: Annotated[str, typer.Argument(help="describe this one: its inputs and parameters", metavar="[NAME]")] = "",
) -> None:
    """List the listener systems, or describe one of them with its parameters, e.g. react-ros generators attentive."""
    from rich.console import Console
    from rich.table import Table

    if name:
        with user_errors():
            _describe(name)
        return
    table = Table("name", "what it is", "delay", "learned", box=None, padding=(0, 2, 1, 0))
    for name in registry.names():
        info = registry.describe(name)
        summary = info.summary + (f"\n{info.notice}" if info.notice else "")
        table.add_row(
            name, summary.replace("[", "\\["), f"{40 * info.delay_frames} ms", "yes" if info.learned else "no"
        )
    Console().print(table)


def _describe(name: str) -> None:
    """Print what a system is, what it uses, and its parameters. Raises ValueError, in one sentence."""
    from rich.table import Table
    from rich.text import Text

    from react_ros.generators.description import describe_parameters

    parameters = describe_parameters(name)
    info = registry.describe(name)
    print(f"{name}: {info.summary}")
    if info.notice:
        print(info.notice)
    print(f"uses of the speaker: {', '.join(info.inputs) or 'nothing'}")
    print(f"delay: {40 * info.delay_frames} ms; {'learned' if info.learned else 'a rule'}", end="; ")
    print("another seed gives another listener" if info.stochastic else "all seeds give the same listener")
    table = Table("parameter", "default", "allowed", "meaning", box=None, padding=(0, 2, 0, 0))
    for p in parameters:
        default = "none" if p.default is None else '""' if p.default == "" else str(p.default).lower()
        table.add_row(p.name, default, p.allowed, Text(p.meaning))
    plain_console().print(table)
    first = next((p for p in parameters if isinstance(p.default, float)), parameters[-1])
    print(f"for example: react-ros run --generator {name},{first.name}={first.default}")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print the results as JSON")] = False,
) -> None:
    """Check this machine; for everything that is missing, print the command that installs or fixes it.

    Cameras and the default microphone are opened for a second: do they give pictures and sound?
    """
    from react_ros.cli.doctor import run_checks

    raise typer.Exit(run_checks(as_json))


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(help="duration; each fault comes at least once", min=0.0)] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Markdown file for the table; default: stdout")] = None,
) -> None:
    """Kill and stop the nodes of a whole running robot in turn; tell what each fault costs."""
    from react_ros.cli.soak import SoakError, table
    from react_ros.cli.soak import soak as run_soak

    try:
        text = table(run_soak(minutes, lambda line: print(line, flush=True)))
    except (SoakError, FileNotFoundError, ValueError) as error:
        raise fail(error) from None
    if out is None:
        print(text)
    else:
        out.write_text(text)
        print(out)


assets_app = typer.Typer(no_args_is_help=True, help="Files that are not shipped: the face model, demo footage.")
app.add_typer(assets_app, name="assets")


@assets_app.command("fetch")
def fetch_assets(
    names: Annotated[list[str] | None, typer.Argument(help="names (react-ros assets list); default: all")] = None,
) -> None:
    """Download files into the cache and verify them. The only command that uses the network."""
    from react_ros import assets

    try:
        for path in assets.fetch(names or tuple(assets.ASSETS), progress=lambda line: print(line, flush=True)):
            print(path)
    except (assets.FetchFailed, ValueError) as error:
        raise fail(error) from None


@assets_app.command("list")
def list_assets() -> None:
    """List the files with their paths and licences."""
    from react_ros import assets

    for asset in assets.ASSETS.values():
        try:
            path = str(assets.resolve(asset.name))
        except FileNotFoundError:
            path = "missing"
        print(f"{asset.name:16} {asset.size / 1e6:5.1f} MB  {asset.what} ({asset.licence}): {path}")


@assets_app.command("clear")
def clear_assets(
    downloads: Annotated[bool, typer.Option("--downloads", help="also delete the downloaded files")] = False,
) -> None:
    """Delete what is kept of people's faces and voices in the cache: features of films, of audio, of clips."""
    from react_ros import assets

    with user_errors():
        files, size = assets.clear(downloads=downloads)
    print(f"{assets.cache_dir()}: {files} files, {size / 1e6:.1f} MB deleted")


bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks of this machine: figures without pass or fail.")
app.add_typer(bench_app, name="bench")


@bench_app.command("live")
def bench_live(
    seconds: Annotated[float, typer.Option(help="duration of the measurement, s", min=5.0)] = 30.0,
    generator: Annotated[str, option("generator")] = registry.DEFAULT,
) -> None:
    """Latency from sensor stamp to face message over DDS: all five nodes, 640x480 at 25 frames a second."""
    from react_ros.cli.bench_live import BenchError, live

    try:
        live(seconds, generator)
    except (BenchError, FileNotFoundError, ValueError) as error:
        raise fail(error) from None


@bench_app.command("perception")
def bench_perception(seconds: Annotated[float, typer.Option(help="of footage, s", min=1.0)] = 10.0) -> None:
    """Cost of a frame: face landmarks, affect, acoustic features, speech detection."""
    from react_ros.cli.bench_live import perception

    try:
        perception(seconds)
    except (FileNotFoundError, ValueError) as error:
        raise fail(error) from None


@bench_app.command("metrics")
def bench_metrics(
    memory: Annotated[bool, typer.Option("--memory", help="also measure the memory for a whole test set")] = False,
) -> None:
    """FRCorr, FRDist and FRSyn against the libraries and loops of the challenge's code, in one run."""
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
app.command("set")(robot.set_parameter)
app.command()(robot.status)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


add_examples(app)
