"""Entry point of the command line: `react-ros`, or `python -m react_ros`."""

from __future__ import annotations

import os
import signal
import sys


def _leave_current_folder() -> None:
    """Take no module from the current folder, here and in child processes, unless this package itself is there.

    `python -m` puts the folder first on the path: a numpy.py in it would be imported for numpy.
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    here, own = os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not sys.flags.safe_path and sys.path[:1] in ([""], [here]) and os.path.realpath(own) != os.path.realpath(here):
        del sys.path[0]


def main() -> None:
    """Run the command line. During the imports Ctrl-C ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _leave_current_folder()
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
