"""The parts of the command line that are long enough for a file of their own."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def fail(sentence: object) -> typer.Exit:
    """Print one sentence for people and end with exit code 2."""
    print(f"react-ros: {_said(sentence).rstrip('.')}.", file=sys.stderr)
    return typer.Exit(2)


def _said(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


@contextmanager
def sentences(then: str = "") -> Iterator[None]:
    """What goes wrong with data and files is one sentence and exit code 2; Ctrl-C one word and exit code 130.

    then: what a person may do after Ctrl-C, or when there is room on the disk again.
    """
    from react_ros.corpus.clips import CorpusError

    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise fail(f"{_said(error)}; with room again, {then}" if full and then else error) from None
    except (CorpusError, ValueError) as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        print(f"\nstopped; {then}" if then else "\nstopped", file=sys.stderr)
        raise typer.Exit(130) from None


def lines() -> Console:
    """A console for tables and sentences: what goes to a file or to another program is never folded."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 1000)


def bar() -> Progress:
    """Bars on a terminal, for who enters it; on none, nothing is shown."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True, highlight=False)
    return Progress(
        *columns, TextColumn("left"), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; what comes out is told (done, in all), and shows nothing before it is told."""
    with bar() as shown:
        task = shown.add_task(what, total=None, visible=False)

        def tell(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total, visible=True)

        yield tell
