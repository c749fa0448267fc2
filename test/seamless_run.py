"""Runs `from_seamless FOLDER OUT` with short clips, as a program that can be killed; prints a line per interaction.

KILLS names an interaction that kills the process that perceives it, as a crash of a decoder would.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from react_ros.corpus import from_seamless

CLIP_FRAMES = 25
_perceive = from_seamless.from_video


def _with_accidents(footage: Any, corpus: Any, session: Any, **options: Any) -> Any:
    if session.name == os.environ.get("KILLS"):
        os.kill(os.getpid(), signal.SIGKILL)
    return _perceive(footage, corpus, session, **options)


# The processes of a pool import this file as well.
from_seamless.from_video = _with_accidents

if __name__ == "__main__":
    outcome = from_seamless.from_seamless(
        Path(sys.argv[1]), Path(sys.argv[2]), clip_frames=CLIP_FRAMES, jobs=2,
        progress=lambda done, total: print(f"{done} of {total}", flush=True),
    )  # fmt: skip
    print(f"{outcome.before} before", flush=True)
