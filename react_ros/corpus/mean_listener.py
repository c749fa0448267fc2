"""The mean of a corpus' listeners, which the mean baselines show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from react_ros.corpus.clips import CorpusError, Split
from react_ros.corpus.reader import Corpus
from react_ros.face import FACE_MODEL, Floats
from react_ros.systems.mean.generator import measure, save


def write_mean_listener(corpus: Corpus, path: Path, split: Split = "train") -> list[str]:
    """Write the mean of the split's real listeners, frame by frame, as `mean_frame` and `mean_sequence` read it.

    path: a .safetensors file; its card .yaml comes beside it. Without a face model the face stays at rest. A listener
    that cannot be read is left out; returns a sentence for each. Raises CorpusError where the split is not there or
    nobody is left, ValueError where clips differ in length.
    """
    left_out: list[str] = []

    def listeners() -> Iterator[tuple[Floats, Floats]]:
        for person in people:
            try:
                attributes = corpus.attributes(person)
                rest = np.zeros((len(attributes), FACE_MODEL), np.float32)
                both = (rest if person.face_model is None else corpus.face_model(person)), attributes
            except CorpusError as error:
                left_out.append(str(error))
                continue
            yield both

    if split not in corpus.splits:
        raise CorpusError(
            f"{corpus.root} has no {split} split, of whose listeners mean_frame and mean_sequence show the mean"
        )
    people = list(dict.fromkeys(d.listener for d in corpus.dyads(split)))
    whose = "simulated listeners, of nobody" if corpus.simulated else "listeners"
    notice = f"{'Simulated: the' if corpus.simulated else 'The'} mean of {whose}."
    try:
        mean = measure(listeners(), notice)
    except ValueError:
        if len(left_out) < len(people):
            raise
        raise CorpusError(f"no listener of the {split} split can be used, e.g. {left_out[0]}") from None
    made_by = str(corpus.settings.get("made_by", corpus.root))
    save(mean, path, corpus=made_by, split=split, listeners=len(people) - len(left_out))
    return left_out
