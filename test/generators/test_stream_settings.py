"""The deliberate delay."""

from __future__ import annotations

from react_ros.face import FRAME_NS
from react_ros.generators.stream_settings import GAP_NS, Delay


def test_a_delay_repeats_the_first_item_and_begins_anew_after_a_gap():
    """After a restart of perception nothing from before it is shown."""
    delay: Delay[str] = Delay(3)
    stamps = [k * FRAME_NS for k in range(6)]
    assert [delay.step(item, t) for item, t in zip("abcdef", stamps, strict=True)] == list("aaaabc")
    gap = stamps[-1] + GAP_NS + 1
    assert [delay.step(item, gap + t) for item, t in zip("ghijk", stamps, strict=False)] == list("ggggh")
    assert delay.step("l", 0) == "l", "the clock went back"
    assert delay.step("m", GAP_NS) == "l", "lost frames are no gap"
