"""Passwords in URLs are removed from text, and nothing else is."""

from __future__ import annotations

import pytest

from react_ros.redaction import redact, redact_all


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://ann:geheim@10.0.0.1:554/x", "rtsp://***@10.0.0.1:554/x"),
        ("camera: http://ann:ge@heim@h/a@b ended", "camera: http://***@h/a@b ended"),
        ("rtsp://ann:ge/heim@h/x", "rtsp://***@h/x"),
        ("rtsp:/ann:geheim@h", "rtsp:/***@h"),
        ("http://ann:geheim@h/x?u=1 and rtsp://bob:geheim@h", "http://***@h/x?u=1 and rtsp://***@h"),
        ('"source": "http://ann:geheim@h/x"', '"source": "http://***@h/x"'),
        ("http://h/video.cgi?user=ann&pwd=geheim&fps=5", "http://h/video.cgi?user=ann&pwd=***&fps=5"),
        ("http://h:80/@me", "http://h:80/@me"),
        ("http://h/a?b=c@d", "http://h/a?b=c@d"),
        ("udp://@:1234", "udp://@:1234"),
        ("ann@example.org", "ann@example.org"),
        ("/home/ann/film.mp4", "/home/ann/film.mp4"),
    ],
)
def test_a_password_in_a_url_is_removed(text: str, shown: str) -> None:
    assert redact(text) == shown == redact(shown)


def test_it_is_removed_at_any_depth() -> None:
    given = {"a": ["rtsp://u:p@h", 3, None], "b": {"c": ("http://u:p@h/x", True)}}
    assert redact_all(given) == {"a": ["rtsp://***@h", 3, None], "b": {"c": ("http://***@h/x", True)}}
