"""Starts the command line: `react-ros`, or `python -m react_ros`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line. Until it is imported, Ctrl-C just ends the program: a traceback there helps nobody."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from react_ros.cli.main import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="react-ros")
    except KeyboardInterrupt:  # a second one, while the first was being answered
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all has ended: a third has nothing left to stop


if __name__ == "__main__":
    main()
