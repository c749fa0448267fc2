"""Entry point of the command line: `react-ros`, or `python -m react_ros`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line. During the imports Ctrl-C ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from react_ros.cli.main import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="react-ros")
    except KeyboardInterrupt:  # a second Ctrl-C while the first is being handled
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # everything has ended: ignore further Ctrl-C


if __name__ == "__main__":
    main()
