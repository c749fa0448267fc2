"""The attentive listener has the timing of human listeners (sources in the docstrings)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from rehearsal import Speaker, simulated_speaker

from react_ros.face import ARKIT_INDEX, ATTRIBUTE_INDEX, FPS, FaceState, SoundState, SpeakerFrame
from react_ros.systems.attentive.config import AttentiveConfig
from react_ros.systems.attentive.cues import CueDetector
from react_ros.systems.attentive.generator import Attentive

LISTENERS = 8
LID = ARKIT_INDEX["eyeBlinkLeft"]
UPPER_LIP, JAW = [ARKIT_INDEX["mouthUpperUpLeft"], ARKIT_INDEX["mouthUpperUpRight"]], ARKIT_INDEX["jawOpen"]
SMILE = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]


def columns(frames: list[SpeakerFrame], samples: int = LISTENERS, seed: int = 0, **parameters: float):
    """Blendshapes (T, S, 52), rotation (T, S, 3), attributes (T, S, 25)."""
    reactions = Attentive(AttentiveConfig(**parameters)).generate(frames, samples=samples, seed=seed)
    return (
        np.stack([r.blendshapes for r in reactions]),
        np.stack([r.rotation for r in reactions]),
        np.stack([r.attributes for r in reactions]),
    )


@cache
def five_minutes():
    """Five minutes of a talking speaker, and of eight listeners."""
    frames = simulated_speaker(11, 5 * 60 * FPS)
    return frames, columns(frames)


@cache
def still_talk():
    """Five minutes of a speaker who talks without moving or smiling: pitch is then nods, posture and sway."""
    frames = simulated_speaker(12, 5 * 60 * FPS, Speaker(smiles=False, moves=False))
    return frames, columns(frames)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """(first, one past the last) of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def nods(pitch: np.ndarray) -> list[tuple[float, int, float]]:
    """Onset in frames, cycles and Hz of the nods in a (T,) pitch, found from outside: from the motion alone.

    Pitch without its slow part (a median over 2 s), where it stands out; cycles are its peaks.
    """
    half = FPS
    padded = np.pad(pitch, half, mode="edge")
    slow = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    fast = pitch - slow
    speed = np.abs(np.gradient(pitch)) * FPS  # rad/s
    busy = speed > 0.12
    found = []
    for first, last in merge(runs(busy), gap=4):
        part = fast[first:last]
        peaks = [
            k for k in range(1, len(part) - 1) if part[k] >= part[k - 1] and part[k] > part[k + 1] and part[k] > 0.012
        ]
        if not peaks:
            continue
        period = np.mean(np.diff(peaks)) if len(peaks) > 1 else np.nan
        found.append((first, len(peaks), FPS / period))
    return found


