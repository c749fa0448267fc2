"""What a simulated speaker says and how: clauses of everyday talk, their endings, pauses and disfluencies.

Pauses are drawn from three kinds (brief, medium and long: Campione and Véronis 2002); 6 to 10 disfluencies per 100
words (Li and Tilsen 2015); most pauses at clause boundaries follow a rise (O'Shaughnessy 1992); a region of low pitch
invites an answer (Ward and Tsukahara 2000).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Ending = Literal["fall", "level", "rise", "held"]

PAUSES = ((0.46, 0.08), (0.41, 0.33), (0.13, 1.2))
"""Share and median, s, of brief, medium and long pauses within a turn."""
FILLERS = ("ˈʌmmm", "ˈʌʌʌ", "ˈɛɹmm", "mmm")
"""Phonemes of filled pauses."""

_SLOTS: dict[str, tuple[str, ...]] = {
    "who": ("my sister", "my brother", "my boss", "the neighbour", "my mother", "my dad", "a friend of mine", "Anna",
            "the doctor", "my cousin", "the teacher", "her husband", "the guy next door", "my aunt", "our landlord",
            "the manager", "my wife", "my flatmate", "the woman at the desk", "an old colleague", "Peter", "our coach",
            "the driver", "my grandmother", "the kids", "my daughter", "his son"),
    "did": ("called me", "came over", "forgot about it", "told me everything", "moved away", "laughed at it",
            "asked for help", "missed the train", "got the job", "lost the keys", "bought a car", "started crying",
            "fell off a ladder", "left early", "wrote me a letter", "paid for dinner", "changed the plan",
            "cooked for everybody", "broke a leg", "had the baby", "found a flat", "went back home", "got really angry",
            "never answered", "surprised all of us", "fixed the roof", "passed the exam", "sold the house"),
    "when": ("yesterday", "last week", "on Monday", "in the morning", "after lunch", "two days ago", "last summer",
             "at the weekend", "just before midnight", "a month ago", "on my birthday", "this afternoon", "back in May",
             "every single day", "over the holidays", "the other night", "around six", "when I was ten"),
    "where": ("at work", "in the kitchen", "at the airport", "in Berlin", "at the hospital", "on the bus", "at school",
              "in the garden", "by the sea", "in the office", "at the station", "on the phone", "in a small village",
              "outside the supermarket", "at my place", "down the road", "in the middle of nowhere", "at the beach",
              "up in the mountains", "in front of everybody"),
    "thing": ("the car", "the new project", "a cup of coffee", "the old house", "my phone", "the dog", "the ticket",
              "the whole story", "that meeting", "the bill", "a birthday cake", "the heating", "the second interview",
              "a bike", "the wedding", "the computer", "that letter", "the garden", "the match", "our holiday",
              "the washing machine", "the photographs", "a bottle of wine", "the exam", "that funny film"),
    "adj": ("great", "awful", "strange", "funny", "tired", "lovely", "difficult", "expensive", "boring", "amazing",
            "embarrassing", "quiet", "perfect", "terrible", "nice", "crazy", "sad", "beautiful", "too late",
            "impossible", "ridiculous", "all right", "pretty scary", "much better", "a bit weird"),
    "adv": ("really", "just", "actually", "only", "kind of", "almost", "never", "always", "finally", "honestly",
            "suddenly", "still", "probably", "simply"),
    "feel": ("happy", "nervous", "so relieved", "angry", "proud", "lonely", "worried", "excited", "ashamed", "hopeful",
             "completely lost", "a little jealous", "grateful", "exhausted", "sick", "bored", "frightened", "calm"),
    "do": ("go home", "take a walk", "call a taxi", "try again", "wait outside", "clean the house", "eat something",
           "sleep", "talk about it", "leave the country", "find a job", "stay in bed", "learn the piano", "cook dinner",
           "visit them", "give up", "start over", "ask somebody", "make a list", "save some money", "say sorry"),
    "num": ("two", "three", "five", "ten", "about twenty", "forty", "a hundred", "six or seven", "a couple of"),
    "unit": ("hours", "days", "weeks", "people", "times", "minutes", "years", "kilometres", "euros", "pages", "boxes"),
}  # fmt: skip

_NARRATION = (
    "{who} {did} {when}", "so {who} {did}", "and then {who} {did}", "because {who} {did} {where}",
    "I was {where} {when}", "we were all {where}", "it took us {num} {unit}", "I {adv} wanted to {do}",
    "and I thought it was {adj}", "but it was {adv} {adj}", "I felt {feel} about {thing}", "and I was so {feel}",
    "we had to {do} {when}", "they said {thing} was {adj}", "I could not find {thing}", "and we looked at {thing}",
    "she said I should {do}", "he told me that {who} {did}", "which was {adj}", "so we decided to {do}",
    "it was {adv} {adj} {where}", "there were {num} {unit} left", "I had {thing} with me", "I left {thing} {where}",
    "and nobody knew about {thing}", "when {who} {did} I was {feel}", "I have been working on {thing} for {num} {unit}",
    "we drove for {num} {unit} and it was {adj}", "the weather was {adj} {when}", "I got up early to {do}",
    "and that is why I {adv} like {thing}", "I had never seen anything so {adj}", "we used to {do} {when}",
    "I spent {num} {unit} {where}", "they wanted {num} {unit} more", "before I could {do} {who} {did}",
    "we laughed about {thing} for {num} {unit}", "I was {feel} and {feel} at the same time",
    "then somebody stole {thing}", "the first thing I did was to {do}", "I said let us {do}",
    "{thing} was {adj} but {thing} was {adj}", "after that we {adv} had to {do}", "so I went {where} to {do}",
    "it started to rain {when}", "and in the end it was all {adj}", "I remember {thing} very well",
    "they closed the place {where}", "{who} and {who} live together now", "he is {feel} all the time now",
    "she was born {where}", "we are getting married {when}", "the doctors could not do anything", "she died {when}",
    "I am going to be a father", "they let {num} of us go", "I won {thing} in a competition",
    "I burned dinner {when}", "the train was late by {num} {unit}", "and the food was {adv} {adj}",
)  # fmt: skip
_OPINIONS = (
    "I do not know", "I think so", "it is {adj}", "I mean it is {adj}", "you know it is {adv} {adj}",
    "I guess we could {do}", "maybe I will {do}", "that makes me {feel}", "I would rather {do}", "it does not matter",
    "and that is {adv} it", "I am not sure about {thing}", "if you ask me {thing} is {adj}", "nobody can {do} {where}",
    "it could be {adj}", "I should {do} more often", "people {adv} {do} these days", "well it depends on {thing}",
    "I love {thing}", "I cannot stand {thing}", "what I like most is {thing}", "I was {feel} to be honest",
    "that would be {adj}", "it is hard to {do} {where}", "I hope {who} will {do}", "we will see", "anyway",
    "I am fine now", "I am looking forward to {thing}", "it is the same with {thing}", "not that I want to {do}",
    "I miss {thing}", "and I am {feel}", "to me {thing} is more important than {thing}", "so that was that",
)  # fmt: skip
_QUESTIONS = (
    "do you know {thing}", "have you ever been {where}", "is that {adj}", "can you believe it", "you know what I mean",
    "would you {do}", "did you hear that {who} {did}", "and guess what", "what would you do", "are you {feel}",
    "isn't it {adj}", "you remember {who}", "right", "does that make sense", "so why would {who} {do}",
    "how long did you {do}", "who would do that {when}", "don't you think it is {adj}",
)  # fmt: skip
_SHORT = (
    "yeah", "no", "right", "well", "so", "okay", "exactly", "of course", "not really", "I see", "maybe", "wow",
    "oh well", "I know", "yes please", "thank you", "never mind", "good question", "hello", "that is true",
)  # fmt: skip
_OPENERS = ("and", "but", "so", "well", "because", "then", "I mean", "you know", "like", "actually", "anyway", "now")


@dataclass(frozen=True, slots=True)
class Clause:
    """What is said between two planned pauses."""

    text: str
    """Words, or "" for a filler, whose phonemes are given."""
    phonemes: str
    """In hibari's alphabet, or "" where they follow from the text."""
    ending: Ending
    pause: float
    """Planned silence after it, s."""
    low: float = 0.0
    """Planned length of the region of low pitch at the end, s; 0 for none."""
    rise: float = 0.0
    """Of the pitch over the last .35 s, semitones."""
    emphasis: int = 0
    """How many words are emphasised."""
    repeat: int = -1
    """A word that is said twice, or -1."""
    cut: int = -1
    """A word that is broken off and begun anew, or -1."""
    tempo: float = 1.0
    """Factor on the speaker's tempo."""
    lengthen: float = 1.0
    """Factor on the length of the last syllable."""
    clause_end: bool = True
    """Whether a clause ends here; otherwise the speaker hesitates within it."""
    turn_end: bool = False
    """Whether the speaker leaves the turn to the other afterwards."""

    @property
    def words(self) -> int:
        return len(self.text.split())


