"""Output of the command line: error messages, exit codes, consoles."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


MOST_SHOWN = 1200
"""Longest sentence that is printed, characters."""


def fail(error: object) -> typer.Exit:
    """Print an error to stderr as one sentence. Returns the exception that ends the command with exit code 2."""
    print(f"react-ros: {shortened(_error_text(error)).rstrip('.')}.", file=sys.stderr)
    return typer.Exit(2)


def _error_text(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


AudioRate = Annotated[
    int, typer.Option(help="of AudioData without an AudioInfo: Hz; default: from the bag", metavar="HZ")
]
AudioChannels = Annotated[
    int, typer.Option(help="of AudioData without an AudioInfo; default: from the bag", metavar="N", show_default=False)
]


def lost_sensors(sentences: Sequence[str]) -> None:
    """After a result: print which sensors were mostly lost, and end with exit code 1 where there are some."""
    for sentence in sentences:
        print(f"react-ros: {shortened(sentence).rstrip('.')}.", file=sys.stderr)
    if sentences:
        raise typer.Exit(1)


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """A sentence of bounded length: messages quote names and values from files, which may be of any length."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= most else f"{text[: most - 100]} … {text[-99:]}"


@contextmanager
def user_errors(then: str = "") -> Iterator[None]:
    """Report errors of data and files as one sentence with exit code 2, and Ctrl-C with exit code 130.

    then: advice that is printed after Ctrl-C, and when the disk is full.
    """
    from react_ros.corpus.clips import CorpusError

    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        text = f"{_error_text(error)}; once there is space again, {then}" if full and then else error
        raise fail(text) from None
    except (CorpusError, ValueError) as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        print(f"\nstopped; {then}" if then else "\nstopped", file=sys.stderr)
        raise typer.Exit(130) from None


def plain_console() -> Console:
    """A console on stdout for tables and sentences; lines are not wrapped if stdout is a file or a pipe."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
