"""Makes docs/picture.jpg: a portrait, and what the avatar answers to it after three seconds of looking.

    .venv/bin/python tools/make_picture.py PORTRAIT docs/picture.jpg

The portrait in docs/ is scikit-image's `astronaut` (Eileen Collins, NASA, public domain).
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from react_ros.avatar.motion import FaceMotion, Pose
from react_ros.avatar.render import Renderer
from react_ros.clock.frame_clock import FrameClock
from react_ros.face import FRAME_NS
from react_ros.generators import registry
from react_ros.media.film_writer import side_by_side
from react_ros.perception.pipeline import Perception

portrait = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
clock, perception, motion = FrameClock(), Perception(), FaceMotion()
stream = registry.create("attentive", expressiveness=1.4).start(seed=3)
pose = None
for k in range(75):
    # The first second shows nobody.
    image = portrait if k >= 25 else np.zeros_like(portrait)
    for frame in clock.push_image(k * FRAME_NS, image, k * FRAME_NS) + clock.advance(k * FRAME_NS + FRAME_NS // 2):
        reaction = stream.step(perception.process(frame)[0])
        target = Pose(reaction.blendshapes[0], reaction.rotation[0], reaction.translation[0])
        pose = motion.step(target, FRAME_NS / 1e9)
perception.close()
assert pose is not None
picture = side_by_side(portrait, Renderer(640, 640).draw(pose), 420)
cv2.imwrite(str(Path(sys.argv[2])), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