@dataclass(frozen=True, slots=True)
class Talk:
    """The plan of a clip: more clauses than 30 s can take, or none for silence."""

    start: float
    """Of the first clause, s; negative where the clip begins in the middle of it."""
    clauses: tuple[Clause, ...]


def clause_text(rng: np.random.Generator, kind: str = "") -> str:
    """A random clause, plain words without punctuation. kind: "question", "short", "opinion", or "" for narration."""
    frames = {"question": _QUESTIONS, "short": _SHORT, "opinion": _OPINIONS}.get(kind, _NARRATION)

    def filled(match: re.Match[str]) -> str:
        words = _SLOTS[match[1]]
        return words[int(rng.integers(len(words)))]

    text = re.sub(r"\{(\w+)\}", filled, frames[int(rng.integers(len(frames)))])
    if kind in ("", "opinion") and rng.random() < 0.25 and text.split()[0] not in ("and", "but", "so", "because"):
        text = f"{_OPENERS[int(rng.integers(len(_OPENERS)))]} {text}"
    return text


def draw_pause(rng: np.random.Generator, scale: float = 1.0, *, boundary: bool = True) -> float:
    """A pause within a turn, s. scale: the speaker's. boundary: between clauses; within them pauses are shorter."""
    shares = np.array([share for share, _ in PAUSES]) * ((1.0, 1.0, 1.0) if boundary else (1.5, 0.8, 0.3))
    median = PAUSES[int(rng.choice(3, p=shares / shares.sum()))][1]
    return float(np.clip(scale * median * np.exp(0.45 * rng.standard_normal()), 0.04, 3.5))


