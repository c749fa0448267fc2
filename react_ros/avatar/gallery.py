"""Contact sheet of the avatar's face, for checking changes of the renderer by eye."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

import cv2
import numpy as np

from react_ros.avatar.motion import Pose
from react_ros.avatar.render import Image, Renderer
from react_ros.face import ARKIT_INDEX


def pose(
    weights: Mapping[str, float] | None = None,
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Pose:
    """A pose from named blendshapes; a name without Left or Right sets both sides. Raises KeyError for unknown ones."""
    blendshapes = np.zeros(len(ARKIT_INDEX), np.float32)
    for name, weight in (weights or {}).items():
        for full in (name,) if name in ARKIT_INDEX else (name + "Left", name + "Right"):
            blendshapes[ARKIT_INDEX[full]] = weight
    return Pose(blendshapes, np.array(rotation, np.float32), np.array(translation, np.float32))


POSES: Mapping[str, Pose] = {
    "neutral": pose(),
    "smile": pose({"mouthSmile": 0.8, "cheekSquint": 0.5, "eyeSquint": 0.2, "mouthDimple": 0.2}),
    "laugh": pose(
        {
            "mouthSmile": 1.0,
            "jawOpen": 0.55,
            "mouthUpperUp": 0.45,
            "cheekSquint": 0.8,
            "eyeSquint": 0.5,
            "browOuterUp": 0.3,
        }
    ),
    "sad": pose({"mouthFrown": 0.8, "browInnerUp": 0.9, "mouthShrugLower": 0.4, "eyeLookDown": 0.3, "mouthPress": 0.2}),
    "surprise": pose({"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.9, "jawOpen": 0.55, "mouthFunnel": 0.2}),
    "anger": pose(
        {"browDown": 1.0, "eyeSquint": 0.4, "mouthPress": 0.7, "noseSneer": 0.3, "mouthFrown": 0.35, "eyeWide": 0.2}
    ),
    "disgust": pose({"noseSneer": 1.0, "mouthUpperUp": 0.6, "browDown": 0.6, "eyeSquint": 0.5, "mouthFrown": 0.4}),
    "blink": pose({"eyeBlink": 1.0}),
    "wink": pose({"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.7, "mouthSmileLeft": 0.7, "mouthSmileRight": 0.3}),
    "look to own left": pose({"eyeLookOutLeft": 0.9, "eyeLookInRight": 0.9}),
    "look to own right": pose({"eyeLookInLeft": 0.9, "eyeLookOutRight": 0.9}),
    "look up": pose({"eyeLookUp": 0.9}),
    "look down": pose({"eyeLookDown": 0.9}),
    "jaw open": pose({"jawOpen": 0.9}),
    "pucker": pose({"mouthPucker": 0.9}),
    "tongue": pose({"tongueOut": 1.0, "jawOpen": 0.35, "mouthSmile": 0.3}),
    "yaw +0.5": pose(rotation=(0.0, 0.5, 0.0)),
    "yaw -0.5": pose({"mouthSmile": 0.6, "cheekSquint": 0.3}, rotation=(0.0, -0.5, 0.0)),
    "pitch +0.4": pose(rotation=(0.4, 0.0, 0.0)),
    "pitch -0.4": pose(rotation=(-0.4, 0.0, 0.0)),
    "roll +0.3": pose(rotation=(0.0, 0.0, 0.3)),
    "roll -0.3": pose({"mouthSmile": 0.5, "browInnerUp": 0.4}, rotation=(0.0, 0.0, -0.3)),
    "cheek puff": pose({"cheekPuff": 1.0}),
    "doubt": pose(
        {"browOuterUpLeft": 0.9, "browDownRight": 0.6, "mouthLeft": 0.6, "mouthPress": 0.3, "mouthDimpleLeft": 0.6}
    ),
}
"""Poses on the sheet, by caption."""


def contact_sheet(size: int = 256, columns: int = 6) -> Image:
    """Every pose of `POSES` with its caption: (rows * size, columns * size, 3) uint8 RGB."""
    renderer = Renderer(512, 512)
    cells = []
    for caption, shown in POSES.items():
        cell = cv2.resize(renderer.draw(shown), (size, size), interpolation=cv2.INTER_AREA)
        cv2.putText(cell, caption, (8, size - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 240, 242), 1, cv2.LINE_AA)
        cells.append(cell)
    blank = np.zeros((size, size, 3), np.uint8)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows, axis=0)


def main() -> int:
    """Write the sheet to the path given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="output file, e.g. sheet.png")
    out = parser.parse_args().out
    if not cv2.imwrite(out, cv2.cvtColor(contact_sheet(), cv2.COLOR_RGB2BGR)):
        print(f"cannot write {out}: it must be a path ending in .png in an existing folder", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
