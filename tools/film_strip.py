"""Makes a strip of a speaker and the avatar's answer, a picture every half second: no image of the person is kept.

    .venv/bin/python tools/film_strip.py CLIP.npz docs/strips/NAME.jpg [SYSTEM] [FROM_S TO_S]

Above: the avatar with the speaker's own blendshapes and head, as perception saw them; a dot where they speak. Below:
what the listener shows (sample 0 of seed 1). CLIP is a clip as `write_clip` of evaluation/responsiveness/clips.py
writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from react_ros.avatar.motion import FaceMotion, Pose
from react_ros.avatar.render import Renderer
from react_ros.evaluation.responsiveness.clips import read_clip
from react_ros.face import FPS
from react_ros.generators import registry

SIZE, EVERY = 112, FPS // 2


def main() -> None:
    clip, out, *rest = sys.argv[1:]
    name = rest[0] if rest else registry.DEFAULT
    begin, end = (float(x) for x in rest[1:3]) if len(rest) >= 3 else (0.0, 1e9)
    frames = read_clip(Path(clip))
    stream, motion, renderer = registry.create(name).start(seed=1), FaceMotion(), Renderer(SIZE * 2, SIZE * 2)
    rest_pose = np.median([f.face.rotation for f in frames if f.face.state.present], axis=0)
    columns = []
    for k, frame in enumerate(frames):
        reaction = stream.step(frame)
        target = Pose(reaction.blendshapes[0], reaction.rotation[0], reaction.translation[0])
        shown = motion.step(target, 1.0 / FPS)
        if k % EVERY or not begin <= k / FPS <= end:
            continue
        face = frame.face
        spoken = Pose(face.blendshapes, (face.rotation - rest_pose).astype(np.float32), np.zeros(3, np.float32))
        pair = [cv2.resize(renderer.draw(p), (SIZE, SIZE), interpolation=cv2.INTER_AREA) for p in (spoken, shown)]
        if frame.sound.speech_probability > 0.5:
            cv2.circle(pair[0], (SIZE - 10, 10), 4, (240, 180, 60), -1, cv2.LINE_AA)
        cv2.putText(pair[0], f"{k / FPS:.1f}", (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (230, 230, 230), 1, cv2.LINE_AA)
        columns.append(np.concatenate(pair, axis=0))
    rows = [columns[i : i + 12] for i in range(0, len(columns), 12)]
    blank = np.full_like(columns[0], 24)
    strip = np.concatenate([np.concatenate(r + [blank] * (12 - len(r) if len(rows) > 1 else 0), axis=1) for r in rows])
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(out, cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])


main()
