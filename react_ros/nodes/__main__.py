"""Starts one node, `python -P -m react_ros.nodes NAME`: with this first line, Ctrl-C never prints a traceback.

Python's own start would print one. Whoever starts a node therefore blocks SIGINT until here (runner.py, and the
executables in scripts/ through `env --block-signal`); a SIGINT that came meanwhile then ends the process in silence.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def main(name: str) -> None:
    """Run the node of an executable until it is stopped."""
    from importlib import import_module

    from react_ros.supervision.heartbeats import end_with_parent, supervisor_folder

    if supervisor_folder() is not None:
        end_with_parent()  # ros2 launch leaves processes behind where Ctrl-C strikes it while it starts them
    import_module(f"react_ros.nodes.{name}").main()


if __name__ == "__main__":
    import sys

    from react_ros.nodes.composed import CLASSES

    names = (*CLASSES, "composed")
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        raise SystemExit(f"usage: python -m react_ros.nodes {{{','.join(names)}}} --ros-args …")
    main(sys.argv.pop(1))
