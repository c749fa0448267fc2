"""The perception node on a machine that is too slow: each face takes 150 ms. Runs as a node does."""

from __future__ import annotations

import time
from typing import Any

from react_ros.nodes.base import run
from react_ros.nodes.perception import PerceptionNode
from react_ros.perception.pipeline import Perception

_perceive_face = Perception._perceive_face


def slowly(self: Perception, image: Any, stamp_ns: int, stages: Any) -> Any:
    time.sleep(0.15)
    return _perceive_face(self, image, stamp_ns, stages)


Perception._perceive_face = slowly

if __name__ == "__main__":
    raise SystemExit(run(PerceptionNode))
