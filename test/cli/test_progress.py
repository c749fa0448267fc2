"""Progress display with and without a terminal."""

from __future__ import annotations

import io

from react_ros.cli.progress import INTERVAL_S, ProgressLines, progress


def test_without_a_terminal_a_task_prints_a_line_at_most_every_30_s_with_rate_and_time_left():
    stream, now = io.StringIO(), 0.0
    display = ProgressLines(stream, lambda: now)
    for second in range(91):
        now = float(second)
        display.update("clips", 2 * second, 1000)
    assert INTERVAL_S == 30
    assert stream.getvalue().splitlines() == [
        "clips: 60 of 1000, 2/s, 7:50 left",
        "clips: 120 of 1000, 2/s, 7:20 left",
        "clips: 180 of 1000, 2/s, 6:50 left",
    ]


def test_a_short_task_prints_nothing_and_an_unknown_total_has_no_time_left():
    stream, now = io.StringIO(), 0.0
    display = ProgressLines(stream, lambda: now)
    display.update("short", 0, 10)
    display.update("open", 0, None, "reading")
    now = 29.0
    display.update("short", 10, 10)
    now = 40.0
    display.update("open", 8000, None, "reading")
    assert stream.getvalue() == "reading: 8000, 200/s\n"


def test_a_step_that_takes_long_is_reported_every_30_s():
    stream, now = io.StringIO(), 0.0
    display = ProgressLines(stream, lambda: now)
    display.update("clips", 3, 10)
    for second in range(1, 71):
        now = float(second)
        display.beat()
    now = 71.0
    display.update("clips", 10, 10)
    now = 200.0
    display.beat()
    assert stream.getvalue().splitlines() == [
        "clips: 3 of 10, the next for 0:30 so far", "clips: 3 of 10, the next for 1:00 so far",
        "clips: 10 of 10, 0.0986/s, 0:00 left",
    ]  # fmt: skip


def test_progress_without_a_terminal_is_silent_at_first(capsys):
    with progress("clips") as update:
        update(1, 2)
    assert capsys.readouterr() == ("", "")
