"""The microphone node on a sound device: PortAudio records what PulseAudio plays into a virtual microphone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sound_server

from react_ros import assets
from react_ros.media.sound_reader import read_sound
from react_ros.messages.stamps import nanoseconds
from react_ros.msg import AudioChunk, SpeakerFeatures

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sound_server.SoundServer]:
    if (missing := sound_server.missing()) and "CI" not in os.environ:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install pulseaudio pulseaudio-utils libasound2-plugins")
    monkeypatch.setenv("REACT_ROS_CACHE", str(assets.cache_dir()))  # HOME is about to be another one
    server = sound_server.SoundServer(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


def placed(voice: np.ndarray, heard: np.ndarray) -> tuple[int, float]:
    """Index in `heard` at which the voice begins, and the correlation there (1: equal except for loudness)."""
    n = 1 << (len(heard) + len(voice)).bit_length()
    products = np.fft.irfft(np.fft.rfft(heard, n) * np.fft.rfft(voice, n).conj(), n)[: len(heard) - len(voice) + 1]
    sums = np.concatenate([[0.0], np.cumsum(heard**2)])
    energies = sums[len(voice) :] - sums[: -len(voice)]
    fit = products / np.sqrt(energies * (voice**2).sum() + 1e-12)
    return int(fit.argmax()), float(fit.max())


def test_a_microphone_is_recorded_with_true_times_and_comes_back_after_its_loss(server, start_robot, tmp_path):
    voice_file = assets.resolve("demo-voice-2")
    robot = start_robot(
        only=("microphone", "perception"), source="none", microphone="default", topics={"audio": AudioChunk}
    )
    probe = robot.probe
    robot.wait(lambda: len(probe["audio"]) > 25, 40, "the microphone")
    started_ns = probe.node.get_clock().now().nanoseconds
    player = server.play(voice_file)
    robot.wait(lambda: player.poll() is not None, 20, "the end of the voice")
    heard_so_far = len(probe["audio"])
    robot.wait(lambda: len(probe["audio"]) > heard_so_far + 25, 10, "half a second of silence")

    with_arrival = list(probe.messages["audio"])
    chunks = [m for _, m in with_arrival]
    assert {(m.sample_rate, m.channels, m.header.frame_id, len(m.pcm)) for m in chunks} == {
        (16_000, 1, "microphone", 320)
    }
    first = np.array([m.first_sample for m in chunks], np.int64)
    assert (np.diff(first) == 320).all(), "no chunk is lost, and sample indices are consecutive"

    # What was played is what was heard, and nothing of it is missing in the middle.
    voice = read_sound(voice_file)[0][:, 0] / 32768
    sound = np.concatenate([np.asarray(m.pcm, np.int16) for m in chunks]) / 32768
    at, fit = placed(voice, sound)
    assert fit > 0.95, (fit, at, player.returncode)
    at += first[0]
    halves = [placed(half, sound) for half in np.array_split(voice, 2)]
    assert abs(halves[1][0] - halves[0][0] - (len(voice) + 1) // 2) <= 16

    # Its times are those of the capture: they run with the samples, and lie where the playing was. (Asked of the second
    # half: when playing begins, PulseAudio first calls its loudspeaker's buffer of up to 0.3 s the microphone's delay.)
    stamps = np.array([nanoseconds(m.header.stamp) for m in chunks]) / 1e9
    ages = np.array([arrival / 1e9 for arrival, _ in with_arrival]) - stamps
    settled = first >= at + len(voice) / 2
    zero = (stamps - first / 16_000)[settled]
    assert len(zero) > 50 and np.abs(zero - np.median(zero)).max() < 0.02
    assert 0.019 < np.median(ages[settled]) < 0.1, "stamped with its first sample, not with its arrival"
    onset = float(np.median(zero)) + at / 16_000
    assert -0.02 < onset - started_ns / 1e9 < 1.5

    speech = [m for m in probe["speaker/features"] if m.sound_state == SpeakerFeatures.SOUND_SPEECH]
    assert len(speech) > 0.3 * 25 * len(voice) / 16_000
    within = [onset - 0.2 < nanoseconds(m.header.stamp) / 1e9 < onset + len(voice) / 16_000 + 0.5 for m in speech]
    assert np.mean(within) > 0.95

    # The sound server ends: microphone and perception name it, and hear again when there is another one.
    def says(node: str, text: str) -> bool:
        return text in probe.diagnostics[f"/robot/{node}"].message

    server.daemon.kill()
    server.daemon.wait()
    robot.wait(lambda: says("microphone", "retrying"), 5, "a warning of the microphone")
    robot.wait(lambda: says("perception", "no sound messages on"), 5, "a warning of perception")
    assert probe["speaker/features"][-1].sound_state == SpeakerFeatures.SOUND_MISSING
    restarted = sound_server.SoundServer(tmp_path)
    try:
        probe.clear()
        robot.wait(lambda: len(probe["audio"]) > 25, 20, "audio again")
        robot.wait(lambda: probe["speaker/features"][-1].sound_state == SpeakerFeatures.SOUND_SILENCE, 5, "its silence")
        robot.wait(lambda: not says("microphone", "retrying"), 5, "the warning to go")
        # It hangs: the microphone says so, and the node ends in time all the same.
        restarted.daemon.send_signal(signal.SIGSTOP)
        robot.wait(lambda: says("microphone", "has sent nothing"), 5, "a warning of the microphone")
        robot.runner.end()
        assert {name: child.popen.returncode for name, child in robot.runner.children.items()} == {
            "microphone": 0, "perception": 0
        }  # fmt: skip
        assert robot.lines == []
    finally:
        restarted.daemon.send_signal(signal.SIGCONT)
        restarted.close()