def draw_clauses(
    rng: np.random.Generator, *, amount: float, pauses: float, disfluency: float, uptalk: float, seconds: float
) -> tuple[float, tuple[Clause, ...]]:
    """(start in s, clauses) of a talk; clauses last at least `seconds` together.

    amount: share of the time in which the speaker has the turn, 0 to 1. pauses: factor on pauses within a turn.
    disfluency: per 100 words. uptalk: share of continuing clauses that rise.
    """
    if amount <= 0.02:
        return seconds, ()
    out: list[Clause] = []
    told = 0.0
    endless = amount > 0.93
    # Rare talk is short answers with long silences; a talkative person goes on for many clauses.
    length = 1.3 + 9.0 * amount**2
    while told < seconds + 6.0:
        count = 200 if endless else 1 + int(rng.geometric(1.0 / length))
        spoken = 0.0
        for i in range(count):
            last = i == count - 1
            new = _draw_clause(rng, last=last, pauses=pauses, disfluency=disfluency, uptalk=uptalk, short=amount < 0.4)
            out += new
            spoken += sum(0.26 * max(c.words, 1) + c.pause for c in new)
            if told + spoken > seconds + 6.0:
                break
        gap = float(np.clip(spoken * (1.0 - amount) / amount, 1.5, 4.0 if amount > 0.5 else 14.0))
        gap = float(np.clip(gap * np.exp(0.35 * rng.standard_normal()), 1.5, 15.0))
        *rest, final = out
        if final.turn_end:
            out = [*rest, _with_pause(final, gap)]
        told += spoken + gap
    draw = rng.random()
    if draw < 0.45 * amount:
        start = -float(rng.uniform(0.2, 1.5))
    elif draw < 0.75:
        start = float(rng.uniform(0.0, 1.2))
    else:
        start = float(rng.uniform(0.5, 2.0 + 6.0 * (1.0 - amount)))
    return start, tuple(out)


