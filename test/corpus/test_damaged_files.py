"""Files of a corpus as other programs write them, and damaged ones: read, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_corpus import attributes, write_csv, write_react2024

from react_ros.corpus.arrays import read_attributes_csv, read_npy
from react_ros.corpus.check import check
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.evaluation.responsiveness.clips import read_clip
from react_ros.face import ATTRIBUTE_NAMES

LITTLE = settings(
    max_examples=150, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def npy(header: bytes, body: bytes = bytes(58 * 4 * 3), version: int = 1) -> bytes:
    """An npy file with any header."""
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2 if version == 1 else 4, "little") + header + body


def header_of(descr: str = "'<f4'", order: str = "False", shape: str = "(3, 58)") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


def refused_or_read(path: Path) -> None:
    """It must be read as (frames, 58), or refused with one sentence that names the file."""
    try:
        array = read_npy(path, "site/chat/person/1", 58, "face model")
    except CorpusError as error:
        assert "\n" not in str(error) and str(path) in str(error) and len(str(error)) < 600
        return
    assert array.shape[1] == 58 and np.array(array[:1], np.float32).shape[1] == 58


HEADERS = [
    header_of(shape="(-3, 58)"), header_of(shape="(3, -58)"), header_of(shape="(9223372036854775807, 58)"),
    header_of(shape="(3.0, 58)"), header_of(shape="3, 58"), header_of(shape="()"), header_of(shape="(3, 58"),
    header_of(shape="(" * 300 + ")" * 300), header_of(shape="(3L, 58L)"), header_of(descr="'|O'"),
    header_of(descr="'<c8'"), header_of(shape="(4611686018427387904, 58)"),
    header_of(descr="'<f16'"), header_of(descr="[('a', '<f4', (58,))]"), header_of(descr="'<q9'"), header_of(descr="7"),
    header_of(order="'yes'"), b"{'descr': '<f4'", b"\n", b"\xff\xfe\n", b"(((((\n", b"'''\n", b"{" * 60 + b"\n",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 58), 'more': 1}\n", b"  indented\n not\n", b"\\\n",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HEADERS)))
@pytest.mark.parametrize("version", [1, 2, 3, 9])
def test_a_malformed_header_is_one_sentence(number: int, version: int, tmp_path: Path) -> None:
    (tmp_path / "1.npy").write_bytes(npy(HEADERS[number], version=version))
    refused_or_read(tmp_path / "1.npy")


@LITTLE
@given(data=st.data())
@example(data=None)
def test_any_damage_of_an_npy_is_one_sentence(data: st.DataObject | None, tmp_path: Path) -> None:
    whole = bytearray(npy(header_of()))
    if data is not None:
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(6, 100))] = data.draw(st.integers(0, 255))
        del whole[data.draw(st.integers(0, len(whole))) :]
    path = tmp_path / "1.npy"
    path.write_bytes(whole)
    refused_or_read(path)
    path.rename(tmp_path / "1.npz")
    with pytest.raises(ValueError, match="cannot be read as a clip"):
        read_clip(tmp_path / "1.npz")


FACE = attributes(np.random.default_rng(1), 20)


def rewritten(path: Path, delimiter: str = ",", decimal: str = ".", index: str | None = None) -> Path:
    names, rows = list(ATTRIBUTE_NAMES), [[f"{v:.7g}".replace(".", decimal) for v in row] for row in FACE.tolist()]
    if index is not None:
        names, rows = [index, *names], [[str(k), *row] for k, row in enumerate(rows)]
    path.write_text("\n".join(delimiter.join(row) for row in [names, *rows]) + "\n")
    return path


@pytest.mark.parametrize("index", [None, "", "Unnamed: 0", "frame", "index"])
@pytest.mark.parametrize(("delimiter", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")])
def test_csv_of_other_programs_is_read(delimiter: str, decimal: str, index: str | None, tmp_path: Path) -> None:
    read = read_attributes_csv(rewritten(tmp_path / "1.csv", delimiter, decimal, index), "clip")
    assert np.allclose(read, FACE, atol=1e-6)


def test_a_first_column_that_counts_nothing_is_no_index(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "1.csv", index="mood")
    path.write_text(path.read_text().replace("\n3,", "\n-8,"))
    with pytest.raises(CorpusError, match=r"26 columns.*mood too many"):
        read_attributes_csv(path, "clip")


@LITTLE
@given(
    text=st.text(alphabet=st.sampled_from("0123456789.,;\t\n\"'eE+-#naif\x00\r "), max_size=200),
    kept=st.integers(0, 700),
)
def test_any_text_as_csv_is_read_or_one_sentence(text: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "1.csv"
    write_csv(path, FACE[:2])
    path.write_text(path.read_text()[:kept] + text)
    try:
        assert read_attributes_csv(path, "clip").shape[1] == 25
    except CorpusError as error:
        assert "\n" not in str(error) and str(path) in str(error)


def test_a_table_with_semicolons_and_files_of_a_camera_are_found(tmp_path: Path) -> None:
    """A table as spreadsheets write it, without an index column, and names in capitals."""
    root = write_react2024(tmp_path / "corpus", sessions=2, frames=60)
    table = root / "test.csv"
    before = [(d.speaker.name, d.listener.name) for d in open_corpus(root).dyads("test")]
    lines = [line.split(",")[1:] for line in table.read_text().splitlines()]
    table.write_text("\n".join(";".join(line) for line in [["speaker_path", "listener_path"], *lines[1:]]) + "\n")
    for path in list(root.rglob("*")):
        if path.suffix in (".wav", ".npy") or (path.suffix == ".csv" and path != table):
            path.rename(path.with_suffix(path.suffix.upper()))
    for clip in {name for pair in before for name in pair}:
        film = root / "test/Video_files" / f"{clip}.MP4"
        film.parent.mkdir(parents=True, exist_ok=True)
        film.touch()
    corpus = open_corpus(root, CorpusConfig(frames=60))
    assert [(d.speaker.name, d.listener.name) for d in corpus.dyads("test")] == before
    report = check(corpus, jobs=1)
    assert {m: t.missing for m, t in report.totals.items()} == dict.fromkeys(report.totals, 0)
    assert report.totals["attributes"].good == report.totals["audio"].good == 4
    table.write_text("a;b\nonly;two\n")
    with pytest.raises(CorpusError, match="expected index, speaker and listener, not 'only,two'"):
        open_corpus(root).dyads("test")
