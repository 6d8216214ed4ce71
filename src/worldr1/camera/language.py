"""The camera language: which moves a prompt asks of the camera, in order.

Grammar, over lower-case text in which hyphens are spaces::

    prompt   = sentence { ("." | ";" | "!" | "?" | newline) sentence }
    sentence = clause { ("," | ":" | "and" | "then" | "before" | "while" | ...) clause }
    clause   = [words] camera {filler} phrase [words]     "the camera slowly pushes in on a box"
             | {filler} phrase [tail]                     "slow pan left over the city"
             | still camera                               "static shot", "camera fixed", "no camera movement"
    camera   = "camera" | "shot" | "view" | "viewpoint" | "pov"
    phrase   = a verb with its direction                  (worldr1.camera.phrases)
    filler   = an adverb, article, auxiliary or manner word

A clause without a camera counts only when the phrase opens it and what follows can follow a camera move, or when it
goes on from a clause about the camera. So a prompt that merely mentions a camera, or whose people move, push in line or
turn left, moves nothing. A negated move is dropped. The first three moves count; a sentence that repeats the move
before it restates it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from worldr1.camera.phrases import Phrase, match_phrase

MOVES: tuple[str, ...] = (
    "push in",
    "pull out",
    "move left",
    "move right",
    "orbit left",
    "orbit right",
    "pan left",
    "pan right",
    "pull left",
    "pull right",
    "fixed",
)
MAX_MOVES = 3

_STILL = r"(?:fixed|static|still|stationary|motionless|unmoving|immobile|locked(?: off| down| in place)?|frozen)"
_STILL_CAMERA = re.compile(
    rf"\b{_STILL} (?:(?:wide|medium|tripod|cinematic|close up|long|full) )*(?:camera|shot|view|viewpoint|angle|framing)\b"
    r"|\b(?:no|without(?: any)?) camera (?:movement|motion|move)s?\b"
    r"|\btripod shot\b"
)
_STILL_AFTER = re.compile(
    rf"(?:(?:is|are|being|stays?|staying|remains?|remaining|holds?|held|holding|keeps?|kept|sits?|[a-z]+ly) )*{_STILL}\b"
    r"|(?:does|do|is|are|will|should|must)? ?(?:not|never) (?:[a-z]+ly )?mov(?:e|es|ing)\b(?! (?:left|right|in|out|back|for|to)\b)"
    r"|(?:holds?|stops?|stays? in place|remains? in place)$"
)
_CAMERA = re.compile(r"\b(?:camera|shot|view|viewpoint|pov)\b")
_MANNER = ["slow", "smooth", "gentle", "steady", "cinematic", "gradual", "quick", "fast", "rapid", "subtle", "dramatic", "continuous", "long", "short", "handheld", "drone", "aerial", "virtual", "moving", "tracking", "single", "simple", "seamless", "fluid", "wide", "medium", "close", "up", "orbiting", "dolly", "panning", "epic", "soft"]
_FILLER = frozenset(
    [
        *_MANNER,
        *["a", "an", "the", "then", "next", "first", "firstly", "second", "finally", "now", "afterwards", "later", "after", "while", "with", "in", "by", "using", "begins", "begin"],
        *["beginning", "starts", "start", "starting", "continues", "continue", "ends", "is", "are", "will", "should", "must", "to", "performs", "perform", "makes", "make"],
        *["does", "do", "executes", "execute", "it", "which", "that", "movement", "motion", "work", "angle", "perspective", "gently", "also", "just", "keeps", "keep"],
        *["moves", "move", "camera", "shot", "please", "let", "have", "has", "can", "we", "our", "as"],
    ]
)
_NEGATION = frozenset(["not", "never", "no", "without"])
_OBJECT_OF = frozenset(
    ["toward", "towards", "to", "at", "into", "facing", "faces", "behind", "holding", "holds", "past", "near", "from", "off", "for", "on", "beside", "against", "of", "raises", "carrying", "carries", "before", "under", "above"]
)
_DETERMINERS = frozenset(["the", "our", "a", "an"])
_TECHNICAL_TAIL = re.compile(
    r"(?:towards?|around|round|across|over|through|along|past|onto|to|from|shot|camera|view|move|movement|motion|as|for|"
    r"until|at|while|during|by|slow|smooth|[a-z]+ly)\b"
)
_PLAIN_TAIL = re.compile(r"(?:[a-z]+ly|for \d+|smooth|slow)\b")
_SEPARATOR = re.compile(
    r"(,|\band then\b|\bthen\b|\bfollowed by\b|\bbefore\b|\bafter which\b|\bwhile\b|\band\b|\bas\b)"
)
_SEQUENCE = ("then", "and then", "followed by", "before", "after which")


def parse_moves(prompt: str) -> tuple[str, ...]:
    """The moves that a prompt asks of the camera, in order.

    Args:
        prompt: any text, also empty or in another language; parsing never fails.

    Returns:
        At most three names out of ``MOVES``; empty when the prompt asks nothing of the camera.
    """
    moves: list[str] = []
    about_camera = False
    for sentence in re.split(r"[.;!?\n]+", _normalise(prompt)):
        found, about_camera = _parse_sentence(sentence.strip(), about_camera)
        if moves and found and found[0] == moves[-1] and not sentence.strip().startswith(("then", "next", "finally")):
            found = found[1:]
        moves.extend(found)
    return tuple(moves[:MAX_MOVES])


def describe_moves(moves: Sequence[str]) -> str:
    """Text that ``parse_moves`` reads back as the same moves: ``"camera orbit left, then push in"``, or ``""``.

    Raises:
        ValueError: on an unknown move or more than three.
    """
    unknown = [move for move in moves if move not in MOVES]
    if unknown:
        raise ValueError(f"Unknown camera move {unknown[0]!r}; the moves are {', '.join(MOVES)}.")
    if len(moves) > MAX_MOVES:
        raise ValueError(f"{len(moves)} camera moves were given; a prompt takes at most {MAX_MOVES}.")
    return "camera " + ", then ".join(moves) if moves else ""


def _normalise(prompt: str) -> str:
    text = unicodedata.normalize("NFKC", prompt).lower().replace("’", "'").replace("n't", " not")
    text = re.sub(r"[-‐-―_/*\"“”]+(?=\w)|(?<=\w)[-‐-―_/*\"“”]+", " ", text)
    text = re.sub(r"[:()\[\]{}|‐-―-]+", ",", text)
    text = re.sub(r"[^\w\s,.;!?']+", " ", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r"\band (?=(?:to|towards?) the (?:left|right)\b|(?:left|right)\b)", "", text)


def _parse_sentence(sentence: str, camera_before: bool) -> tuple[list[str], bool]:
    """Moves of one sentence, and whether the next sentence's "it" may mean the camera."""
    moves: list[str] = []
    camera_in_sentence = False
    active = camera_before and sentence.startswith("it ")
    separator = "."
    pieces = _SEPARATOR.split(sentence)
    for index in range(0, len(pieces), 2):
        clause = pieces[index].strip()
        if index:
            separator = pieces[index - 1].strip()
        if not clause:
            continue
        if separator in _SEQUENCE:
            active = active or camera_in_sentence
        move, names_camera = _parse_clause(clause, active, separator == ".")
        camera_in_sentence = camera_in_sentence or names_camera
        active = names_camera or (move is not None and (active or separator == "." or camera_in_sentence))
        if move:
            moves.append(move)
            camera_in_sentence = True
    return moves, camera_in_sentence


