"""Options whose values are enumerated: their metavar, and completion in the shell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer


def choice(names: Sequence[str], help: str, *flags: str, **more: Any) -> Any:
    """A typer option with the metavar a|b|c and completion; the command refuses other values, in one sentence."""
    return typer.Option(*flags, help=help, metavar="|".join(names), autocompletion=completing(names), **more)


def completing(names: Sequence[str]) -> Callable[[str], list[str]]:
    """The names that begin as what is typed."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete
