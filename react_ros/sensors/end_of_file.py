"""What follows the end of a film or sound file that stands for a camera or microphone."""

from __future__ import annotations


def end_of_file(source: str, items: int, sense: str) -> str:
    """One sentence for the log. items: images or chunks that the file had. sense: sees or hears."""
    picture = ", which is a single picture" if sense == "sees" and items <= 1 else ""
    again = "start the robot with --loop (loop:=true) to show it for ever" if picture else (
        "start the robot with --loop (loop:=true) to begin it again"
    )  # fmt: skip
    return f"end of {source}{picture}: from now on the robot {sense} nobody; {again}"
