"""Stop signals, heartbeats, hangs and restarts, without ROS: real processes and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from react_ros.bringup import Process
from react_ros.runner import Runner
from react_ros.supervision.heartbeats import VARIABLE, Heartbeat, HeartbeatSocket
from react_ros.supervision.restarts import DELAYS_S, HEALTHY_S, Restarts
from react_ros.supervision.stop_signals import StopSignals
from react_ros.supervision.supervisor import HangGuard, SupervisorFolder
from react_ros.supervision.watch import HUNG_S, Watch


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.005)


# Stop signals


def test_hundreds_of_ctrl_c_in_a_row_never_deadlock_who_waits_for_them():
    code = """
from react_ros.supervision.stop_signals import StopSignals
with StopSignals() as stop:
    print("ready", flush=True)
    while stop.count < 300:
        stop.wait(0.001)
        stop.request() if not stop.count % 7 else None
print("ended", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        sent = 0
        while process.poll() is None and sent < 100_000:
            process.send_signal(signal.SIGINT if sent % 2 else signal.SIGTERM)
            sent += 1
            if sent > 1000:
                time.sleep(0.001)
            if sent > 5000:
                process.kill()
        said = process.stdout.read()
    # Once it has ended its handlers are those of before, and one more signal may end it.
    assert "ended" in said or process.returncode in (-signal.SIGINT, -signal.SIGTERM), process.returncode
    assert process.returncode != -signal.SIGKILL, "it hangs"


def test_a_wait_ends_with_a_signal_and_with_a_request_and_handlers_return_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        assert stop.wait(20.0) and time.monotonic() - began < 10.0
        assert (stop.count, stop.last) == (1, signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    stop = StopSignals()
    assert not stop.wait(0.0)
    threading.Timer(0.05, stop.request).start()
    assert stop.wait(20.0) and stop.last is None


def test_only_the_first_signal_is_taken_where_a_second_one_shall_act_as_usual():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores SIGINT
    try:
        with StopSignals(only_first=True) as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.is_set()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


# Restarts


def test_five_deaths_over_an_hour_are_restarted_at_once_and_deaths_in_a_row_ever_later():
    history = Restarts()
    for hour in range(5):
        history.ready(3600.0 * hour)
        assert history.died(3600.0 * hour + 60.0) == 0.0
    history = Restarts()
    delays = [history.died(0.1 * n) for n in range(9)]
    assert delays == [*DELAYS_S, DELAYS_S[-1], DELAYS_S[-1]] and delays[0] == 0.0
    assert history.total == 9 and not history.was_ready
    history.ready(100.0)
    assert history.died(100.0 + HEALTHY_S - 1.0) == DELAYS_S[-1], "not yet healthy"
    history.ready(200.0)
    assert history.died(200.0 + HEALTHY_S) == 0.0


# Hangs


BEATING = """
import sys, time
from react_ros.supervision.heartbeats import Heartbeat
heartbeat = Heartbeat()
heartbeat.ready()
print("ready", flush=True)
hang = time.monotonic() + float(sys.argv[1])
while time.monotonic() < hang:
    time.sleep(0.02)
    heartbeat.beat()
if sys.argv[2:] == ["stuck"]:
    heartbeat.stuck("its thread has ended")
elif sys.argv[2:] == ["spin"]:
    while True:
        pass
time.sleep(600)
"""


@pytest.fixture
def watched() -> Iterator[tuple[Watch, Callable[..., subprocess.Popen[str]]]]:
    folder = SupervisorFolder()
    sockets = HeartbeatSocket(folder.path)
    watch, running = Watch(sockets), []

    def start(*arguments: str) -> subprocess.Popen[str]:
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", BEATING, *arguments], text=True, stdout=subprocess.PIPE,
                env={**os.environ, VARIABLE: str(folder.path)},
            )
        )  # fmt: skip
        watch.started(running[-1].pid)
        return running[-1]

    yield watch, start
    for process in running:
        process.kill()
        process.communicate()
    sockets.close()
    folder.close()


def wait_hung(watch: Watch, process: subprocess.Popen[str], seconds: float) -> str:
    found: list[str] = []
    until(lambda: found.extend(r for p, r in watch.hung().items() if p == process.pid) or found, seconds, "a hang")
    return found[0]


def test_processes_that_stop_or_hang_are_noticed_and_others_are_not(watched):
    watch, start = watched
    good, sleeping, spinning, stuck = start("600"), start("0"), start("0", "spin"), start("0", "stuck")
    for process in (good, sleeping, spinning, stuck):
        assert process.stdout.readline() == "ready\n"
    assert wait_hung(watch, stuck, 10) == "its thread has ended"
    assert "main loop" in wait_hung(watch, sleeping, 30)
    assert "main loop" in wait_hung(watch, spinning, 30)
    assert watch.ready(good.pid) and good.pid not in watch.hung()
    good.send_signal(signal.SIGSTOP)
    assert wait_hung(watch, good, 10) == "it was stopped (SIGSTOP)"
    good.send_signal(signal.SIGCONT)
    until(lambda: good.pid not in watch.hung(), 10, "it to go on")
    assert watch.ended(good.pid) and not watch.ended(12345)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_neither_a_start_nor_a_pause_of_the_supervisor_itself_is_a_hang(monkeypatch: pytest.MonkeyPatch):
    folder, clock = SupervisorFolder(), Clock()
    sockets = HeartbeatSocket(folder.path)
    watch, pid = Watch(sockets, clock), os.getpid()
    monkeypatch.setenv(VARIABLE, str(folder.path))
    heartbeat = Heartbeat()

    def pass_time(seconds: float) -> dict[int, str]:
        found: dict[int, str] = {}
        for _ in range(round(seconds / 0.2)):
            clock.now += 0.2
            found |= watch.hung()
        return found

    watch.started(pid)
    assert pass_time(30) == {}, "it is starting"
    assert pid in pass_time(40), "it never started"
    heartbeat.ready()
    assert pass_time(0.4) == {} and watch.ready(pid)
    clock.now += 50.0
    assert watch.hung() == {}, "this process itself did not run"
    assert pid in pass_time(HUNG_S + 1.0)
    heartbeat.busy()
    assert pass_time(30) == {}, "a lifecycle transition takes its time"
    heartbeat.ready()
    assert pass_time(0.4) == {}
    assert pid in pass_time(HUNG_S + 1.0)
    sockets.close()
    folder.close()


