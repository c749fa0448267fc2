"""Work distributed over processes, and Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from react_ros.corpus.pool import _ctrl_c_held, as_done


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    # Tests started in the background ignore SIGINT by default.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupt() -> None:
    other = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
    other.start()
    other.join()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_waits_while_processes_start_even_where_another_thread_takes_it() -> None:
    reached = False
    # A thread that does not block the signal, like that of a progress bar, would run the main thread's handler at once.
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt), _ctrl_c_held():
            _interrupt()
            reached = sum(range(100_000)) > 0
    finally:
        end.set()
        other.join()
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_processes_are_started_from_any_thread() -> None:
    found: list[tuple[int, int]] = []
    worker = threading.Thread(target=lambda: found.extend(as_done(abs, (-1, -2), 2)))
    worker.start()
    worker.join()
    assert sorted(found) == [(0, 1), (1, 2)]
