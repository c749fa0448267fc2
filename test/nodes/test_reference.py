"""docs/reference.md is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_page_is_current_and_complete() -> None:
    made = runpy.run_path(str(ROOT / "tools/make_reference.py"))
    text = made["reference"]()
    advice = "run .venv/bin/python tools/make_reference.py"
    assert (ROOT / "docs/reference.md").read_text("utf-8") == text, advice
    for word in ("`generator_parameters`", "`nodding`", "0 to 2", "`speaker/features`", "`avatar/status` (Status)",
                 "### SpeakerFeatures", "`--liveliness`", "### fsq"):  # fmt: skip
        assert word in text, f"{word} is missing in the reference"