def merge(spans: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for first, last in spans:
        if out and first - out[-1][1] <= gap:
            out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return out


def cues(frames: list[SpeakerFrame]) -> np.ndarray:
    """Frames of cues, by definition of the simulated voice: low pitch has lasted 120 ms, or a pause begins."""
    out, talk = [], 0
    for k in range(1, len(frames)):
        before, now = frames[k - 1].sound, frames[k].sound
        if now.state == SoundState.SPEECH:
            talk += 1
        elif before.state == SoundState.SPEECH:
            if talk >= 18:
                out.append(k)
            talk = 0
    return np.array(out)


# --- blinks


def test_the_blink_rate_is_that_of_a_conversation() -> None:
    """10.5 to 32.5 a minute (Doughty 2001)."""
    lids = five_minutes()[1][0][..., LID]
    rates = [len(runs(lids[:, i] > 0.5)) / 5.0 for i in range(LISTENERS)]
    assert min(rates) > 10.5 and max(rates) < 32.5
    assert np.std(rates) > 1.0  # listeners differ


def test_blinks_last_150_to_250_ms_and_close_faster_than_they_open() -> None:
    """About 208 ms (Hömke 2018)."""
    lids = five_minutes()[1][0][..., LID]
    lengths, closing, opening = [], [], []
    for i in range(LISTENERS):
        for first, last in runs(lids[:, i] > 0.12):
            if lids[first:last, i].max() > 0.5:
                top = first + int(np.argmax(lids[first:last, i]))
                # The lid passes the threshold between two frames: half a frame on either side.
                lengths.append((last - first) * 1000.0 / FPS)
                closing.append(top - first)
                opening.append(last - 1 - top)
                assert lids[top, i] > 0.9
    assert 150.0 <= np.mean(lengths) <= 250.0
    assert np.percentile(lengths, 2) >= 120.0 and np.percentile(lengths, 98) <= 250.0
    assert np.mean(opening) > 1.3 * np.mean(closing)


def test_both_eyes_blink_together() -> None:
    faces = five_minutes()[1][0][:3000]
    right = faces[..., ARKIT_INDEX["eyeBlinkRight"]]
    np.testing.assert_allclose(faces[..., LID], right, atol=1e-6)


# --- smiles


def one_smile_each(seconds: float = 6.0, count: int = 10) -> tuple[list[SpeakerFrame], list[int]]:
    """A silent, still speaker who smiles for 2 s every 6 s. Returns frames, and the frames in which smiles begin."""
    frames = simulated_speaker(0, int(seconds * FPS * count), Speaker(talks=False, smiles=False, moves=False))
    starts = [int((k * seconds + 3.0) * FPS) for k in range(count)]
    for start in starts:
        for k in range(start, start + 50):
            frames[k].face.blendshapes[SMILE] = 0.8 * min((k - start + 1) / 8.0, 1.0)
    return frames, starts


def test_a_smile_is_answered_with_a_smile_after_300_to_1000_ms() -> None:
    """Mimicry begins after 300 to 400 ms (Dimberg); smiles synchronise mostly within 1000 ms (Riehle 2017)."""
    frames, starts = one_smile_each()
    faces, _, attributes = columns(frames)
    smile = faces[..., SMILE].mean(axis=-1)
    latencies = []
    for start in starts:
        for i in range(LISTENERS):
            rest = smile[start - 5 : start + 1, i].max()
            answer = np.flatnonzero(smile[start : start + 50, i] > rest + 0.03)
            assert answer.size, "every clear smile is answered"
            latencies.append(answer[0] * 1000.0 / FPS)
            assert smile[start + 40, i] > rest + 0.1
            assert (
                attributes[start + 40, i, ATTRIBUTE_INDEX["valence"]] > attributes[start, i, ATTRIBUTE_INDEX["valence"]]
            )
    assert min(latencies) >= 300.0 and max(latencies) <= 1000.0
    assert 320.0 <= np.median(latencies) <= 700.0
    assert np.std(latencies) > 30.0  # drawn, not fixed


def test_a_listener_without_mimicry_does_not_smile_back() -> None:
    frames, starts = one_smile_each(count=3)
    smile = columns(frames, mimicry=0.0)[0][..., SMILE].mean(axis=-1)
    for start in starts:
        assert (smile[start + 40] - smile[start]).max() < 0.05


def test_smiles_are_slightly_asymmetric() -> None:
    frames, starts = one_smile_each(count=1)
    smile = columns(frames)[0][starts[0] + 40][:, SMILE]
    share = np.abs(smile[:, 0] - smile[:, 1]) / smile.max(axis=1)
    assert share.max() < 0.35 and share.min() > 0.0


# --- head


def test_the_head_follows_the_speakers_with_about_600_ms_of_lag() -> None:
    """Hale 2020, 0.2 to 1.1 Hz."""
    frames = simulated_speaker(1, 60 * FPS, Speaker(talks=False, smiles=False, moves=False))
    yaw = 0.2 * np.sin(2.0 * np.pi * 0.45 * np.arange(len(frames)) / FPS)
    for frame, angle in zip(frames, yaw, strict=True):
        frame.face.rotation = np.array([0.0, angle, 0.0], np.float32)
    mine = columns(frames)[1][..., 1]
    lags = []
    for i in range(LISTENERS):
        # A mirror's answer: the sign turns.
        scores = [-np.corrcoef(yaw[200 : -lag or None], mine[200 + lag :, i])[0, 1] for lag in range(40)]
        lags.append(int(np.argmax(scores)) * 1000.0 / FPS)
    assert 500.0 <= np.mean(lags) <= 700.0
    assert min(lags) >= 350.0 and max(lags) <= 850.0


def test_nods_are_fast_nods() -> None:
    """2.6 to 6.5 Hz (Hale 2020)."""
    pitch = still_talk()[1][1][..., 0]
    hz = [f for i in range(LISTENERS) for _, cycles, f in nods(pitch[:, i]) if cycles >= 2]
    assert len(hz) > 50
    # Peaks fall on frames: a period of 6.5 frames is seen as 6 or 7.
    assert np.percentile(hz, 3) >= 2.5 and np.percentile(hz, 97) <= 6.6


def test_longer_nods_begin_with_their_largest_cycle_and_end_lower() -> None:
    """Mori 2025."""
    stream = Attentive().start(samples=LISTENERS, seed=3)
    first, last, after = [], [], []
    rows = []
    marks = []
    for k, frame in enumerate(still_talk()[0][: 2 * 60 * FPS]):
        rows.append(stream.step(frame).rotation[:, 0])
        s = stream.state
        for i in np.flatnonzero((s.nod_time < 1.0 / FPS) & (s.nod_cycles >= 3.0)):
            marks.append((k, int(i), s.nod_hz[i], s.nod_cycles[i]))
    pitches = np.stack(rows)
    for k, i, hz, cycles in marks:
        cycle, pitch = FPS / hz, pitches[:, i]
        end = int(k + cycles * cycle)
        if end < len(pitch):
            first.append(np.ptp(pitch[k : int(k + cycle) + 1]))
            last.append(np.ptp(pitch[int(end - cycle) : end + 1]))
            after.append(pitch[end] - pitch[k - 1])
    assert len(first) >= 4
    assert np.mean(first) > 1.5 * np.mean(last)
    assert np.mean(after) > 0.0


def test_nods_come_five_to_twenty_times_a_minute_while_the_speaker_talks() -> None:
    frames, (_, rotation, _) = still_talk()
    rates = [len(nods(rotation[:, i, 0])) / (len(frames) / FPS / 60.0) for i in range(LISTENERS)]
    assert min(rates) >= 4.0 and max(rates) <= 20.0
    assert 5.0 <= np.mean(rates) <= 16.0


def test_nods_follow_cues_by_about_700_ms_and_are_rare_otherwise() -> None:
    """Ward and Tsukahara 2000."""
    frames, (_, rotation, _) = still_talk()
    at = cues(frames)
    assert len(at) > 40
    rng = np.random.default_rng(0)
    anywhere = rng.integers(0, len(frames) - 50, 400)

    def followed(moments: np.ndarray, onsets: np.ndarray) -> float:
        return float(np.mean([((onsets > k + 8) & (onsets <= k + 25)).any() for k in moments]))

    after_cue, after_any, waits = [], [], []
    for i in range(LISTENERS):
        onsets = np.array([onset for onset, _, _ in nods(rotation[:, i, 0])])
        after_cue.append(followed(at, onsets))
        after_any.append(followed(anywhere, onsets))
        for k in at:
            waits.extend((onsets[(onsets > k) & (onsets < k + 40)][:1] - k) / FPS)
    # A phrase's fall of pitch comes up to 0.4 s before its pause, and is a cue too.
    assert 0.45 <= np.median(waits) <= 0.95
    assert np.mean(after_cue) > 2.0 * np.mean(after_any)


def test_a_region_of_low_pitch_is_a_cue_and_one_of_high_pitch_is_not() -> None:
    frames = simulated_speaker(0, 1, Speaker(talks=True))
    sound = frames[0].sound
    sound.state = SoundState.SPEECH
    found: dict[str, list[int]] = {"low": [], "high": []}
    for kind, f0 in (("low", 90.0), ("high", 190.0)):
        hearing = CueDetector()
        for k in range(300):
            dip = 200 <= k < 210
            sound.f0 = f0 if dip else 120.0 + 30.0 * np.sin(k / 3.0)
            low, _ = hearing.step(sound)
            if low and k >= 195:
                found[kind].append(k)
    assert found["low"][:1] == [202]  # the third frame: 120 ms
    assert not any(200 <= k < 210 for k in found["high"])


def test_there_are_no_nods_in_an_empty_room() -> None:
    frames = simulated_speaker(12, 2 * 60 * FPS)
    for frame in frames:  # a radio plays in an empty room
        frame.face.state = FaceState.NOBODY
    faces, rotation, _ = columns(frames)
    assert sum(len(nods(rotation[:, i, 0])) for i in range(LISTENERS)) == 0
    assert faces[..., SMILE].max() < 0.1


def test_a_voice_without_a_camera_is_listened_to() -> None:
    frames = simulated_speaker(12, 60 * FPS)
    for frame in frames:
        frame.face.state = FaceState.MISSING
    rotation = columns(frames)[1]
    assert sum(len(nods(rotation[:, i, 0])) for i in range(LISTENERS)) > 10


def test_nodding_zero_never_nods() -> None:
    rotation = columns(list(still_talk()[0][:1500]), nodding=0.0)[1]
    assert sum(len(nods(rotation[:, i, 0])) for i in range(LISTENERS)) == 0


# --- life


def test_the_gaze_stays_with_the_speaker_but_for_short_aversions() -> None:
    _, (faces, rotation, _) = five_minutes()
    away = gaze_yaw(faces) + rotation[..., 1]
    averted = np.abs(away) > 0.1  # rad
    assert 0.03 < averted.mean() < 0.3
    lengths = [(b - a) / FPS for i in range(LISTENERS) for a, b in runs(averted[:, i])]
    assert np.mean(lengths) < 1.5


def gaze_yaw(faces: np.ndarray) -> np.ndarray:
    return 0.6 * (faces[..., ARKIT_INDEX["eyeLookOutLeft"]] - faces[..., ARKIT_INDEX["eyeLookInLeft"]])


def test_the_face_is_more_alert_while_somebody_speaks() -> None:
    frames, (faces, _, _) = still_talk()
    talking = np.array([f.sound.state == SoundState.SPEECH for f in frames])
    settled = np.convolve(talking, np.ones(40) / 40.0, mode="full")[: len(talking)]
    room = columns(simulated_speaker(12, 1500, Speaker(talks=False, smiles=False, moves=False)))[0]
    wide = ARKIT_INDEX["eyeWideLeft"]
    assert np.median(faces[settled > 0.95][..., wide]) > 1.3 * np.median(room[500:][..., wide])


def test_motion_is_smooth_outside_blinks_and_glances() -> None:
    """The third difference, the mark of jitter, is small against the motion itself."""
    _, (faces, rotation, _) = five_minutes()
    still = [i for name, i in ARKIT_INDEX.items() if not name.startswith("eye")]
    assert np.abs(np.diff(faces[..., still], n=3, axis=0)).max() < 0.08
    assert np.percentile(np.abs(np.diff(faces[..., still], n=3, axis=0)), 99) < 0.005
    assert np.percentile(np.abs(np.diff(rotation, n=3, axis=0)), 90) < 0.002  # rad; nods are the rest
    assert np.abs(np.diff(rotation, axis=0)).max() < 0.08  # rad a frame: 2 rad/s


def test_listeners_differ_unless_the_temperature_is_0() -> None:
    frames = simulated_speaker(4, 60 * FPS)

    def spread(temperature: float) -> float:
        faces = columns(frames, temperature=temperature)[0]
        return float(faces[..., SMILE].mean(axis=(0, 2)).std())

    assert spread(1.0) > 1.5 * spread(0.0)  # chance makes the same person's days differ, too
    people = Attentive().start(samples=5).personality
    alike = Attentive(AttentiveConfig(temperature=0.0)).start(samples=5).personality
    for trait in ("expressiveness", "smile_delay", "readiness", "nod_hz", "pleasantness"):
        assert np.ptp(getattr(people, trait)) > 0.0
        assert np.ptp(getattr(alike, trait)) == 0.0


# --- real people's ways: smiles that last, smiles at once, distress, fast talkers


def posed(seconds: float, smile: float = 0.0, **attributes: float) -> list[SpeakerFrame]:
    """A silent, still speaker with this smile and these attributes from the first frame on."""
    frames = simulated_speaker(0, int(seconds * FPS), Speaker(talks=False, smiles=False, moves=False))
    for frame in frames:
        frame.face.blendshapes[SMILE] = smile
        for name, value in attributes.items():
            frame.face.attributes[ATTRIBUTE_INDEX[name]] = value
    return frames


@pytest.mark.parametrize("strength", [0.5, 0.9])
def test_a_smile_that_is_there_in_the_first_frame_is_returned_and_held_for_a_minute(strength: float) -> None:
    smile = columns(posed(60.0, strength, happy=0.9), samples=4)[0][..., SMILE].mean(axis=-1)
    assert smile[35:].min() > 0.25
    assert smile[-250:].mean() > 0.6 * strength
    assert smile[-250:].mean() == pytest.approx(smile[250:500].mean(), abs=0.12)  # no habituation


def lips(lift: list[float], smile: float) -> list[SpeakerFrame]:
    """A speaker whose upper lip is raised by so much in each frame, smiling or not."""
    frames = posed(len(lift) / FPS, smile)
    for frame, height in zip(frames, lift, strict=True):
        frame.face.blendshapes[UPPER_LIP] = height
    return frames


def test_an_open_smile_is_returned_open_and_a_closed_one_closed() -> None:
    opened, closed = (columns(lips([lift] * 100, 0.8))[0][50:] for lift in (0.6, 0.05))
    assert opened[..., UPPER_LIP].mean() > 0.3 > 0.2 > closed[..., UPPER_LIP].mean()
    assert abs(opened[..., SMILE].mean() - closed[..., SMILE].mean()) < 0.02
    assert opened[..., JAW].mean() > closed[..., JAW].mean() + 0.05


def test_syllables_and_a_snarl_are_no_open_smile() -> None:
    """A lip that is raised for a tenth of a second, while smiling; and one that stays raised, without a smile."""
    syllables, snarl = [0.5 if k % 8 < 2 else 0.0 for k in range(200)], [0.7] * 200
    plain = columns(lips([0.0] * 200, 0.8))[0][..., UPPER_LIP].max()
    assert columns(lips(syllables, 0.8))[0][..., UPPER_LIP].max() < plain + 0.03
    assert columns(lips(snarl, 0.0))[0][..., UPPER_LIP].max() < 0.1


def test_a_smile_ends_with_the_speakers() -> None:
    frames, starts = one_smile_each(count=3)
    smile = columns(frames)[0][..., SMILE].mean(axis=-1)
    for start in starts[:2]:  # the speaker's ends at start + 50
        assert (smile[start + 50 + 25] < smile[start + 40] - 0.3).all()


def test_a_smile_that_begins_anew_is_answered_anew() -> None:
    frames = posed(12.0, 0.6, happy=0.8)
    for k in range(150, 162):  # for half a second it is gone
        frames[k].face.blendshapes[SMILE] = 0.1
    smile = columns(frames)[0][..., SMILE].mean(axis=-1)
    assert (smile[166:195].max(axis=0) > smile[140:150].mean(axis=0) + 0.05).all()


def test_brows_are_not_lowered_during_a_smile() -> None:
    """Laughter knits the brows; the answer to it is a smile."""
    brows = [ARKIT_INDEX["browDownLeft"], ARKIT_INDEX["browDownRight"]]
    lowered = []
    for smile in (0.0, 0.8):
        frames = posed(8.0, smile, happy=0.9 * (smile > 0.0), AU4=0.6)
        for frame in frames[50:]:
            frame.face.blendshapes[brows] = 0.6
        lowered.append(columns(frames)[0][100:, :, brows].mean())
    assert lowered[0] > 0.05 and lowered[1] < 0.01


@pytest.mark.parametrize("signs", [{"sad": 0.7}, {"fear": 0.7}, {"AU1": 0.9, "AU4": 0.8}, {"AU15": 0.9}])
def test_distress_is_answered_with_concern_and_no_smile(signs: dict[str, float]) -> None:
    """Also where the mouth of somebody who cries is taken for a smile."""
    frames = posed(10.0, 0.8, happy=0.05, **signs)
    faces, rotation, attributes = columns(frames)
    smile = faces[..., SMILE].mean(axis=-1)
    assert smile[:75].mean() < 0.1 and smile[75:].max() < 0.1
    assert faces[75:, :, ARKIT_INDEX["browInnerUp"]].min() > 0.2
    assert faces[75:, :, ARKIT_INDEX["mouthPressLeft"]].mean() > 0.1
    calm_head = columns(posed(10.0))[1]
    assert (rotation[75:, :, 0].mean(axis=0) > calm_head[75:, :, 0].mean(axis=0) + 0.02).all()  # lowered
    assert (np.abs(rotation - calm_head)[75:, :, 2].mean(axis=0) > 0.02).all()  # tilted
    assert attributes[75:, :, ATTRIBUTE_INDEX["valence"]].mean() < 0.0


def test_a_blink_that_looks_sad_for_a_moment_does_not_end_a_smile() -> None:
    frames = posed(8.0, 0.8, happy=0.9)
    for frame in frames[100:107]:
        frame.face.attributes[[ATTRIBUTE_INDEX["happy"], ATTRIBUTE_INDEX["sad"]]] = 0.05, 0.8
    assert columns(frames)[0][50:, :, SMILE].mean(axis=-1).min() > 0.35


def talk(phrases: list[tuple[float, float]], tune: float = 0.0) -> list[SpeakerFrame]:
    """A still face, and phrases of (speech, pause) in s at one pitch; tune: its rise over the last .5 s, octaves."""
    frames = posed(sum(map(sum, phrases)) + 1.0)
    k = 0
    for speech, pause in phrases:
        n = round(speech * FPS)
        for j, frame in enumerate(frames[k : k + n]):
            rise = tune * max(0.0, 1.0 - (n - j) / 12.0)
            voice = {"speech_probability": 0.95, "voicing": 0.9, "f0": 150.0 * 2.0**rise}
            frame.sound = replace(frame.sound, state=SoundState.SPEECH, **voice)
        k += n + round(pause * FPS)
    return frames


def test_most_pauses_after_a_second_of_speech_are_answered_by_a_nod() -> None:
    phrases = [(2.4, 3.6)] * 10
    rotation = columns(talk(phrases))[1]
    delays = []
    for i in range(LISTENERS):
        onsets = np.array([onset for onset, _, _ in nods(rotation[:, i, 0])])
        for p in range(10):
            end = round((p * 6.0 + 2.4) * FPS)
            delays.extend((onsets[(onsets > end) & (onsets < end + 32)][:1] - end) / FPS)
    assert len(delays) > 0.7 * 10 * LISTENERS
    assert 0.45 <= np.median(delays) <= 0.8


def test_a_short_utterance_is_no_cue() -> None:
    rotation = columns(talk([(0.6, 2.0)] * 12))[1]
    assert sum(len(nods(rotation[:, i, 0])) for i in range(LISTENERS)) == 0


def test_a_fast_talker_gets_no_more_than_fifteen_nods_a_minute_and_a_silent_face_none() -> None:
    fast = columns(talk([(1.2, 0.4)] * 38))[1]
    rates = [len(nods(fast[:, i, 0])) for i in range(LISTENERS)]  # in a minute
    assert min(rates) >= 4.0 and max(rates) <= 15.0
    silent = columns(posed(60.0))[1]
    assert sum(len(nods(silent[:, i, 0])) for i in range(LISTENERS)) == 0


def test_a_question_gets_a_brow_flash() -> None:
    outer = [ARKIT_INDEX["browOuterUpLeft"], ARKIT_INDEX["browOuterUpRight"]]
    raised = {}
    for tune in (0.4, -0.2):
        brow = columns(talk([(2.0, 4.0)] * 8, tune))[0][..., outer].mean(axis=-1)
        after = [brow[round((p * 6.0 + 2.0) * FPS) + 15 :][:25].max(axis=0) for p in range(8)]
        raised[tune] = np.mean(np.array(after) > 0.2)
    assert raised[0.4] > 0.6 and raised[0.4] > 2.0 * raised[-0.2]


def test_nods_are_of_the_published_kinds() -> None:
    """Single, repeated, and up-down; stronger cues have larger ones."""
    stream = Attentive().start(samples=32)
    kinds, strengths, sizes = set(), [], []
    for frame in talk([(1.1, 3.0), (5.0, 3.0)] * 5):
        stream.step(frame)
        s = stream.state
        for i in np.flatnonzero(s.nod_time < 0.5 / FPS):
            kinds.add("up-down" if s.nod_lead[i] > 0.0 else "repeated" if s.nod_cycles[i] > 1.0 else "single")
            strengths.append(s.strength[i])
            sizes.append(s.nod_size[i])
    assert kinds == {"single", "repeated", "up-down"}
    assert np.corrcoef(strengths, sizes)[0, 1] > 0.2
