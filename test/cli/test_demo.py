"""The demo: the whole robot on a real face and voice, and its output files."""

from __future__ import annotations

import av
import numpy as np
import pytest

from react_ros.bags.reader import read_bag
from react_ros.cli.demo import DemoError, DemoOptions, run_demo

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def test_the_demo_leaves_a_film_with_sound_a_bag_of_every_topic_and_a_page(domain, tmp_path):
    out = tmp_path / "demo"
    done: dict[str, tuple[float, float]] = {}
    assert run_demo(DemoOptions(out, seconds=6.0), print, lambda what, *at: done.update({what: at})) == 0
    assert set(done) == {"running the robot", "writing the film"}
    assert all(at == pytest.approx(end, abs=1.0) for at, end in done.values())

    with av.open(str(out / "avatar.mp4")) as film:
        images = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    with av.open(str(out / "avatar.mp4")) as film:
        sound = np.concatenate([frame.to_ndarray().ravel() for frame in film.decode(audio=0)])
    assert 5.5 * 25 <= len(images) <= 7 * 25
    assert sound.std() > 0.01
    gray = np.stack(images).mean(axis=3)
    for who, columns in (("human", slice(0, 600)), ("avatar", slice(-400, None))):
        assert np.abs(np.diff(gray[:, :, columns], axis=0)).max() > 30, f"the {who} moves"

    topics = {r.topic.removeprefix("/robot") for r in read_bag(out / "bag")}
    assert topics >= {
        "/image_raw/compressed", "/audio", "/speaker/features", "/listener/reaction", "/avatar/blendshapes",
        "/avatar/face_model", "/avatar/affect", "/avatar/status", "/avatar/image/compressed", "/diagnostics",
    }  # fmt: skip
    features = [r.message for r in read_bag(out / "bag", "/speaker/features")]
    assert np.mean([f.face_state == 4 for f in features]) > 0.7, "the face is detected"
    assert np.mean([f.speech_probability > 0.5 for f in features]) > 0.3, "speech is detected"
    page = (out / "report.html").read_text()
    assert "sensor stamp to face message" in page and "<svg" in page and "avatar.mp4" in page
    assert "none measured" not in page
    assert page.index("Did it answer") < page.index("<h3>Moments") < page.index("<video"), (
        "what it answered comes first"
    )
    assert "<th>smile at distress</th><td>under 0.1</td>" in page and "distress, 5." in page, "she cries at first"


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DemoError, match="holds other files"):
        run_demo(DemoOptions(tmp_path), print, lambda *_: None)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
