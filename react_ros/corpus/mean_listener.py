"""The mean of a corpus' listeners, which the mean baselines show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from react_ros.corpus.clips import CorpusError, Split
from react_ros.corpus.reader import Corpus
from react_ros.face import FACE_MODEL, Floats
from react_ros.generators.mean import measure, save


def write_mean_listener(corpus: Corpus, path: Path, split: Split = "train") -> None:
    """Write the mean of the split's real listeners, frame by frame, as `mean_frame` and `mean_sequence` read it.

    path: a .safetensors file; its card .yaml comes beside it. Without a face model the face stays at rest. Raises
    CorpusError where the split is not there or a clip cannot be read, ValueError where clips differ in length.
    """

    def listeners() -> Iterator[tuple[Floats, Floats]]:
        for person in dict.fromkeys(d.listener for d in corpus.dyads(split)):
            attributes = corpus.attributes(person)
            rest = np.zeros((len(attributes), FACE_MODEL), np.float32)
            yield (rest if person.face_model is None else corpus.face_model(person)), attributes

    if split not in corpus.splits:
        raise CorpusError(f"{corpus.root} has no {split} split: the mean listener needs one to take the mean of")
    people = "simulated listeners, of nobody" if corpus.simulated else "listeners"
    notice = f"{'Simulated: the' if corpus.simulated else 'The'} mean of {people}."
    made_by = str(corpus.settings.get("made_by", corpus.root))
    save(measure(listeners(), notice), path, corpus=made_by, split=split, listeners=len(corpus.dyads(split)))
