"""The mean of a corpus' listeners, as a statistics file for the mean baselines (`systems.mean`, a floor below)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from react_ros.corpus.clips import CorpusError, Split
from react_ros.corpus.reader import Corpus
from react_ros.face import FACE_MODEL, Floats
from react_ros.systems.mean.generator import measure, save


def write_mean_listener(corpus: Corpus, path: Path, split: Split = "train") -> list[str]:
    """Write the frame-by-frame mean of the split's listeners, the `statistics` of `mean_frame` and `mean_sequence`.

    path: a .safetensors file; its card .yaml is written beside it. Without face models in the corpus the face is at
    rest. Unreadable listeners are left out; returns a sentence for each. Raises CorpusError where the split is missing
    or no listener is readable, ValueError where clips differ in length.
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
            f"{corpus.root} has no {split} split, whose listeners' mean mean_frame and mean_sequence show"
        )
    people = list(dict.fromkeys(d.listener for d in corpus.dyads(split)))
    kind = "simulated listeners, of nobody" if corpus.simulated else "listeners"
    notice = f"{'Simulated: the' if corpus.simulated else 'The'} mean of {kind}."
    try:
        mean = measure(listeners(), notice)
    except ValueError:
        if len(left_out) < len(people):
            raise
        raise CorpusError(f"no listener of the {split} split can be used, e.g. {left_out[0]}") from None
    made_by = str(corpus.settings.get("made_by", corpus.root))
    save(mean, path, corpus=made_by, split=split, listeners=len(people) - len(left_out))
    return left_out