def _with_pause(clause: Clause, pause: float) -> Clause:
    return replace(clause, pause=pause)


def _draw_clause(
    rng: np.random.Generator, *, last: bool, pauses: float, disfluency: float, uptalk: float, short: bool
) -> list[Clause]:
    """One clause with the hesitations in it: the parts between its pauses."""
    draw = rng.random()
    kind = (
        "question" if draw < 0.09 else "short" if draw < (0.4 if short else 0.14) else "opinion" if draw < 0.4 else ""
    )
    text = clause_text(rng, kind)
    if kind == "" and rng.random() < 0.5:
        text = f"{text} {'and' if rng.random() < 0.5 else 'because'} {clause_text(rng, 'opinion')}"
    words = text.split()
    tempo = float(np.exp(0.08 * rng.standard_normal()))
    if kind == "question":
        ending: Ending = "rise" if rng.random() < 0.75 else "fall"
    elif last:
        ending = "fall" if rng.random() < 0.8 else "rise"
    else:
        draw = rng.random()
        ending = "rise" if draw < uptalk else "fall" if draw < uptalk + 0.35 else "level"
    low = float(rng.uniform(0.16, 0.45)) if ending == "fall" and rng.random() < (0.85 if last else 0.6) else 0.0
    pause = draw_pause(rng, pauses)
    if low or ending == "rise":
        pause = max(pause, float(rng.uniform(0.12, 0.6)))
    parts: list[Clause] = []
    hesitates = rng.random() < disfluency / 100.0 * len(words)
    repeat = cut = -1
    if hesitates and len(words) > 3:
        at, how = int(rng.integers(1, len(words) - 1)), rng.random()
        if how < 0.5:
            filler = _filler(rng, draw_pause(rng, pauses, boundary=False))
            before = draw_pause(rng, 0.6 * pauses, boundary=False)
            parts = [
                Clause(" ".join(words[:at]), "", "level", before, emphasis=int(rng.random() < 0.4), tempo=tempo,
                       lengthen=float(rng.uniform(1.2, 2.0)), clause_end=False),
                filler,
            ]  # fmt: skip
            words = words[at:]
        elif how < 0.65:
            held = draw_pause(rng, pauses, boundary=False)
            parts = [
                Clause(" ".join(words[:at]), "", "held", held, tempo=tempo, lengthen=float(rng.uniform(1.8, 2.8)),
                       clause_end=False)
            ]  # fmt: skip
            words = words[at:]
        elif how < 0.88:
            repeat = at - 1
        else:
            cut = at
    elif not last and rng.random() < disfluency / 100.0:
        parts = [_filler(rng, draw_pause(rng, pauses))]
    final = Clause(
        " ".join(words), "", ending, pause, low, float(rng.uniform(3.5, 7.5)) if ending == "rise" else 0.0,
        emphasis=int(rng.choice(3, p=(0.25, 0.5, 0.25))), repeat=repeat, cut=cut, tempo=tempo,
        lengthen=float(rng.uniform(1.4, 2.0)) if pause > 0.3 and rng.random() < 0.5 else float(rng.uniform(1.0, 1.25)),
        turn_end=last,
    )  # fmt: skip
    return [*parts, final]


def _filler(rng: np.random.Generator, pause: float) -> Clause:
    return Clause(
        "", FILLERS[int(rng.choice(len(FILLERS), p=(0.45, 0.35, 0.05, 0.15)))], "held", pause,
        tempo=float(rng.uniform(0.5, 0.9)), clause_end=False,
    )  # fmt: skip
