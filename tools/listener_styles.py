"""Shows that listeners' styles move the reactions: docs/reactdiff.md's figure, and its plot.

    python tools/listener_styles.py CORPUS --weights WEIGHTS --out styles.png [--listeners 2] [--speakers 10]

Each listener's style is read off the first half of their clip in the split. Then the same speakers, none of them
theirs, are answered in each style with the same seeds. A reaction is described by the mean and the standard deviation
of its channels. "style accuracy": the share of reactions that, described by what sets them apart from the other styles'
answers to the same speaker with the same chance, lie nearer to the mean of their own style's reactions to the other
speakers than to any other style's. Any shift that is not the same for all does that, so the
second figure counts more: "like their own", the share that lies nearer to the second half of their listener's own clip
than to the other listeners'. It is said of all numbers and of the head's mean pose alone; for both, generated and real
ones are each centred on their own mean, for what all generated faces lack says nothing of whose style it is. Reactions
in one style are alike: there are as many independent trials as listeners, not as reactions. Last, for what the plot
shows, the correlation over listeners of the mean in their style with the mean of their own second half.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.corpus.clips import Dyad
from react_ros.corpus.reader import Corpus, open_corpus
from react_ros.face import ATTRIBUTES, FACE_MODEL, ROTATION_58, TRANSLATION_58, Floats, Reaction
from react_ros.systems.reactdiff.generator import ReactDiff, ReactDiffConfig

ANSWER = FACE_MODEL + ATTRIBUTES
POSE = slice(ROTATION_58.start, TRANSLATION_58.stop)
SHOWN = {"head pitch": 52, "head yaw": 53, "head roll": 54, "smile": 23, "raised brows": 43}
"""What the plot shows, among the 58."""


def described(series: Floats) -> Floats:
    """(T, 83) to (166,): how a face is, and how much it moves."""
    return np.concatenate([series.mean(axis=0), series.std(axis=0)])


def table(reactions: list[Reaction]) -> Floats:
    """(T, 83) of the first sample."""
    return np.stack([np.concatenate([r.face_model[0], r.attributes[0]]) for r in reactions])


def listener(corpus: Corpus, dyad: Dyad) -> Floats:
    """(T, 83)."""
    return np.concatenate([corpus.face_model(dyad.listener), corpus.attributes(dyad.listener)], axis=1)


def centred(*groups: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Each group around its own mean, each channel on the scale of its spread over all groups together."""
    scale = np.maximum(np.concatenate([group.reshape(-1, group.shape[-1]) for group in groups]).std(axis=0), 1e-3)
    return [(group - group.reshape(-1, group.shape[-1]).mean(axis=0)) / scale for group in groups]


def nearest(one: npt.NDArray[Any], others: npt.NDArray[Any]) -> int:
    return int(np.square(others - one).sum(axis=-1).argmin())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--weights", default="reactdiff")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--listeners", type=int, default=2)
    parser.add_argument("--speakers", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("styles.png"))
    given = parser.parse_args()

    corpus = open_corpus(given.corpus)
    dyads = corpus.dyads(given.split)
    # Spread over the split, so that no two belong to one story.
    chosen = [dyads[int(i)] for i in np.linspace(0, len(dyads) - 1, given.listeners + given.speakers).round()]
    people, speakers = chosen[: given.listeners], chosen[given.listeners :]
    clips = [listener(corpus, dyad) for dyad in people]
    half = min(len(clip) for clip in clips) // 2

    generated = []
    with tempfile.TemporaryDirectory() as folder:
        for i, clip in enumerate(clips):
            style = Path(folder) / f"{i}.npz"
            np.savez(style, face_model=clip[:half, :FACE_MODEL], attributes=clip[:half, FACE_MODEL:])
            system = ReactDiff(ReactDiffConfig(weights=given.weights, style=str(style), schedule="window"))
            generated.append(
                [table(system.generate(corpus.frames(dyad.speaker), seed=s)) for s, dyad in enumerate(speakers)]
            )
    shown = np.array(generated)  # (listeners, speakers, T, 83)
    reactions = np.array([[described(series) for series in own] for own in shown])
    theirs = np.array([described(clip[half:]) for clip in clips])
    means_of = reactions[..., :ANSWER].mean(axis=1), theirs[:, :ANSWER]  # (listeners, 83) each
    reactions, theirs = centred(reactions, theirs)
    alike = reactions - reactions.mean(axis=0)  # of one speaker and one chance, what a style alone changes
    apart, like, posture = 0, 0, 0
    for i in range(len(people)):
        for s in range(len(speakers)):
            means = alike[:, np.arange(len(speakers)) != s].mean(axis=1)
            apart += nearest(alike[i, s], means) == i
            like += nearest(reactions[i, s], theirs) == i
            posture += nearest(reactions[i, s, POSE], theirs[:, POSE]) == i
    count = len(people) * len(speakers)
    print(f"{len(people)} styles, {len(speakers)} speakers; by chance {1 / len(people):.2f}")
    print(f"style accuracy: {apart / count:.2f}")
    print(f"like their own: {like / count:.2f} by all numbers, {posture / count:.2f} by the head's mean pose")
    if len(people) > 2:
        for name, channel in SHOWN.items():
            correlation = np.corrcoef(means_of[0][:, channel], means_of[1][:, channel])[0, 1]
            print(f"{name}: correlation {correlation:.2f}")
    plot(shown, [clip[half:] for clip in clips], given.out)
    print(given.out)


def plot(shown: Floats, clips: list[Floats], out: Path) -> None:
    """Channel by channel: each style's reactions to all speakers (dots), and what that listener really did (lines)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(SHOWN), figsize=(3 * len(SHOWN), 3), constrained_layout=True)
    for axis, (name, channel) in zip(axes, SHOWN.items(), strict=True):
        for i, (own, clip) in enumerate(zip(shown, clips, strict=True)):
            means = own[:, :, channel].mean(axis=1)
            axis.plot(np.linspace(i - 0.2, i + 0.2, len(means)), means, "o", color=f"C{i}", alpha=0.6)
            axis.plot([i - 0.3, i + 0.3], [clip[:, channel].mean()] * 2, color=f"C{i}")
        axis.set_title(name)
        axis.set_xticks(range(len(clips)), [f"listener {i}" for i in range(len(clips))], rotation=30)
    figure.suptitle("Mean of each reaction in a listener's style (dots), and the listener's own unseen half (lines)")
    figure.savefig(out, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
