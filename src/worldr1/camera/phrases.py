"""How each camera move is said: a verb and its direction, as anchored regular expressions.

They are matched against lower-case text without punctuation, at a place where a verb may stand;
``worldr1.camera.language`` decides where that is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from worldr1.camera.words import ADVERB


@dataclass(frozen=True)
class Phrase:
    """A move phrase at the start of a text.

    Attributes:
        move: name of the move.
        tail: what follows the phrase, stripped.
        technical: whether the verb is the trade's own (push, dolly, pan, ...), so that it needs no camera beside it.
        inflected: whether the verb is conjugated ("pushes", "panning") and not a bare "push".
        participle: whether the verb may be one of the past ("pushed"), as what is done to a thing.
        needs_camera: whether it is a camera move only where the camera is named, as "rises".
    """

    move: str
    tail: str
    technical: bool
    inflected: bool
    participle: bool
    needs_camera: bool


_TECHNICAL = {
    *("push", "pull", "dolly", "zoom", "pan", "orbit", "truck", "arc", "circle", "tracking shot", "rotating shot"),
    "lifted shot",
    *("tilt", "crane", "pedestal", "jib", "boom"),
}
_EVERYDAY = {"rise", "ascend", "descend", "elevate", "lower"}
_IRREGULAR = {
    "pan": "panning|panned",
    "spin": "spinning|spun",
    "swing": "swung",
    "creep": "crept",
    "fly": "flew",
    "go": "goes|went",
    "dolly": "dollying",
    "orbit": "orbital",
    "rise": "rose|risen",
    "ascend": "ascent",
    "descend": "descent",
    "jib": "jibbing|jibbed",
    "drop": "dropping|dropped",
    "speed": "sped",
    "rotate": "rotation",
    "come": "coming|came",
    "get": "getting|got",
    "draw": "drew|drawn",
    "drive": "drove",
    "withdraw": "withdrew|withdrawal",
    "whip": "whipping|whipped",
    "snap": "snapping|snapped",
    "sink": "sank",
}
_TRACKING, _ROTATING = r"(?P<verb>(?:tracking|slider|dolly) shot)", r"(?P<verb>(?:rotating|spinning) shot)"
_KINDS = ("", "drone ", "aerial ", "crane ")
_RISING, _SINKING = (
    rf"(?P<verb>{way} (?:{'|'.join(_KINDS)})shot)\b(?: of\b.*)?" for way in ("(?:ascending|rising)", "descending")
)
_STEM_OF = {
    **dict.fromkeys(("tracking shot", "slider shot", "dolly shot"), "tracking shot"),
    **dict.fromkeys(("rotating shot", "spinning shot"), "rotating shot"),
    **{f"{way} {kind}shot": "lifted shot" for way in ("ascending", "rising", "descending") for kind in _KINDS},
    **dict.fromkeys(("lowers", "lowering"), "lower"),
}


def _verb(stems: str) -> str:
    """An expression for all forms of the verbs, which also files each form under its stem."""
    forms: set[str] = set()
    for stem in stems.split():
        root = stem.removesuffix("e")
        third = (
            stem[:-1] + "ies" if stem.endswith("ly") else stem + ("es" if stem.endswith(("sh", "ch", "ss")) else "s")
        )
        past = stem[:-1] + "ied" if stem.endswith("ly") else root + "ed"
        own = {stem, third, root + "ing", past, *_IRREGULAR.get(stem, stem).split("|")}
        _STEM_OF.update(dict.fromkeys(own, stem))
        forms |= own
    return "(?P<verb>" + "|".join(sorted(forms, key=len, reverse=True)) + r")\b"


def _everyday(stems: str) -> str:
    """As `_verb`, for verbs that say a camera move only where the camera is named, whatever follows them."""
    return f"(?P<everyday>{_verb(stems)})"


_MANNER = rf"(?: (?:{ADVERB}|\d+|degrees?|slow|smooth|straight|further|very|shot|camera|of the camera|move|movement))*"
_FROM = r"(?: from (?:the )?(?:left|right)| (?:the )?(?:left|right)(?= to (?:the )?(?:left|right)\b))?"
_SIDE = _FROM + r"(?: (?:to|towards?|over to))?(?: (?:the|its|camera))? (?P<side>left|right)(?:wards?)?\b"
_FAR = rf"(?:(?: [\w']+)*?{_FROM} (?:to|towards?) (?:the |its )?(?P<side>left|right)\b(?! of\b| side of\b))"
_WISE = r"(?:(?: [\w']+)*? (?P<wise>anti ?clockwise|counter ?clockwise|clockwise|leftwards?|rightwards?)\b)"
_WAY = r"(?: back)? (?P<way>up|down)(?:wards?)?\b"
_ANYWHERE = rf"(?:{_FAR}|{_WISE}|)"
_ANTI, _CLOCK = r"(?:anti|counter) ?clockwise\b", r"clockwise\b"
_SPINNING = _verb("rotate spin turn twist") + _MANNER + r"(?: in an?)? "
_ITSELF = rf"(?!{_MANNER} (?:around|round|about) (?!its\b))"

_SIDEWAYS = _verb(
    "move track truck slide strafe glide travel shift dolly drift crab go translate float sidestep fly sweep step walk"
)
_FORWARD = _verb(
    "push dolly zoom move track truck glide travel creep ease fly slide drift float go inch step walk press "
    "rush race speed venture plunge dive swoop sweep soar weave pass crawl surge"
)
_BACKWARD = _verb(
    "pull dolly zoom move track truck glide travel creep ease fly slide drift float go inch step walk back"
)
_AROUND = _verb("rotate spin swing move travel turn go fly glide sweep swoop track curve wheel loop")
_ORBITING = _verb("orbit circle arc revolve encircle")
_LIFTED = _verb(
    "move go travel fly glide float drift slide track soar sweep swoop climb lift rise drop dive sink push pull"
)
_ROAD = (
    r"(?: the| an?)(?: [\w']+){0,3}? (?:street|road|lane|avenue|boulevard|highway|path|trail|track|hall|hallway|"
    r"corridor|aisle|passage|tunnel|alley|alleyway|runway|river|canyon|valley)\b"
)
_AXIS = r"(?: (?:about|around|on) its (?:[a-z]+ )?axis)?"
_IN_LINE = r"(?! (?:line|parallel|sync|step|time|circles?)\b)"
_IN = r" in\b(?! (?:slow|a|an|the|real|this|that)\b)" + _IN_LINE
_HIGHER, _LOWER = (
    rf"(?=$| (?:{places}|from|to|towards?|through|past|over|into|slow|{ADVERB})\b)"
    for places in ("off|above|high|higher", "below|beneath|under|low|lower")
)
_PLAIN_ZOOM = (
    r"(?P<verb>zoom|zooms|zooming)"
    rf"(?: shot of\b.*|(?: shot)?(?:$|(?= (?:onto|to|slow|until|for \d+|{ADVERB})\b)))"
)

_PHRASES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (move, re.compile(pattern))
    for move, pattern in (
        ("tilt", _verb("tilt pan pitch swivel") + _MANNER + _WAY),
        ("tilt", _verb("tilt") + r"(?: [\w']+)*?" + _WAY),
        ("roll", _verb("roll tilt") + _MANNER + r"(?: over)?" + _SIDE),
        ("roll left", _verb("roll") + _MANNER + r"(?: in an?)? (?:anti|counter) ?clockwise\b"),
        ("roll right", _verb("roll") + _MANNER + r"(?: in an?)? clockwise\b"),
        ("roll right", r"(?P<verb>rolls?)(?! cameras?$)" + _MANNER + _AXIS + "$"),
        ("roll left", _ANTI + r" (?P<verb>roll|rotation|spin)\b"),
        ("roll right", _CLOCK + r" (?P<verb>roll|rotation|spin)\b"),
        ("roll left", _SPINNING + _ANTI + _ITSELF),
        ("roll right", _SPINNING + _CLOCK + _ITSELF),
        ("roll", _everyday("bank") + _MANNER + _SIDE),
        ("tilt", _everyday("look gaze glance") + _MANNER + _WAY + r"(?! (?:at|on|upon|over|from|into)\b)"),
        ("tilt", rf"(?P<everyday>(?P<verb>angles|angling|tips|tipping))(?: {ADVERB})?" + _WAY),
        (
            "crane",
            r"(?!(?:crane|boom|pedestal) (?:up|down) (?:by|at|near|in)\b)"
            + _verb("crane jib boom pedestal")
            + _MANNER
            + _WAY,
        ),
        ("push in", _FORWARD + _MANNER + " down" + _ROAD),
        ("crane", _LIFTED + _MANNER + _WAY + r"(?!(?<=up) to (?:the|an?|his|her|their)\b)(?! close\b)"),
        ("crane up", _RISING),
        ("crane down", _SINKING),
        ("crane up", _verb("rise ascend elevate")),
        ("crane down", _verb("descend")),
        ("crane down", r"(?P<verb>lowers|lowering)\b"),
        ("pull", _verb("pull") + _MANNER + r"(?: (?:back|out|away|backwards?))?" + _MANNER + _SIDE),
        ("orbit", _ORBITING + _MANNER + r"(?: (?:around|round))?" + _SIDE),
        ("orbit", _AROUND + _MANNER + _SIDE + r" (?:around|round) (?:the(?! corner)|an?|it|him|her|them)\b"),
        ("pan", _verb("pan yaw swivel swing turn rotate look") + _MANNER + _SIDE),
        ("pan", _everyday("whip snap glance") + r"(?: (?:around|round|back|over))?" + _SIDE),
        ("move", _TRACKING + _SIDE + r"(?: of\b.*)?"),
        ("move", r"(?P<trade>(?P<verb>tracking|straf(?:e|es|ing)))" + _SIDE),
        ("move", _SIDEWAYS + _MANNER + r"(?: sideways)?" + _SIDE),
        ("move", _everyday("head") + _MANNER + _SIDE),
        ("orbit", _ORBITING + r"(?! of (?!\d))" + _ANYWHERE),
        ("orbit", _ROTATING + _ANYWHERE),
        ("orbit", _AROUND + _MANNER + r" (?:around|round|in an? (?:[a-z]+ )?(?:circle|arc|orbit))\b" + _ANYWHERE),
        ("orbit", _SPINNING + rf"(?P<wise>{_ANTI}|{_CLOCK})" + _MANNER + r" (?:around|round|about)\b"),
        ("orbit", r"360 (?:degrees? )?(?P<trade>(?P<verb>shot|rotation|spin))" + rf"(?= (?:a|)round\b{_ANYWHERE})"),
        ("pan", _verb("pan") + rf"(?!{_MANNER} (?:up|down)(?:wards?)?\b)(?! for gold\b)" + _ANYWHERE),
        ("push in", _verb("push dolly zoom press") + _MANNER + rf"(?: (?:in|inwards?)\b{_IN_LINE}|(?= into\b))"),
        ("push in", _verb("zoom") + _MANNER + r"(?= on\b)"),
        ("push in", r"(?P<trade>(?P<verb>fly ?through))(?: shot)?(?: of\b.*|$)"),
        ("push in", _FORWARD + _MANNER + r" (?:forwards?|closer|nearer|ahead|into|inwards?|through)\b"),
        ("push in", _FORWARD + _MANNER + r"(?= towards?\b(?! (?:the |its )?(?:left|right)\b))"),
        ("push in", _FORWARD + _MANNER + _IN),
        ("push in", _verb("approach advance")),
        ("push in", _everyday("come get draw") + _MANNER + r" (?:close|closer|near|nearer|in close)\b"),
        ("push in", _everyday("head drive") + _MANNER + r" (?:forwards?|ahead|into|through|towards?)\b"),
        ("push in", r"(?P<everyday>(?P<verb>closes|closing)) in\b"),
        ("push in", r"(?P<everyday>(?P<verb>nears|nearing|enters|entering)) (?:an?|the) (?!frame|scene|shot|view)"),
        ("pull out", _BACKWARD + _MANNER + r" (?:out|back|backwards?|away|outwards?|off)\b"),
        ("pull out", _verb("retreat recede")),
        ("pull out", _everyday("draw") + _MANNER + r" (?:back|away)\b"),
        ("pull out", r"(?P<everyday>(?P<verb>backs|backing)) up\b"),
        ("pull out", _everyday("withdraw widen")),
        ("pull out", r"reverse (?P<verb>zoom)\b"),
        ("push in", _PLAIN_ZOOM),
        ("move", _SIDEWAYS + _FAR),
        ("crane up", _everyday("lift climb soar") + _HIGHER),
        ("crane down", _everyday("drop sink") + _LOWER),
        ("tilt", r"(?P<way>up|down)(?:ward)? (?P<verb>tilt|pan)\b"),
        ("crane", r"(?P<way>up|down)(?:ward)? (?P<verb>crane|pedestal|jib)\b"),
        ("roll", r"(?P<side>left|right)(?:ward)? (?P<verb>roll)\b"),
        ("pan", r"(?P<side>left|right)(?:ward)? (?P<verb>pan)\b"),
        ("pan", r"(?:left|right) to (?P<side>left|right) (?P<verb>pan)\b"),
        ("move", r"(?:left|right) to (?P<side>left|right) (?P<verb>tracking shot)\b(?: of\b.*)?"),
        ("orbit", r"(?P<side>left|right)(?:ward)? (?P<verb>orbit|arc)\b"),
        ("move", r"(?P<side>left|right)(?:ward)? (?P<verb>truck|tracking shot)\b"),
    )
)


def is_verb(word: str) -> bool:
    """Whether a word is a form of a verb that camera moves are said with."""
    return word in _STEM_OF


def match_phrase(text: str) -> Phrase | None:
    """The move phrase with which a text begins, or ``None``.

    A side that follows its verb directly decides first ("pan left", "moves to the right"); then orbits and pans with a
    side further on ("orbits the statue to the left"); then moves along the optical axis; then sideways moves with a
    side further on ("tracks the car to the left"). Clockwise is as seen from above, which is an orbit to the left. An
    orbit, pan or roll without a side goes right; clockwise, a roll goes right, and what turns clockwise about nothing
    rolls. What moves up or down is a crane move, a pan or a look upwards is a tilt, a way down a street goes forward,
    and a zoom without a direction goes in.
    """
    for move, pattern in _PHRASES:
        if found := pattern.match(text):
            named = found.groupdict()
            if "side" in named or "wise" in named:
                move = f"{move} {named.get('side') or _turn(named.get('wise'))}"
            elif "way" in named:
                move = f"{move} {named['way']}"
            verb = found["verb"]
            stem = _STEM_OF.get(verb, "")
            return Phrase(
                move,
                tail=text[found.end() :].strip(),
                technical=stem in _TECHNICAL or "trade" in named,
                inflected=verb != stem,
                participle=verb.endswith(("ed", "wn")) and verb != stem,
                needs_camera="everyday" in named or (stem in _EVERYDAY and "way" not in named),
            )
    return None


def _turn(wise: str | None) -> str:
    return "left" if wise is not None and wise.startswith(("clockwise", "left")) else "right"
