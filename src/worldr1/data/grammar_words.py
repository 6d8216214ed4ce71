"""Words of the prompt grammar beside its scenes: light, style, and how each camera move is said."""

from __future__ import annotations

from dataclasses import dataclass

LIGHTS: dict[str, tuple[str, ...]] = {
    "outdoors": (
        "in the golden light of late afternoon",
        "under a pale dawn sky",
        "beneath a full moon",
        "in soft overcast light",
        "after a summer rain",
        "in thin morning fog",
        "under a blazing midday sun",
        "in blue twilight",
        "at sunset with long shadows",
        "under a clear night sky full of stars",
        "in the first snow of winter",
        "with storm clouds gathering behind",
    ),
    "indoors": (
        "lit by a single window",
        "in warm lamplight",
        "in the cool light of a north window",
        "lit by a row of candles",
        "with late sun slanting in",
        "in dim amber light",
        "in bright even daylight",
        "in deep chiaroscuro",
        "with a shaft of moonlight across it",
        "in hazy morning light",
    ),
    "small": (
        "backlit by soft studio light",
        "in crisp macro detail",
        "lit from one side against darkness",
        "under diffuse white light",
        "in warm morning light",
        "with a shallow depth of field",
        "in a cool blue glow",
        "lit by a narrow beam",
    ),
    "underwater": (
        "in shafts of pale green light",
        "in deep blue gloom",
        "lit by drifting plankton",
        "under the bright ripples of the surface",
        "in hazy turquoise water",
    ),
}

STYLES: tuple[str, ...] = (
    "Photorealistic, fine detail.",
    "Cinematic colours and natural contrast.",
    "Rich textures, muted palette.",
    "Soft film grain, warm tones.",
    "Highly detailed, realistic materials.",
    "Documentary realism.",
    "Painterly light, deep shadows.",
    "Subtle, natural colour grading.",
    "Natural colours, high resolution.",
)

SCENES_STILL: tuple[str, ...] = (
    "{Subject} {place}, {light}.",
    "{Subject} {place}, with {detail}, {light}.",
    "{Subject} {place}, {light}, with {detail}.",
    "{Place}, {subject}, {light}. {Detail}.",
    "{Subject} {place}. {Light}, {detail}.",
    "A wide view of {subject} {place}, {light}.",
    "{Subject} {place}. {Detail}, {light}.",
    "A still scene of {subject} {place}, with {detail}.",
    "{Light}, {subject} {place}. {Detail}.",
)
SCENES_MOVING: tuple[str, ...] = (
    "{Subject} {place}, {light}.",
    "{Subject} {place}, {detail}, {light}.",
    "{Subject} {place}, {light}. {Detail}.",
    "{Light}, {subject} {place}. {Detail}.",
    "{Place}, {subject}, {light}. {Detail}.",
    "{Subject} {place}. {Detail}, {light}.",
)

MANNERS: tuple[str, ...] = ("", "", "slowly ", "smoothly ", "gently ", "steadily ", "gradually ")
PACES: tuple[str, ...] = ("slow ", "smooth ", "gentle ", "steady ")


@dataclass(frozen=True)
class Saying:
    """How one move is said; ``{the}`` stands for the subject, ``{m}`` for a manner.

    Attributes:
        does: what "the camera" does, conjugated.
        doing: the same as participles, without the subject.
        noun: the move as a thing, after an adjective.
    """

    does: tuple[str, ...]
    doing: tuple[str, ...]
    noun: tuple[str, ...]


def _aside(side: str) -> dict[str, Saying]:
    return {
        f"move {side}": Saying(
            (
                f"{{m}}moves to the {side}",
                f"{{m}}slides {side} past {{the}}",
                f"{{m}}trucks {side}",
                f"{{m}}glides to the {side}",
                f"{{m}}tracks {side} past {{the}}",
            ),
            (f"moving to the {side}", f"trucking {side}", f"gliding {side}"),
            (f"truck {side}", f"tracking shot to the {side}"),
        ),
        f"orbit {side}": Saying(
            (
                f"{{m}}orbits {side} around {{the}}",
                f"{{m}}orbits to the {side}",
                f"{{m}}circles {{the}} to the {side}",
                f"{{m}}arcs {side} around {{the}}",
                f"{{m}}moves around {{the}} to the {side}",
            ),
            (f"orbiting {side}", f"arcing {side} around it", f"circling to the {side}"),
            (f"orbit to the {side}", f"arc {side}"),
        ),
        f"pan {side}": Saying(
            (
                f"{{m}}pans {side}",
                f"{{m}}pans to the {side}",
                f"{{m}}pans {side} across the scene",
                f"{{m}}turns to the {side}",
                f"{{m}}swivels {side}",
            ),
            (f"panning {side}", f"panning to the {side}", f"turning to the {side}"),
            (f"pan to the {side}", f"pan {side}"),
        ),
        f"pull {side}": Saying(
            (
                f"{{m}}pulls back and to the {side}",
                f"{{m}}pulls away to the {side}",
                f"{{m}}pulls {side}",
                f"{{m}}pulls back to the {side} from {{the}}",
            ),
            (f"pulling back to the {side}", f"pulling {side}"),
            (f"pull to the {side}", f"pull back to the {side}"),
        ),
    }


SAYINGS: dict[str, Saying] = {
    "push in": Saying(
        (
            "{m}pushes in",
            "{m}pushes in toward {the}",
            "{m}pushes in on {the}",
            "{m}dollies in",
            "{m}moves forward toward {the}",
            "{m}glides closer to {the}",
            "{m}approaches {the}",
        ),
        ("pushing in", "dollying in", "moving forward", "moving closer"),
        ("push in", "dolly in", "push-in toward it"),
    ),
    "pull out": Saying(
        (
            "{m}pulls out",
            "{m}pulls back from {the}",
            "{m}dollies out",
            "{m}moves backward",
            "{m}pulls away from {the}",
            "{m}pulls back to reveal the surroundings",
        ),
        ("pulling out", "pulling back", "dollying out", "moving backward"),
        ("pull out", "dolly out", "pull-back from it"),
    ),
    **_aside("left"),
    **_aside("right"),
}
"""Every move of the paper but the fixed camera."""

FIXED: tuple[str, ...] = (
    "Camera fixed.",
    "Static shot.",
    "Fixed camera.",
    "The camera stays still.",
    "The camera remains fixed.",
    "The camera does not move.",
    "A locked-off shot.",
    "Static camera.",
)

ONE: tuple[str, ...] = (
    "The camera {does0}.",
    "The camera {does0}.",
    "A {pace}{noun0}.",
    "The camera is {doing0}.",
)
TWO: tuple[str, ...] = (
    "The camera {does0}, then {does1}.",
    "The camera {does0} and then {does1}.",
    "The camera first {does0}, then {does1}.",
    "The camera {does0} before {doing1}.",
    "A {pace}{noun0}, followed by a {noun1}.",
)
THREE: tuple[str, ...] = (
    "The camera {does0}, then {does1}, and finally {does2}.",
    "The camera {does0}, then {does1}, then {does2}.",
    "First the camera {does0}. Then it {does1}. Finally, it {does2}.",
    "A {pace}{noun0}, then a {noun1}, then a {noun2}.",
)
