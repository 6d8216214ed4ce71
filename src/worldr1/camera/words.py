"""The small words around camera moves, as regular expressions on lower-case text without punctuation."""

from __future__ import annotations

import re

_STILL = (
    r"(?:fixed|static|still|stationary|motionless|unmoving|immobile|locked(?: off| down| in place)?|lock off|frozen)"
)
_KIND = r"(?:wide|medium|tripod|cinematic|close up|long|full)"

STILL_CAMERA = re.compile(
    rf"\b{_STILL} (?:{_KIND} )*(?:camera|shot|view|viewpoint|angle|framing)\b"
    r"|\b(?:not|never|without) mov(?:e|ing) the camera\b"
    r"|\b(?:no|without(?: any)?) camera (?:movement|motion|move)s?\b"
    r"|\bno (?:movement|motion) (?:of|by|from) the camera\b"
    r"|\btripod shot\b"
    r"|\b(?:static|locked) (?:frame|composition)\b"
    r"|^(?:the )?(?:frame|framing|composition) (?:is|stays|remains) (?:[a-z]+ly )?(?:static|fixed|locked)\b(?! to\b)"
    r"|\bsteady (?:camera|shot)$|^locked off$"
)
"""A camera that stands still, anywhere in a clause."""

STILL_AFTER_CAMERA = re.compile(
    r"(?:(?:is|are|being|stay|stays|staying|remains?|remaining|holds?|held|keeps?|kept|sits?|stands?|starts?|begins?|"
    r"[a-z]+ly) )*" + _STILL + r"\b"
    r"|(?:(?:does|do|is|will|should|must) )?(?:not|never) (?:[a-z]+ly )?mov(?:e|es|ing)(?: at all)?$"
    r"|(?:holds?|stops?|halts?|(?:stays?|remains?) (?:in place|put|where it is)|is at rest|none|no movement)$"
    r"|(?:is|stays?|remains?|holds?|keeps?|kept) (?:[a-z]+ly )?steady\b"
)
"""The predicate of a camera that stands still."""

CAMERA = re.compile(
    r"\b(?:(?:crane|jib) )?(?:camera|shot|view|viewpoint|pov|fpv(?: drone)?|(?:drone|aerial) footage)\b"
    r"(?! (?:app|assistant|bag|body|button|case|club|crew|drone|flash|girl|guy|lens|man|obscura|operator|person|phone|"
    r"robot|shop|store|strap|team|trap|woman)s?\b)"
)
"""What is shown moves with it; not "camera crew" and the like, which are things in the scene."""

_NO_ADVERB = (
    r"(?!(?:(?:butter|dragon|fire)?fly|dolly|bully|family|lily|ally|belly|jelly|rally|assembly|italy|july|billy|emily|"
    r"holly|molly|polly|sally)\b)"
)
ADVERB = _NO_ADVERB + r"[a-z]+ly"

MANNER = re.compile(
    r"(?:very|slow|smooth|gentle|steady|cinematic|gradual|quick|fast|rapid|subtle|dramatic|continuous|long|short|handheld|"
    r"drone|helicopter|aerial|virtual|moving|tracking|single|simple|seamless|fluid|wide|medium|close|up|epic|soft|"
    r"whip|swish|snap|crash|sideways?|side|vertical|horizontal|lateral|dutch|barrel|first|person|fpv|steadicam|gimbal|establishing|overhead|low|high|full|complete|half|"
    + ADVERB
    + r")$"
)
"""One word that says how a camera moves or of what kind a shot is."""

FILLER = re.compile(
    r"(?:a|an|the|our|this|it|which|that|we|please|let|"
    r"then|next|first|second|finally|now|afterwards|later|after|while|also|just|and|as|"
    r"with|in|by|using|to|is|are|was|were|be|been|being|gets|will|should|must|can|has|have|does|do|"
    r"begins?|beginning|starts?|starting|continues?|ends|keeps?|performs?|makes?|executes?|"
    r"movement|motion|work|angle|perspective|moves?|camera|shot|cut|full|complete|half|degrees?|\d+)$"
)
"""One word that may stand between the camera, or the start of a clause, and the verb."""

PASSIVE = re.compile(r"(?:is|are|was|were|be|been|being|gets)$")
"""One word after which a participle tells what is done to the camera."""

AFTER_A_PASSIVE = re.compile(
    rf"$|(?:towards?|along|across|around|round|over|through|past|until|slow|to (?:reveal|show)|{ADVERB})\b"
)
"""What may follow a camera move in the passive; of "the camera is pulled out of a bag" the camera is a thing."""

NEGATION = re.compile(r"(?:not|never|no|without)$")

DETERMINER = re.compile(r"(?:the|our|a|an)$")

ROLL_OF_PICTURES = re.compile(r"(?:in|on|from|of|called) (?:the|a) camera rolls?\b")
"""Where "camera roll" is a place for pictures."""

OBJECT_OF = re.compile(
    r"(?:towards?|to|at|into|facing|faces|behind|holding|holds|past|near|from|off|for|on|beside|against|of|raises|"
    r"carrying|carries|under|above|up)$"
)
"""One word after which "the camera" is the object of what others do."""

SEPARATOR = re.compile(r"(,|\b(?:and then|then|followed by|before|after which|while|(?<!rock )and|as)\b)")
ECHO = re.compile(
    r"(?:(?:back|again) )?(?:(?:from )?(?:the )?(?:left|right) (?=to ))?(?:to (?:the )?)?"
    r"(left|right|up|down|in|out|back)(?: again)?$"
)
"""A clause that repeats the verb before it in another direction ("pans left, then right")."""

THING = re.compile(r"(?:an?|the) (?:truck|dolly) (?:left|right)\b|(?:(?:an?|the) )?pan$")
"""Where a word of the trade is more likely a thing: left by somebody, or for the kitchen."""

SHOWN = re.compile(r"\b(?:shot|view|footage)\b")
ONLY_A_CAMERA = re.compile(
    rf"(?:{ADVERB} )?(?:panning|zooming|dollying|(?:rotating|moving|circling|orbiting) around (?:it|him|her|them))\b"
)
"""What only a camera does, in a clause after one about a shot ("a shot of a harbour, panning left")."""

PAUSE = re.compile(r"(?:pauses?|waits?|hovers?|lingers?)(?: (?:briefly|there|for .*))?$")
"""A clause in which the camera does nothing, before it goes on."""

PRONOUN = re.compile(r"(?:it|he|she|they)\b")

SEQUENCE = frozenset({"and then", "then", "followed by", "before", "after which"})
MEANWHILE = frozenset({",", "while", "as"})

ONLY_A_MOVE = re.compile(rf"(?:{ADVERB}|smooth|slow|for \d+|of the camera)\b|\d+$")
"""What may follow an everyday verb ("move left") that is a camera move without naming the camera."""

AFTER_A_MOVE = re.compile(
    r"(?:towards?|around|round|across|over|through|along|alongside|past|onto|into|to|from|shot|camera|view|move|movement|motion|for|until|"
    rf"at|during|by|slow|smooth|of the camera|{ADVERB})\b|\d+$"
)
"""What may follow a technical verb ("dolly in") that is a camera move without naming the camera."""