def _parse_clause(clause: str, active: bool, opens_sentence: bool) -> tuple[str | None, bool]:
    """The move of one clause, and whether it has the camera as its subject."""
    if _STILL_CAMERA.search(clause):
        return "fixed", True
    words_camera = False
    for found in _CAMERA.finditer(clause):
        if not _is_subject(clause[: found.start()].split()):
            continue
        rest = clause[found.end() :].strip()
        if _STILL_AFTER.match(rest):
            return "fixed", True
        phrase, negated = _after_fillers(rest)
        if phrase is not None:
            return (None if negated else phrase.move), True
        words_camera = words_camera or (
            found[0] == "camera" and clause[: found.start()].split()[-1:] not in (["a"], ["an"])
        )
    phrase, negated = _after_fillers(clause)
    if phrase is not None and not negated and (active or _stands_alone(phrase, opens_sentence)):
        return phrase.move, words_camera
    if active and _STILL_AFTER.match(clause):
        return "fixed", True
    return None, words_camera


def _is_subject(before: list[str]) -> bool:
    """Whether a camera word after these words is what moves, and not a thing in the scene or an object of a verb."""
    words = list(before)
    while words and (words[-1] in _MANNER or words[-1].endswith("ly")):
        words.pop()
    if words and words[-1] in _DETERMINERS:
        words.pop()
        return not (words and words[-1] in _OBJECT_OF)
    return not words or words[-1] in _FILLER


def _after_fillers(text: str) -> tuple[Phrase | None, bool]:
    """The phrase behind any fillers, and whether a negation stood before it."""
    words = text.split()
    negated = False
    for index, word in enumerate(words):
        phrase = match_phrase(" ".join(words[index:]))
        if phrase is not None:
            return phrase, negated
        negated = negated or word in _NEGATION
        if not (word in _FILLER or word in _NEGATION or word.endswith("ly")):
            return None, negated
    return None, negated


def _stands_alone(phrase: Phrase, opens_sentence: bool) -> bool:
    """Whether a phrase without a camera beside it still is a camera move."""
    if phrase.technical and (opens_sentence or not phrase.inflected):
        return not phrase.tail or _TECHNICAL_TAIL.match(phrase.tail) is not None
    return not phrase.inflected and (not phrase.tail or _PLAIN_TAIL.match(phrase.tail) is not None)
