"""The camera language: which moves a prompt asks of the camera, in order.

Grammar, over lower-case text in which hyphens are spaces::

    prompt   = sentence { ("." | ";" | "!" | "?" | newline) sentence }
    sentence = clause { ("," | ":" | "and" | "then" | "before" | "followed by" | "while" | "as") clause }
    clause   = [words] camera {filler} phrase [words]     "the camera slowly pushes in on a box"
             | verb "the camera" direction [words]        "move the camera to the left", but not "she moves the camera"
             | {filler} phrase [tail]                     "slow pan left over the city"
             | still camera                               "static shot", "camera fixed", "no camera movement"
             | direction                                  "then right", after a clause that is a move
    camera   = "camera" | "shot" | "view" | "viewpoint" | "pov" | "fpv", unless it is a thing in the scene ("a retro
               camera", "a camera crew")
    phrase   = a verb with its direction                  worldr1.camera.phrases
    filler   = an adverb, article, auxiliary ...          worldr1.camera.words
    tail     = words that can follow a camera move        worldr1.camera.words

A clause that does not name the camera counts when it goes on from one about the camera ("then pans left"), or when the
phrase opens it and its tail fits. So a prompt that merely mentions a camera, or whose people move, push in line or turn
left, moves nothing. A negated move is dropped, and a camera that is told twice to stand still does so once. The first
three moves count; a sentence that opens with the move before it restates that move, unless it says "then".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from worldr1.camera import words
from worldr1.camera.phrases import Phrase, is_verb, match_phrase

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
"""The moves of the paper. The tiny world's words are made from them, so they stay as they are."""

EXTENDED_MOVES: tuple[str, ...] = ("tilt up", "tilt down", "crane up", "crane down", "roll left", "roll right")
"""Moves that camera crews use beside those of the paper."""

ALL_MOVES: tuple[str, ...] = (*MOVES, *EXTENDED_MOVES)
MAX_MOVES = 3
_LONGEST_CLAUSE = 400


def parse_moves(prompt: str) -> tuple[str, ...]:
    """The moves that a prompt asks of the camera, in order.

    Args:
        prompt: any text, also empty or in another language; parsing never fails.

    Returns:
        At most three names out of ``ALL_MOVES``; empty when the prompt asks nothing of the camera.
    """
    moves: list[str] = []
    about_camera = False
    for sentence in re.split(r"[.;!?\n]+", _normalise(prompt)):
        found, about_camera = _parse_sentence(sentence.strip(), about_camera)
        restated = moves and found and found[0] == moves[-1] and not re.match(r"\W*(?:then|next|finally)\b", sentence)
        moves.extend(found[1:] if restated else found)
    return tuple(moves[:MAX_MOVES])


def check_moves(moves: Sequence[str]) -> tuple[str, ...]:
    """The same moves as a tuple.

    Raises:
        ValueError: on an unknown move or more than three.
    """
    names = (moves,) if isinstance(moves, str) else tuple(moves)
    for name in names:
        if name not in ALL_MOVES:
            raise ValueError(f"Unknown camera move {name!r}; the moves are {', '.join(ALL_MOVES)}.")
    if len(names) > MAX_MOVES:
        raise ValueError(f"{len(names)} camera moves were given; a camera makes at most {MAX_MOVES} in a row.")
    return names


def describe_moves(moves: Sequence[str]) -> str:
    """Text that ``parse_moves`` reads back as the same moves: ``"camera orbit left, then push in"``, or ``""``.

    Raises:
        ValueError: on an unknown move or more than three.
    """
    names = check_moves(moves)
    return "camera " + ", then ".join(names) if names else ""


