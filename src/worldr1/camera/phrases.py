"""The vocabulary of the camera language: how each move is said, as anchored regular expressions.

Every expression is matched against lower-case text without hyphens or punctuation, at the place where a verb is
expected. ``worldr1.camera.language`` decides where that is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrase:
    """A move phrase found in a clause.

    Attributes:
        move: name of the move.
        verb: the word that it begins with, as written.
        tail: what follows it in the clause, stripped.
        technical: whether the verb is the trade's own (push, dolly, pan, ...), so that it needs no camera beside it.
        inflected: whether the verb is conjugated ("pushes", "panning") rather than a bare "push in".
    """

    move: str
    verb: str
    tail: str
    technical: bool
    inflected: bool


_TECHNICAL = ("push", "pull", "dolly", "zoom", "pan", "orbit", "truck", "arc", "circle")


def _verb(*stems: str) -> str:
    forms = set()
    for stem in stems:
        root = stem[:-1] if stem.endswith("e") else stem
        third = stem[:-1] + "ies" if stem.endswith(("ly", "lly")) else stem + ("es" if stem.endswith("sh") else "s")
        past = stem[:-1] + "ied" if stem.endswith("ly") else root + "ed"
        forms |= {stem, third, root + "ing", past}
    forms |= {form for stem, extra in _IRREGULAR.items() if stem in stems for form in extra}
    return "(?P<verb>" + "|".join(sorted(forms, key=lambda form: (-len(form), form))) + r")\b"


_IRREGULAR = {
    "pan": ("panning", "panned"),
    "go": ("goes", "going"),
    "spin": ("spinning", "spins"),
    "swing": ("swings", "swinging"),
    "creep": ("creeps", "creeping"),
    "dolly": ("dollying",),
    "orbit": ("orbital", "orbiting", "orbits"),
}
_MANNER = r"(?: (?:[a-z]+ly|slow|smooth|straight|further|bit by bit|very|shot|camera|move|movement))*"
_SIDE = r"(?: from (?:the )?(?:left|right))?(?: (?:to|towards?|round to|over to))?(?: the| its| camera)? (?P<side>left|right)(?:wards?|hand)?(?: side)?\b"
_FAR_SIDE = (
    r"(?:(?:[a-z' ]*?(?: from (?:the )?(?:left|right))? (?:to|towards?) (?:the |its )?(?P<far>left|right)\b(?! of\b| side of\b))"
    r"|(?:[a-z' ]*? (?P<wise>anti ?clockwise|counter ?clockwise|clockwise|leftwards?|rightwards?)\b))?"
)
_SIDEWAYS = ("move", "track", "truck", "slide", "strafe", "glide", "travel", "shift", "dolly", "drift", "crab", "go")
_SIDEWAYS += ("translate", "float", "sidestep", "fly", "sweep", "step")
_FORWARD = ("push", "dolly", "zoom", "move", "track", "truck", "glide", "travel", "creep", "ease", "fly", "slide")
_FORWARD += ("drift", "float", "go", "inch", "step", "close", "press")
_BACKWARD = ("pull", "dolly", "zoom", "move", "track", "truck", "glide", "travel", "creep", "ease", "fly", "slide")
_BACKWARD += ("drift", "float", "go", "inch", "step", "back")
_AROUND = (
    "rotate",
    "spin",
    "swing",
    "move",
    "travel",
    "turn",
    "go",
    "fly",
    "glide",
    "sweep",
    "revolve",
    "track",
    "curve",
)
_NOT_IN = r"(?! (?:slow|a|an|the|real|time|sync|parallel|line|this|that|circles)\b)"

_SIDED: tuple[tuple[str, str], ...] = (
    ("pull", _verb("pull") + _MANNER + r"(?: (?:back|out|away|backwards?))?" + _MANNER + _SIDE),
    ("orbit", _verb("orbit", "circle", "arc", "revolve") + _MANNER + r"(?: (?:around|round))?" + _SIDE + r"(?! of\b)"),
    ("pan", _verb("pan", "yaw", "swivel", "swing", "turn", "rotate", "look") + _MANNER + _SIDE),
    ("move", _verb(*_SIDEWAYS) + _MANNER + r"(?: sideways)?" + _SIDE),
)
_ROAMING: tuple[tuple[str, str], ...] = (
    ("orbit", _verb("orbit", "circle", "arc", "revolve") + r"(?P<gap>)" + _FAR_SIDE),
    (
        "orbit",
        _verb(*_AROUND) + _MANNER + r" (?:around|round|in an? (?:[a-z]+ )?(?:circle|arc|orbit|circular))\b" + _FAR_SIDE,
    ),
    ("pan", _verb("pan") + r"\b(?!" + _MANNER + r" (?:up|down|upwards?|downwards?)\b)" + _FAR_SIDE),
)
_PLAIN: tuple[tuple[str, str], ...] = (
    ("push in", _verb("push", "dolly", "zoom", "press") + _MANNER + r" (?:in|into|inwards?)\b"),
    ("push in", _verb("zoom") + _MANNER + r" on\b"),
    ("push in", _verb(*_FORWARD) + _MANNER + r" (?:forwards?|closer|nearer|ahead|into|towards?|inwards?|through)\b"),
    ("push in", _verb(*_FORWARD) + _MANNER + r" in\b" + _NOT_IN),
    ("push in", _verb("approach", "advance") + r"(?P<gap>)"),
    ("pull out", _verb(*_BACKWARD) + _MANNER + r" (?:out|back|backwards?|away|outwards?|off)\b"),
    ("pull out", _verb("retreat", "recede") + r"(?P<gap>)"),
)
_ASIDE = (
    "move",
    _verb(*_SIDEWAYS)
    + r"[a-z' ]*?(?: from (?:the )?(?:left|right))? (?:to|towards?) the (?P<side>left|right)\b(?! of\b)",
)
_NOUN = r"(?P<side>left|right)(?:ward)? (?P<verb>pan|orbit|arc|truck|move|tracking shot)\b"

_SIDED_RE = tuple((name, re.compile(pattern)) for name, pattern in _SIDED)
_ROAMING_RE = tuple((name, re.compile(pattern)) for name, pattern in _ROAMING)
_PLAIN_RE = tuple((name, re.compile(pattern)) for name, pattern in _PLAIN)
_ASIDE_RE = re.compile(_ASIDE[1])
_NOUN_RE = re.compile(_NOUN)
_NOUN_MOVE = {"pan": "pan", "orbit": "orbit", "arc": "orbit", "truck": "move", "move": "move", "tracking shot": "move"}
_WISE = {"clockwise": "left", "leftward": "left", "leftwards": "left", "rightward": "right", "rightwards": "right"}


def match_phrase(text: str) -> Phrase | None:
    """The move phrase with which ``text`` begins, or ``None``.

    A side that follows its verb directly decides first ("pan left", "moves to the right"); then orbits and pans with a
    side further on ("orbits the statue to the left"); then moves along the optical axis; then sideways moves with a
    side further on ("tracks the car to the left"). Clockwise is as seen from above, which is an orbit to the left. An
    orbit or pan without a side goes right.
    """
    for name, pattern in _SIDED_RE:
        if found := pattern.match(text):
            return _phrase(f"{name} {found['side']}", found, text)
    for name, pattern in _ROAMING_RE:
        if found := pattern.match(text):
            side = found["far"] or (_WISE.get(found["wise"], "right") if found["wise"] else "right")
            return _phrase(f"{name} {side}", found, text)
    for name, pattern in _PLAIN_RE:
        if found := pattern.match(text):
            return _phrase(name, found, text)
    if found := _ASIDE_RE.match(text):
        return _phrase(f"move {found['side']}", found, text)
    if found := _NOUN_RE.match(text):
        return _phrase(f"{_NOUN_MOVE[found['verb']]} {found['side']}", found, text)
    return None


def _phrase(move: str, found: re.Match[str], text: str) -> Phrase:
    verb = found["verb"]
    stem = next((stem for stem in _TECHNICAL if verb.startswith(stem[:4].rstrip("ey"))), None)
    return Phrase(move, verb, text[found.end() :].strip(), stem is not None, stem is not None and verb != stem)
