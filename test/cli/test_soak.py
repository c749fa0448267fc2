"""The table of `react-ros soak`; the session itself is what test/nodes/test_recovery.py does."""

from __future__ import annotations

import signal

from react_ros.cli.soak import FAULTS, NODES, Fault, Outcome, table


def test_the_table_gives_the_worst_case_of_each_fault_and_what_was_said():
    killed, stopped = Fault("camera", signal.SIGKILL), Fault("avatar", signal.SIGSTOP)
    assert {killed, stopped} <= set(FAULTS) and len(FAULTS) == 2 * len(NODES)
    rows = table(
        [
            Outcome(killed, 0.05, 1.25, ("camera ended with SIGKILL; restarting it",)),
            Outcome(killed, 0.25, 0.75, ("camera ended with SIGKILL; restarting it", "perception: a|b")),
            Outcome(stopped, 2.5, float("inf"), ()),
        ]
    ).splitlines()
    assert rows[-2:] == [
        "| camera killed (SIGKILL) | 2 | 0.25 | 1.2 | camera ended with SIGKILL; restarting it; perception: a/b |",
        "| avatar stopped (SIGSTOP) | 1 | 2.50 | inf |  |",
    ]