def _normalise(prompt: str) -> str:
    """Lower case, plain spaces, commas for brackets, dashes and arrows, and no other marks than those of sentences."""
    text = unicodedata.normalize("NFKC", prompt).lower().replace("’", "'").replace("n't", " not")
    text = re.sub(r"(?<=\w)[-‐‑_/](?=\w)", " ", text).replace("hand held", "handheld")
    text = re.sub(r"\bcamera(?: (?:movement|motion|work))? ?[:=]+", "camera ", text)
    text = re.sub(r"[-‐-―:()\[\]{}|→>+&]+", ",", text)
    text = re.sub(r"[^\w\s,.;!?']+", " ", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(
        r"(?:(?<!left )(?<!right )\band |(?<!left)(?<!right), ?)(?=(?:to|towards?) the (?:left|right)\b)"
        r"|(?<!left )(?<!right )\band (?=(?:left|right)\b)|, ?(?=(?:anti |counter )?clockwise\b)",
        " ",
        text,
    ).replace("  ", " ")


def _parse_sentence(sentence: str, camera_before: bool) -> tuple[list[str], bool]:
    """Moves of one sentence, and whether it was about the camera, so that "it" in the next may mean the camera."""
    moves: list[str] = []
    about_camera = camera_before and re.match(r"it\b|(?:then|next|finally|afterwards)\b", sentence) is not None
    active = about_camera
    separator, last, shown = ".", None, False
    pieces = words.SEPARATOR.split(sentence)
    for index in range(0, len(pieces), 2):
        clause = pieces[index].strip()[:_LONGEST_CLAUSE]
        separator = pieces[index - 1].strip() if index else separator
        if not clause or words.FILLER.match(clause) or words.MANNER.match(clause):
            continue
        active = active or (about_camera and (separator in words.SEQUENCE or not moves))
        if last is None and separator in ("as", "while") and words.PRONOUN.match(clause):
            active = False
        active = active or (shown and words.ONLY_A_CAMERA.match(clause) is not None)
        shown = shown or words.SHOWN.search(clause) is not None
        if active and words.PAUSE.match(clause):
            continue
        still = moves[-1:] == ["fixed"] and separator in words.MEANWHILE
        move, names_camera = _parse_clause(clause, active, separator, still)
        move = move or _echo(clause, last)
        active = names_camera or move is not None
        about_camera = about_camera or active
        last = move
        if move and not (move == "fixed" == "".join(moves[-1:]) and separator not in words.SEQUENCE):
            moves.append(move)
    return moves, about_camera


def _echo(clause: str, last: str | None) -> str | None:
    """The move of a clause that is but a direction: the verb of the clause before it, the other way."""
    found = words.ECHO.match(clause)
    if last is None or found is None:
        return None
    way = {"in": "push in", "out": "pull out", "back": "pull out"}.get(found[1], f"{last.split()[0]} {found[1]}")
    sides = ({"push in", "pull out"}, {"tilt up", "tilt down", "crane up", "crane down"})
    turned = way != last and last.split()[-1] in ("left", "right") and way.split()[-1] in ("left", "right")
    return way if turned or any({way, last} <= side and way != last for side in sides) else None


def _parse_clause(clause: str, active: bool, separator: str, still: bool) -> tuple[str | None, bool]:
    """The move of one clause behind a separator ("." opens a sentence), and whether it names the camera as what moves.

    Beside a camera that stands still, what moves by an everyday verb ("static shot of a kite, rising") is the scene.
    """
    if words.STILL_CAMERA.search(clause):
        return "fixed", True
    if words.ROLL_OF_PICTURES.search(clause):
        return None, False
    names_camera = False
    for found in words.CAMERA.finditer(clause):
        before = clause[: found.start()].split()
        rest = clause[found.end() :].strip()
        if before[-1:] == ["the"] and before[-2:-1] and is_verb(before[-2]):
            if _somebody_does(before[:-1]):
                continue
            rest = f"{before[-2]} camera {rest}"
        elif not _is_subject(before):
            continue
        if words.STILL_AFTER_CAMERA.match(rest):
            return "fixed", True
        phrase, negated = _after_fillers(rest)
        if phrase is not None:
            return (None if negated else phrase.move), True
        names_camera = names_camera or (not rest if found[0] != "camera" else before[-1:] not in (["a"], ["an"]))
    phrase, negated = _after_fillers(clause)
    if phrase is not None and not negated:
        goes_on = active and (phrase.technical or not still)
        alone = not words.THING.match(clause) and _stands_alone(phrase, separator)
        if goes_on or alone:
            return phrase.move, names_camera
    if clause == "fixed" or (active and words.STILL_AFTER_CAMERA.match(clause)):
        return "fixed", names_camera
    return None, names_camera


def _somebody_does(words_before: Sequence[str]) -> bool:
    """Whether a verb in the third person stands last and has a subject: somebody in the scene handles the camera."""
    *subject, verb = words_before
    told = verb.endswith(("s", "ed")) and not verb.endswith("ss")
    return told and not all(words.FILLER.match(word) or words.MANNER.match(word) for word in subject)


def _is_subject(before: Sequence[str]) -> bool:
    """Whether a camera after these words is what moves, and not a thing in the scene or the object of a verb."""
    left = list(before)
    while left and words.MANNER.match(left[-1]):
        left.pop()
    if left and words.DETERMINER.match(left[-1]):
        article = left.pop()
        held = left[-1:] == ["with"] and article in ("a", "an")
        return not held and not (left and words.OBJECT_OF.match(left[-1]))
    return not left or words.FILLER.match(left[-1]) is not None


def _after_fillers(text: str) -> tuple[Phrase | None, bool]:
    """The phrase behind any fillers, and whether a negation stood before it; none of what is done to a thing."""
    rest = text.split()
    negated = passive = False
    while rest:
        phrase = match_phrase(" ".join(rest))
        if phrase is not None:
            done_to = passive and phrase.participle and not words.AFTER_A_PASSIVE.match(phrase.tail)
            return (None if done_to else phrase), negated
        word = rest.pop(0)
        passive = passive or words.PASSIVE.match(word) is not None
        negation = words.NEGATION.match(word) is not None
        negated = negated or negation
        if not (negation or words.FILLER.match(word) or words.MANNER.match(word)):
            break
    return None, negated


def _stands_alone(phrase: Phrase, separator: str) -> bool:
    """Whether a phrase is a camera move though nothing before it names the camera."""
    if phrase.needs_camera or (separator == "and" and not phrase.technical):
        return False
    if phrase.technical and (separator == "." or not phrase.inflected):
        on_subject = phrase.move == "push in" and phrase.tail.startswith("on ")
        return not phrase.tail or on_subject or words.AFTER_A_MOVE.match(phrase.tail) is not None
    return not phrase.inflected and (not phrase.tail or words.ONLY_A_MOVE.match(phrase.tail) is not None)