def test_time_in_which_a_process_waited_for_a_processor_is_no_hang(monkeypatch: pytest.MonkeyPatch):
    from react_ros.supervision import watch as module

    folder, clock = SupervisorFolder(), Clock()
    sockets = HeartbeatSocket(folder.path)
    watch, pid = Watch(sockets, clock), os.getpid()
    monkeypatch.setenv(VARIABLE, str(folder.path))
    share = 1.0
    monkeypatch.setattr(module, "_run_delays", lambda pid: {"1": share * clock.now, "2": 0.0})
    watch.started(pid)
    Heartbeat().ready()
    for share, hangs in ((1.0, False), (0.0, True)):
        Heartbeat().ready()
        found: dict[int, str] = {}
        for _ in range(50):
            clock.now += 0.2
            found |= watch.hung()
        assert bool(found) == hangs, share
    sockets.close()
    folder.close()


def test_under_launch_a_hanging_process_is_ended_so_that_launch_restarts_it(watched):
    said: list[str] = []
    guard = HangGuard(said.append)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", BEATING, "0"], env={**os.environ, VARIABLE: str(guard.folder.path)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.wait(30) == -signal.SIGKILL
        assert len(said) == 1 and str(process.pid) in said[0] and "main loop" in said[0]
        assert guard.ended(process.pid), "it had been configured"
    finally:
        guard.close()
    assert not guard.folder.path.exists()


# The runner


class Script(Process):
    """A process that runs a Python text instead of a node."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.parameters["code"]]  # type: ignore[list-item]


def script(name: str, code: str) -> Script:
    unblocked = "import signal; signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT});"
    return Script(name, "robot", {"code": unblocked + code})


def test_a_sensor_that_keeps_dying_never_ends_the_robot_and_the_end_leaves_nothing(tmp_path: Path):
    said: list[str] = []
    runner = Runner(
        [script("camera", "raise SystemExit(3)"), script("avatar", "import time; time.sleep(600)")], log=said.append
    )
    folder = runner._folder.path
    assert folder.is_dir()
    until(lambda: runner.poll() or runner.children["camera"].restarts >= 3, 30, "three deaths")
    assert runner.children["avatar"].popen.poll() is None
    assert said[:2] == [
        "camera ended with exit code 3; restarting it",
        "camera ended with exit code 3, 2 times in a row; restarting it in 0.5 s",
    ]
    runner.end()
    runner.end()
    assert all(child.popen.returncode is not None for child in runner.children.values()) and not folder.exists()


def test_a_node_that_never_comes_up_ends_the_run_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("react_ros.supervision.restarts.DELAYS_S", (0.0,))
    said: list[str] = []
    assert Runner([script("avatar", "raise SystemExit(3)")], log=said.append).run() == 1
    assert said[-1] == "avatar ends before it is ready, 6 times in a row (exit code 3): giving up"


CONFIGURED_ONCE = """
import os, sys, time
from react_ros.supervision.heartbeats import Heartbeat
if os.path.exists({marker!r}):
    raise SystemExit(2)
open({marker!r}, "w").close()
Heartbeat().ready()
time.sleep({seconds})
raise SystemExit(7)
"""


def test_an_invalid_configuration_ends_the_run_at_the_start_only(tmp_path: Path):
    said: list[str] = []
    assert Runner([script("microphone", "raise SystemExit(2)")], log=said.append).run() == 2
    assert said == []
    code = CONFIGURED_ONCE.format(marker=str(tmp_path / "ran"), seconds=0.3)
    runner = Runner([script("microphone", code)], log=said.append)
    until(lambda: runner.poll() or runner.children["microphone"].restarts >= 3, 30, "three deaths")
    assert runner.exit_code == 0 and "exit code 2" in said[-1], "a device that was there may come back"
    runner.end()


def test_a_process_that_hangs_is_restarted_and_the_reason_is_said(tmp_path: Path):
    said: list[str] = []
    runner = Runner([script("camera", f"import sys; sys.argv = ['', '0']\n{BEATING}")], log=said.append)
    until(lambda: runner.poll() or said, 30, "the hang")
    assert said[0].startswith("camera hung: its main loop has not run for 2 s; restarting it")
    until(lambda: runner.poll() or runner._watch.ready(runner.children["camera"].popen.pid), 20, "the next one")
    runner.end()


def test_ctrl_c_pressed_twenty_times_always_ends_the_runner(tmp_path: Path):
    code = (
        "from react_ros.runner import Runner; from test_supervision import script; import sys;"
        "r = Runner([script('camera', 'import time; time.sleep(600)')]); print('ready', flush=True); sys.exit(r.run())"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for presses in (1, 2, 20):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            for _ in range(presses):
                process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            finally:
                process.kill()
        assert process.returncode in (130, -signal.SIGINT), (presses, process.returncode)
