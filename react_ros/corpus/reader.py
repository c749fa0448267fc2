"""Opens a corpus: its dyads, and each clip's attributes, face model, sound features and speaker frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from react_ros.corpus import appropriateness as rule
from react_ros.corpus import layouts, sounds
from react_ros.corpus.arrays import expect_finite, read_attributes_csv, read_npy, resample
from react_ros.corpus.cache import FeatureCache
from react_ros.corpus.clips import EVALUATED_FRAMES, CorpusError, Dyad, Layout, PersonClip, Split, missing
from react_ros.corpus.faceverse import MEAN, blendshapes_of_units
from react_ros.corpus.pool import Progress
from react_ros.corpus.settings import CorpusConfig, CorpusSettings, read_settings
from react_ros.corpus.sounds import SoundTable
from react_ros.face import (
    ARKIT_SCHEME,
    ATTRIBUTES,
    AU,
    EXPRESSION_58,
    FACE_MODEL,
    FPS,
    ROTATION_58,
    TRANSLATION_58,
    Face,
    FaceState,
    Floats,
    Sound,
    SpeakerFrame,
)
from react_ros.generators.attributes import attributes_of
from react_ros.io import map_npy, sha256

__all__ = ["Corpus", "CorpusConfig", "open_corpus"]

_ATTRIBUTES_KIND = "attributes-1"


def open_corpus(root: str | Path, config: CorpusConfig | None = None) -> Corpus:
    """Open a corpus in the layout of REACT 2023/24 or of MARS (REACT 2025).

    Raises CorpusError, in one sentence, where the folder holds no corpus or its corpus.yaml has an impossible value.
    """
    root = Path(root).expanduser()
    return Corpus(root, read_settings(root), config or CorpusConfig())


class Corpus:
    """An open corpus. It keeps no file open, and can be pickled to another process.

    Files are read and validated on access: CorpusError names the clip and the column. Arrays are float32 at `fps`
    frames a second; they belong to the caller.
    """

    def __init__(self, root: Path, settings: CorpusSettings, config: CorpusConfig) -> None:
        self.root = root
        self.config = config
        self.settings: Mapping[str, Any] = settings.all
        """The whole corpus.yaml; empty without one."""
        self.layout: Layout = settings.layout
        self.scheme = settings.scheme
        """Meaning of the first 52 coefficients of a face model: "arkit52" or "faceverse"."""
        self.source_fps = settings.fps
        """Frame rate of the files."""
        self.fps = settings.fps if config.native_rate else float(FPS)
        """Frame rate of the arrays: 25, or that of the files (`native_rate`)."""
        self.simulated = settings.simulated
        self.notice = settings.notice
        """What readers of any result must be told; may be empty."""
        self.role_swap = settings.role_swap if config.role_swap is None else config.role_swap
        self._persons = {**settings.persons, **config.persons}
        self._rule = settings.appropriateness
        # From corpus.yaml only: the appropriateness matrix does not depend on how the corpus is read.
        self._swaps = settings.role_swap
        self._cache = FeatureCache(config.cache)
        self._dyads: dict[tuple[Split, bool], list[Dyad]] = {}

    # Clips --------------------------------------------------------------------------------------------------------

    @property
    def splits(self) -> list[Split]:
        """The existing splits."""
        return layouts.splits(self.root, self.layout)

    def dyads(self, split: Split) -> list[Dyad]:
        """The dyads of a split, in the order of its appropriateness matrix; reads no clip.

        All of the table, then all with the roles swapped (see `CorpusConfig.role_swap`). Raises CorpusError where the
        split or its table is missing.
        """
        return list(self._all_dyads(split, self.role_swap))

    def persons(self, split: Split) -> list[PersonClip]:
        """All persons' clips of a split, once each: speakers first."""
        dyads = self.dyads(split)
        return list(dict.fromkeys([d.speaker for d in dyads] + [d.listener for d in dyads]))

    def _all_dyads(self, split: Split, role_swap: bool) -> list[Dyad]:
        if (split, role_swap) not in self._dyads:
            found = layouts.find_dyads(self.root, self.layout, split, self._persons, role_swap=role_swap)
            self._dyads[split, role_swap] = found
        return self._dyads[split, role_swap]

    def length(self, person: PersonClip, modality: str = "attributes") -> int:
        """Frames, at `fps`, of a clip's "attributes" or "face_model"; values are not checked. Raises CorpusError."""
        raw = self._raw_attributes(person) if modality == "attributes" else self._raw_face_model(person)
        return int((len(raw) - 1) * self.fps / self.source_fps + 1e-9) + 1

    # Clips' contents ---------------------------------------------------------------------------------------------

    def attributes(self, person: PersonClip, frames: int | None = None) -> Floats:
        """(T, 25) in the order of `ATTRIBUTE_NAMES`, as stored; T as for `face_model`. Raises CorpusError."""
        return self._read(self._raw_attributes(person), frames, person, "attributes", nearest=AU)

    def face_model(self, person: PersonClip, frames: int | None = None) -> Floats:
        """(T, 58) coefficients as stored, never normalised (see `faceverse.normalise`).

        frames: T; None: as configured. MARS' clips differ in length: T is at most `frames`. Raises CorpusError.
        """
        return self._read(self._raw_face_model(person), frames, person, "face model")

    def sound(self, person: PersonClip, frames: int | None = None) -> SoundTable:
        """A person's sound features in each frame, as the live robot would compute them; cached.

        frames: number of rows; None: as configured, and where that is None too, all. Rows after the end of the audio
        are MISSING. At another rate than 25 fps, a frame has the newest live frame's features. Raises CorpusError.
        """
        if person.audio is None:
            raise CorpusError(f"{person.name}: this corpus has no audio")
        table = sounds.sound_table(person.audio, person.name, self._cache)
        frames = self.config.frames if frames is None else frames
        if frames is None:
            frames = int(len(table) * self.fps / FPS)
        return table.take((np.arange(frames) * (FPS / self.fps) + 1e-9).astype(np.int64))

    def precompute_sounds(
        self, persons: Sequence[PersonClip], *, jobs: int = 0, progress: Progress | None = None
    ) -> None:
        """Fill the cache with these persons' sound features. jobs: processes, 0 for one per core.

        Unreadable audio is skipped: `sound` raises the error.
        """
        sounds.precompute([p.audio for p in persons if p.audio is not None], self._cache, jobs=jobs, progress=progress)

    def frames(self, person: PersonClip, frames: int | None = None) -> list[SpeakerFrame]:
        """The clip as speaker frames, a generator's live input.

        Attributes are those of the corpus; with scheme "arkit52" the blendshapes, too. FaceVerse's coefficients are
        not ARKit weights: there, blendshapes are DERIVED from the action units (`faceverse.blendshapes_of_units`), and
        rotation and translation are those of the 58 minus the published mean, so that the head is near its rest; axes
        and units are FaceVerse's, with unpublished signs. Modalities that the corpus does not have are MISSING, as
        they are live. Raises CorpusError for a missing file.
        """
        arrays = self._face(person, frames)
        count = frames if frames is not None else self.config.frames
        if arrays is not None:
            count = len(arrays[0])
        table = None
        if person.audio is not None:
            table = self.sound(person, count)
            count = len(table)
        out = []
        for k in range(count or 0):
            face = Face() if arrays is None else Face(FaceState.TRACKED, *(a[k] for a in arrays), count=1)
            sound = Sound() if table is None else table.frame(k)
            out.append(SpeakerFrame(k, round(k * 1e9 / self.fps), face, sound))
        return out

    def _face(self, person: PersonClip, frames: int | None) -> tuple[Floats, Floats, Floats, Floats] | None:
        """Blendshapes (T, 52), rotation (T, 3), translation (T, 3), attributes (T, 25); None without face data."""
        model = None if person.face_model is None else self.face_model(person, frames)
        attributes = None if person.attributes is None else self.attributes(person, frames)
        own = self.scheme == ARKIT_SCHEME
        blendshapes = None
        if model is not None and own:
            blendshapes = np.clip(model[:, EXPRESSION_58], 0.0, 1.0)
            attributes = attributes_of(blendshapes) if attributes is None else attributes
        if attributes is None:
            return None
        if blendshapes is None:
            blendshapes = blendshapes_of_units(attributes[:, AU])
        pose = np.zeros((len(attributes), FACE_MODEL), np.float32)
        if model is not None:
            pose = model if own else model - MEAN
        count = min(len(attributes), len(pose))  # MARS: a clip's files may differ by a frame
        rotation = pose[:count, ROTATION_58]
        if not own:
            # FaceVerse's pitch is near pi: after subtracting the mean it must be wrapped.
            rotation = (rotation + np.float32(np.pi)) % np.float32(2.0 * np.pi) - np.float32(np.pi)
        return blendshapes[:count], rotation, pose[:count, TRANSLATION_58], attributes[:count]

    def _read(
        self,
        raw: np.ndarray[Any, Any],
        frames: int | None,
        person: PersonClip,
        what: str,
        nearest: slice | None = None,
    ) -> Floats:
        """The first `frames` frames of a file's `raw` array, at `fps`, validated."""
        frames = self.config.frames if frames is None else frames
        if self.fps == self.source_fps:
            array = expect_finite(np.array(raw[:frames], np.float32), person.name, what)
        else:
            needed = None if frames is None else int((frames - 1) * self.source_fps / self.fps) + 2
            array = expect_finite(np.array(raw[:needed], np.float32), person.name, what)
            array = resample(array, self.source_fps, self.fps, nearest)[:frames]
        if frames is not None and len(array) < frames and self.layout != "mars":
            raise CorpusError(f"{person.name}: {len(array)} frames of its {what}, but {frames} are wanted")
        return array

    def _raw_attributes(self, person: PersonClip) -> np.ndarray[Any, Any]:
        """All frames of the file, at the file's rate."""
        path, clip = person.attributes, person.name
        if path is None:
            raise CorpusError(f"{clip}: this corpus has no attributes")
        if path.suffix.lower() == ".npy":
            return read_npy(path, clip, ATTRIBUTES, "attributes")
        try:
            return self._cache.array(_ATTRIBUTES_KIND, path, ATTRIBUTES, lambda: read_attributes_csv(path, clip))
        except FileNotFoundError:
            raise missing(clip, "attributes", path) from None
        except OSError as error:
            raise CorpusError(f"{clip}: its attributes {path} cannot be read: {error}") from None

    def _raw_face_model(self, person: PersonClip) -> np.ndarray[Any, Any]:
        """All frames of the file, at the file's rate, memory-mapped."""
        if person.face_model is None:
            raise CorpusError(f"{person.name}: this corpus has no face model (58 coefficients)")
        return read_npy(person.face_model, person.name, FACE_MODEL, "face model")

    # Appropriateness ----------------------------------------------------------------------------------------------

    def appropriate(self, split: Split, *, jobs: int = 0, progress: Progress | None = None) -> rule.Mask:
        """(N, N) for the N dyads of a split: [i, j], whether j's listener is appropriate for i's speaker.

        MARS: dyads of the same session. Otherwise the challenge's file, where it exists; else computed (see
        `corpus.appropriateness`) and written beside the table in the challenge's format, (2n, 2n) float64, with a
        yaml of notes; in the cache where the corpus is read-only. Distances use the first 750 frames, or the most
        frequent length if that is shorter; an unusable clip is appropriate for itself only. Raises CorpusError for a
        matrix that does not fit.
        """
        originals = self._all_dyads(split, False)
        if self.layout == "mars":
            return rule.same_session(self.dyads(split))
        clips = [d.speaker.name for d in originals]
        path = rule.split_file(self.root, split)
        published = None if rule.our_notes(path) else rule.read_published(self.root, split, clips)
        if published is not None:
            return rule.checked(*published, clips, role_swap=self.role_swap)
        matrix, path = self._computed(split, jobs, progress)
        return rule.checked(matrix, path, clips, role_swap=self.role_swap)

    def _computed(self, split: Split, jobs: int, progress: Progress | None) -> tuple[np.ndarray[Any, Any], Path]:
        """The computed (2n, 2n) matrix: read where it was stored for the same clips, else computed and stored."""
        dyads = self._all_dyads(split, True)
        if all(d.speaker.attributes is None for d in dyads):
            raise CorpusError(
                f"{rule.split_file(self.root, split)} is missing, and without attributes it cannot be computed"
            )
        content = [f"{d.speaker.name} {self._attributes_digest(d.speaker)}" for d in dyads]
        inputs = {"rule": dict(self._rule) or {"quantile": rule.QUANTILE}, "role_swap": self._swaps, "clips": content}
        # Without swapped roles, three quarters of the distances are not needed.
        both = self._swaps or self.role_swap
        fingerprint, whole = (sha256(repr({**inputs, "swapped": b})) for b in (both, True))
        name = sha256(str(self.root.resolve()))[:16]
        places = [rule.split_file(folder, split) for folder in (self.root, self._cache.folder / "corpora" / name)]
        for path in places:
            notes = rule.our_notes(path)
            if notes is not None and notes.get("fingerprint") in (fingerprint, whole):
                with suppress(OSError, ValueError):
                    return np.array(map_npy(path)), path
        matrix, notes = self._compute(dyads, both, jobs, progress)
        for path in places:
            with suppress(OSError):
                rule.write_computed(path, matrix, {**notes, "fingerprint": fingerprint})
                return matrix, path
        return matrix, places[0]

    def _compute(
        self, dyads: list[Dyad], swapped: bool, jobs: int, progress: Progress | None
    ) -> tuple[rule.Mask, dict[str, object]]:
        whole: dict[int, np.ndarray[Any, Any]] = {}
        for i, dyad in enumerate(dyads):
            if dyad.swapped and not swapped:
                continue
            with suppress(CorpusError):
                whole[i] = self._raw_attributes(dyad.speaker)
        if not whole:
            raise CorpusError(
                f"no speaker of the {dyads[0].split} split of {self.root} has attributes that can be read"
            )
        frames = min(EVALUATED_FRAMES, Counter(len(a) for a in whole.values()).most_common(1)[0][0])
        used = [i for i, a in whole.items() if len(a) >= frames and np.isfinite(a[:frames]).all()]
        if not used:
            raise CorpusError(f"no speaker of the {dyads[0].split} split of {self.root} has finite attributes")
        among = None if self._swaps else sum(not dyads[i].swapped for i in used)
        result = rule.appropriateness(
            np.stack([whole[i][:frames] for i in used]).astype(np.float32),
            quantile=self._rule.get("quantile", rule.QUANTILE),
            threshold=self._rule.get("threshold"),
            among=among,
            jobs=jobs,
            progress=progress,
        )
        matrix = np.eye(len(dyads), dtype=bool)
        matrix[np.ix_(used, used)] = result.matrix
        compared = [i for i, dyad in enumerate(dyads) if swapped or not dyad.swapped]
        left_out = sorted({dyads[i].speaker.name for i in compared if i not in set(used)})
        return matrix, {
            "what": "appropriate listeners; computed, not the challenge's own file",
            "how": "FRDist between the speakers' attributes, at most the threshold (a rule inferred, not published)",
            **({"threshold_from": "corpus.yaml"} if "threshold" in self._rule else {}),
            **({} if "threshold" in self._rule else {"quantile": self._rule.get("quantile", rule.QUANTILE)}),
            "quantile_over": "all dyads" if among is None else "dyads without swapped roles",
            "threshold": result.threshold,
            "swapped_roles": "compared" if swapped else "not compared: each is appropriate for itself only",
            "frames": frames,
            "dyads": len(dyads),
            "left_out": left_out,
        }

    def _attributes_digest(self, person: PersonClip) -> str:
        try:
            return "" if person.attributes is None else self._cache.digest(person.attributes)
        except OSError:
            return "missing"
