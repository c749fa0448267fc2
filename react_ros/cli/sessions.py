"""`react-ros record`, `react-ros replay` and the benchmark of replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from react_ros.bags.manifest import PRIVACY
from react_ros.cli.choices import choice
from react_ros.cli.progress import progress
from react_ros.cli.terminal import AudioChannels, AudioRate, fail, lost_sensors, plain_console, user_errors
from react_ros.config import DEVICES
from react_ros.generators import registry
from react_ros.messages.namespace import parse_namespace

ROBOT_WITHIN_S = 3.0
"""Time after which `react-ros record` says that there is no robot."""


def record(
    out: Annotated[Path, typer.Argument(help="folder of the new bag", metavar="OUT")],
    namespace: Annotated[str, typer.Option(help="namespace of the robot to record", metavar="NAME")] = "robot",
    storage: Annotated[str, choice(("mcap", "sqlite3"), "storage format of the bag")] = "mcap",
    privacy: Annotated[
        str, choice(PRIVACY, "raw: everything; features: no images and no audio; topics: only those of --topic")
    ] = "raw",
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="with --privacy features: also the 478 landmarks of a face")
    ] = False,
    topic: Annotated[
        list[str] | None,
        typer.Option(help="record only this topic, absolute (/…) or in the namespace; repeatable"),
    ] = None,
    images: Annotated[
        str, choice(("jpeg", "raw", "none"), "how raw images are recorded: as jpeg, raw (unchanged) or none")
    ] = "jpeg",
) -> None:
    """Record a running robot until Ctrl-C. If the process or the disk fails, all but the last second can be read."""
    import json
    import os

    if privacy not in PRIVACY:
        raise fail(f"privacy must be one of {', '.join(PRIVACY)}, not {privacy!r}")
    if topic and privacy == "features":
        raise fail("--topic records the named topics, whether they show people or not: leave out --privacy features")
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    from react_ros.nodes.base import run
    from react_ros.nodes.recorder import RecorderNode

    parameters = {
        "path": str(out), "storage": storage, "images": images, "topics": ",".join(topic or ()),
        "privacy": "topics" if topic else privacy, "robot_within": ROBOT_WITHIN_S,
        "landmarks": landmarks,
    }  # fmt: skip
    try:
        namespace = parse_namespace(namespace)
    except ValueError as error:
        raise fail(error) from None
    arguments = ["--ros-args", "-r", f"__ns:={namespace}"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
    print(f"recording {namespace} into {out} ({parameters['privacy']}); Ctrl-C ends it", flush=True)
    code = run(RecorderNode, node_arguments=[arguments], then=lambda: print(_summary(out), flush=True))
    raise typer.Exit(code)


def _summary(out: Path) -> str:
    from react_ros.bags.errors import BagError
    from react_ros.bags.reader import Bag

    try:
        with Bag(out) as bag:
            topics = [t for t in bag.topics.values() if t.count]
            size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / 1e6
            return f"{out}: {bag.messages_count} messages of {len(topics)} topics, {bag.seconds:.1f} s, {size:.1f} MB"
    except BagError as error:
        return f"{error}"


def bench_replay(
    minutes: Annotated[float, typer.Option(help="length of the bag, min", min=0.1)] = 30.0,
    generator: Annotated[str, typer.Option(help="generator of the reactions")] = registry.DEFAULT,
    samples: Annotated[int, typer.Option(help="number of sampled listeners", min=1)] = 1,
) -> None:
    """Real-time factor of replaying a bag of features, and growth of memory."""
    from react_ros.cli.bench_generators import simulated_speaker
    from react_ros.cli.bench_replay import bench_replay as measure
    from react_ros.machine import describe_machine

    with user_errors(), progress(f"{minutes:g} minutes of features") as update:
        cost = measure(
            simulated_speaker(), minutes, generator, samples, lambda a, b: update(a // 1_000_000, b // 1_000_000)
        )
    early, late = cost.memory_mib
    print(describe_machine())
    print(
        f"{generator}, {samples} listeners: {cost.report.frames} frames in {cost.report.took:.1f} s, "
        f"{cost.report.speed:.1f} times real time; {early:.0f} MiB after a tenth of it, {late:.0f} MiB at the end"
    )


def replay(
    bag: Annotated[Path, typer.Argument(help="folder of a bag, or its .mcap or .db3 file", metavar="BAG")],
    out: Annotated[Path, typer.Option(help="folder of the new bag", metavar="DIR")] = Path("replay"),
    generator: Annotated[
        str, typer.Option(help="NAME[,parameter=value…] of the generator; default: as recorded", metavar="ROW")
    ] = "",
    seed: Annotated[int, typer.Option(help="default: as recorded", metavar="N", show_default=False)] = -1,
    samples: Annotated[
        int, typer.Option(help="number of sampled listeners; default: as recorded", metavar="N", show_default=False)
    ] = 0,
    source: Annotated[
        str, choice(("auto", "features", "raw"), "recorded features, raw camera and microphone, or auto")
    ] = "auto",
    features: Annotated[str, typer.Option(help="their topic, where there are several", metavar="TOPIC")] = "",
    image: Annotated[str, typer.Option(help="the camera's topic, where there are several", metavar="TOPIC")] = "",
    audio: Annotated[str, typer.Option(help="the microphone's topic, where there are several", metavar="TOPIC")] = "",
    audio_rate: AudioRate = 0,
    audio_channels: AudioChannels = 0,
    storage: Annotated[str, choice(("mcap", "sqlite3"), "storage format of the bag")] = "mcap",
    device: Annotated[str, choice(DEVICES, "device of a learned generator; default: as recorded")] = "",
    live: Annotated[bool, typer.Option("--live", help="publish the bag in real time, with /clock, instead")] = False,
    rate: Annotated[float, typer.Option(help="with --live: speed, times real time", min=0.01, max=100.0)] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="with --live: repeat until Ctrl-C")] = False,
    namespace: Annotated[
        str, typer.Option(help="with --live: replace the recorded robot's namespace by this one", metavar="NAME")
    ] = "",
    topic: Annotated[
        list[str] | None, typer.Option(help="with --live: publish only this topic; repeatable", metavar="TOPIC")
    ] = None,
) -> None:
    """Run perception and listener on a recorded session again: without ROS, faster than real time, reproducibly."""
    from react_ros.bags.audio_format import AudioFormat
    from react_ros.bags.errors import BagError
    from react_ros.bags.writer import STORAGES

    if live:
        import os

        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        from react_ros.nodes.player import play

        try:
            raise typer.Exit(play(bag, rate=rate, loop=loop, namespace=namespace, topics=topic or []))
        except (BagError, ValueError) as error:
            raise fail(error) from None
    from react_ros.evaluation.corpora.plan import parse_row
    from react_ros.replay.listeners import ReplayRequest
    from react_ros.replay.replay import replay as replay_bag

    if source not in ("auto", "features", "raw"):
        raise fail(f"source must be auto, features or raw, not {source!r}")
    if storage not in STORAGES:
        raise fail(f"storage must be {' or '.join(STORAGES)}, not {storage!r}")
    with user_errors():
        row = parse_row(generator) if generator else None
        request = ReplayRequest(
            row.name if row else None, dict(row.parameters) if row else {}, None if seed < 0 else seed,
            samples or None, None, device,
        )  # fmt: skip
        try:
            with progress("replaying") as update:
                report = replay_bag(
                    bag, out, request, source=source, features=features, image=image, audio=audio,
                    audio_format=AudioFormat(audio_rate, audio_channels), storage=storage,
                    progress=lambda done, total: update(done // 1_000_000, total // 1_000_000),
                )  # fmt: skip
        except BagError as error:
            raise fail(error) from None
    console = plain_console()
    for notice in report.notices:
        console.print(notice, markup=False)
    print(
        f"{report.frames} frames, {report.reactions} reactions: {report.seconds:.1f} s in {report.took:.1f} s, "
        f"{report.speed:.1f} times real time"
    )
    if report.perceiving:
        share = 100 * report.perceiving / report.took
        print(f"perception took {share:.0f} % of it: from raw sensors, the face landmarker limits the speed")
    compared = report.comparison
    if compared.compared:
        print(
            f"{compared.same} of {compared.compared} reactions are the recorded ones to the bit"
            + ("" if compared.same == compared.compared else f"; the largest difference is {compared.difference:.2g}")
        )
    print(f"bag: {out}")
    lost_sensors(report.lost)
