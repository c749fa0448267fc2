"""A virtual microphone: a PulseAudio server whose loudspeaker is connected to its microphone."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

PROGRAMS = ("pulseaudio", "pactl", "paplay")


def missing() -> list[str]:
    """Programs that are not installed (apt-get install pulseaudio pulseaudio-utils libasound2-plugins)."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class SoundServer:
    """Runs in `folder`; its microphone is the default one of processes with `environment`."""

    def __init__(self, folder: Path) -> None:
        socket = folder / "native"
        socket.unlink(missing_ok=True)  # of a server that was killed
        (folder / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        self.environment = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PULSE_SERVER": f"unix:{socket}"}
        self._env = {"PATH": "/usr/bin:/bin", **self.environment}
        modules = (
            f"module-native-protocol-unix socket={socket} auth-anonymous=1",
            "module-null-sink sink_name=speaker rate=48000 channels=1",
            "module-remap-source source_name=microphone master=speaker.monitor",
        )
        self._log = folder / "pulseaudio.log"
        with self._log.open("w") as log:
            self.daemon = subprocess.Popen(
                ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
                 "--log-target=stderr", *(f"--load={m}" for m in modules)],
                env=self._env, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while self._call("pactl", "set-default-source", "microphone") or self._call(
            "pactl", "set-default-sink", "speaker"
        ):
            assert self.daemon.poll() is None and time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        # While nothing is played, the monitor reports an age of up to a second (the buffer); playing silence avoids it.
        self._silence = subprocess.Popen(["pacat", "--playback", "/dev/zero"], env=self._env, stderr=subprocess.DEVNULL)

    def _call(self, *command: str) -> int:
        return subprocess.run(command, env=self._env, capture_output=True, timeout=10).returncode

    def play(self, file: Path) -> subprocess.Popen[bytes]:
        """Play a sound file through the loudspeaker."""
        return subprocess.Popen(["paplay", str(file)], env=self._env)

    def close(self) -> None:
        self._silence.kill()
        self._silence.wait()
        self.daemon.terminate()
        self.daemon.wait(10)
