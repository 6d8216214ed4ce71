"""The camera language: what is a camera move, what is not, and the way back to text."""

from __future__ import annotations

import itertools
import random
import string

import pytest

from worldr1.camera import ALL_MOVES, EXTENDED_MOVES, MAX_MOVES, MOVES, describe_moves, parse_moves
from worldr1.data.prompts import read_prompts
from worldr1.data.promptset import SETS, shipped_path

ONE_MOVE = {
    "push in": [
        "push in",
        "slowly pushes in",
        "Camera push in. a red box",
        "The camera slowly pushes in on an old man.",
        "The camera pushes slowly in toward the lighthouse.",
        "slow push-in on the house",
        "A slow push-in shot of a cathedral.",
        "dolly in",
        "The camera dollies in.",
        "dolly forward through the gate",
        "zoom in",
        "The shot zooms in on the clock face.",
        "The camera moves forward along the street.",
        "camera moving forward",
        "The camera glides smoothly forward into the cave.",
        "The camera flies through a canyon.",
        "The camera tracks forward.",
        "the camera moves closer to the flower",
        "The camera gradually approaches the castle.",
        "Cinematic shot of a car, slow push in.",
        "with a slow push in",
        "Camera movement: push in.",
        "[push in] a vase of tulips",
        "(camera pushes in) a vase of tulips",
        "A dog sleeps as the camera slowly pushes in.",
        "A dog sleeps while the camera dollies in",
        "with the camera slowly pushing in",
        "We see a shot with the camera pushing in on a desk",
        "The camera, mounted on a drone, flies forward over the sea.",
        "The camera begins to push in.",
        "The camera will push in",
        "The camera doesn't pan left. It pushes in.",
        "The camera moves in on the actor.",
        "Drone shot, moving forward over hills",
        "First-person view moving forward through a corridor",
        "Zoom into the crystal",
        "Move the camera forward",
        "dolly the camera in",
        "The camera moves down the long corridor",
        "The camera performs a slow dolly-in towards the subject",
    ],
    "pull out": [
        "pull out",
        "Pull back",
        "The camera pulls back to reveal a city.",
        "The camera pulls away from the house",
        "dolly out",
        "zooming out",
        "slow zoom out",
        "The camera zooms out slowly",
        "camera moves backward",
        "hand-held shot moving backwards",
        "The camera retreats down the corridor.",
        "The camera slowly backs away from the dragon.",
        "The camera tracks back",
        "a gradual pull-back from the statue",
    ],
    "move left": [
        "move left",
        "camera move left",
        "The camera moves to the left.",
        "The camera slides left",
        "truck left",
        "The camera trucks slowly to the left past shelves",
        "tracking shot to the left",
        "a leftward tracking shot",
        "The camera tracks from right to left.",
        "The camera tracks the car to the left",
        "camera strafes left",
        "The camera glides leftwards",
    ],
    "move right": [
        "move right",
        "The camera moves right, a red box and a blue sphere in a striped room",
        "The camera slowly drifts to the right.",
        "dolly right",
        "Tracking shot: the camera slides to the right.",
        "The camera moves along the wall to the right.",
        "The camera moves towards the right",
    ],
    "orbit left": [
        "orbit left",
        "camera orbits to the left",
        "The camera orbits left around the statue.",
        "The camera orbits around the statue to the left",
        "the camera circles the tower clockwise",
        "The camera arcs left",
        "The camera rotates around the vase to the left",
        "slow orbit to the left around a bonsai",
        "The camera circles the café to the left",
        "The camera moves around R2-D2 to the left",
        "left orbit",
        "Orbit the camera left around the box",
        "The camera moves in a circle around the fountain, to the left",
    ],
    "orbit right": [
        "orbit right",
        "Orbit right around a bonsai",
        "The camera orbits the castle.",
        "The camera circles around the dancers",
        "The camera moves around the sculpture to the right.",
        "orbiting counter-clockwise",
        "orbit shot of a bonsai",
        "The camera rotates 360 degrees around the statue",
        "The camera does a full orbit around the vase",
        "The camera travels in a circle around the car",
        "The camera revolves around the pyramid counterclockwise",
    ],
    "pan left": [
        "pan left",
        "The camera pans left.",
        "pan to the left",
        "a whip pan to the left",
        "slow pan left over the city",
        "The camera slowly pans from right to left.",
        "The camera turns left",
        "camera rotates to the left",
        "the view pans left",
        "The camera pans across the valley to the left",
        "The camera swivels to its left",
        "rotate the camera left",
    ],
    "pan right": [
        "pan right",
        "panning right",
        "The camera pans right across the skyline.",
        "The camera pans across the mountains.",
        "a right pan",
        "a smooth pan to the right",
        "Pan right: a harbour at dawn",
        "The camera looks right",
        "Handheld camera pans right.",
        "A camera pans right over rooftops",
    ],
    "pull left": [
        "pull left",
        "camera pull left",
        "The camera pulls back and to the left.",
        "The camera pulls left",
        "The camera pulls back to the left",
        "pulling away to the left",
    ],
    "pull right": ["pull right", "The camera pulls out to the right", "the camera slowly pulls back right"],
    "fixed": [
        "fixed",
        "camera fixed. a red sphere bouncing beside a blue box",
        "static shot",
        "Static camera, a candle burns",
        "Fixed camera. waves",
        "a locked-off shot of a pond",
        "The camera stays still.",
        "The camera remains completely static",
        "the camera is stationary",
        "the camera does not move",
        "The camera doesn't move",
        "no camera movement",
        "still camera",
        "The camera is locked in place",
        "tripod shot of a sunset",
        "The camera holds still",
        "keep the camera fixed",
        "Do not move the camera",
        "The camera remains fixed as a ball bounces left",
        "Static shot of a kite, rising into the sky",
        "Static shot of a hot-air balloon as it rises",
        "The camera is fixed as a crane lifts up a beam",
    ],
    "tilt up": [
        "tilt up",
        "The camera tilts up",
        "The camera pans up",
        "camera tilts upward to reveal the tower",
        "slow tilt up",
        "Tilt up to the sky",
        "Tilt-up shot of a skyscraper",
        "the camera slowly tilts from the roots up to the crown",
        "An upward tilt",
        "tilt the camera up",
    ],
    "tilt down": ["The camera tilts down to the street", "tilt downwards", "pan down", "a downward tilt"],
    "crane up": [
        "crane up",
        "The camera cranes up over the rooftops",
        "Pedestal up",
        "The camera rises above the city",
        "camera moves up",
        "A crane shot rises over the town",
        "The camera slowly ascends",
        "Drone shot, rising over the forest",
        "The camera moves up to reveal the skyline",
        "move the camera up",
    ],
    "crane down": [
        "crane down",
        "slow crane down",
        "The camera descends into the cave",
        "the camera lowers to the ground",
        "camera moves down",
        "The camera moves down the facade",
    ],
    "roll left": [
        "roll left",
        "the camera rolls to the left",
        "The camera rolls counter-clockwise",
        "a slow roll to the left",
        "The camera tilts to the left",
    ],
    "roll right": [
        "roll right",
        "roll",
        "The camera rolls",
        "the camera rolls clockwise",
        "slow roll",
        "a right roll",
        "a barrel roll",
    ],
}

SEQUENCES = [
    ("camera orbit left, then push in. a red box and a blue sphere in a striped room", ("orbit left", "push in")),
    ("The camera pushes in, then pans right.", ("push in", "pan right")),
    ("The camera pans left and then moves forward", ("pan left", "push in")),
    ("push in, then pull out, then orbit left", ("push in", "pull out", "orbit left")),
    (
        "First the camera pans left. Then it pushes in. Finally, it orbits right.",
        ("pan left", "push in", "orbit right"),
    ),
    ("The camera slowly pulls back and to the left, then pans right.", ("pull left", "pan right")),
    ("Pan left followed by a slow push in", ("pan left", "push in")),
    ("The camera dollies in before panning right", ("push in", "pan right")),
    ("After orbiting left, the camera pulls back.", ("orbit left", "pull out")),
    ("The camera is static, then pushes in", ("fixed", "push in")),
    ("push in, then fixed", ("push in", "fixed")),
    ("The camera pushes in past a red box and a blue sphere, then pans left", ("push in", "pan left")),
    ("camera push in, then push in", ("push in", "push in")),
    ("Push-in shot. The camera slowly pushes in toward a door.", ("push in",)),
    ("move left, move right, move left, move right", ("move left", "move right", "move left")),
    ("pan left, pan right; zoom in! zoom out?", ("pan left", "pan right", "push in")),
    ("A cat naps. The camera orbits left, smoothly and slowly, then zooms out.", ("orbit left", "pull out")),
    ("pan left → push in", ("pan left", "push in")),
    ("Camera rises and pushes in", ("crane up", "push in")),
    ("The camera tilts up, then cranes down and rolls left", ("tilt up", "crane down", "roll left")),
    ("Camera pulls out from the window while panning left", ("pull out", "pan left")),
]

NOTHING = [
    "",
    "   ",
    "a retro camera on a shelf",
    "push in line",
    "people push in line",
    "A man moves left and a woman turns right.",
    "a man turns left, then moves right",
    "A red box and a blue sphere in a striped room",
    "a red sphere moving left beside a blue box",
    "A photographer holding a camera moves left",
    "a security camera on a pole rotates left",
    "A vintage film camera, brass, on a desk",
    "A man walks toward the camera and smiles.",
    "a child pulls back the curtain",
    "A frying pan left on the stove",
    "pan left on the stove",
    "The pan left on the stove smokes",
    "Push in the drawer, please",
    "move in with friends",
    "Move out of the way",
    "A satellite in orbit around Mars",
    "Orbit of Jupiter in a textbook",
    "a tourist zooms in with her phone",
    "The crowd pushes in and the gates fall",
    "Cars drive forward on the left side of the road",
    "A still life with pears",
    "Still water in a pond",
    "A fixed star above a static mountain",
    "the view from the left bank of the Seine",
    "a shot of whisky on the right",
    "The camera does not push in.",
    "The camera never pans left",
    "The camera follows a dog.",
    "a crane up on the hill",
    "a crane down by the river",
    "a band plays rock and roll",
    "a bread roll beside a high-rise",
    "a crash on a vertical cliff",
    "photos in her camera roll",
    "keep the camera rolling",
    "smoke rises and drifts",
    "a red sphere rolling left beside a blue box",
    "tilt-shift photo of a village",
    "The camera looks up at a tower",
    "The sun rises as birds fly up",
    "She raises the camera to her eye",
    "A camera lower on the shelf",
    "A lift down to the mine",
    "people move up in line",
    "a cat rolls over to the left",
    "A camera shop on the right side of a street",
    "camera",
    "the camera",
    "his camera pans left",
    "the camera moves in slow motion",
    "a boat drifts to the right",
    "the moon circles the earth",
    "Turn left at the lights, says the driver",
    "a dolly left in the playground",
    "相机向左移动",
    "💥🎥",
]


@pytest.mark.parametrize(
    ("move", "prompt"), [(move, prompt) for move, prompts in ONE_MOVE.items() for prompt in prompts]
)
def test_one_move(move: str, prompt: str) -> None:
    assert parse_moves(prompt) == (move,)


@pytest.mark.parametrize(("prompt", "moves"), SEQUENCES)
def test_sequences(prompt: str, moves: tuple[str, ...]) -> None:
    assert parse_moves(prompt) == moves


@pytest.mark.parametrize("prompt", NOTHING)
def test_nothing_is_asked(prompt: str) -> None:
    assert parse_moves(prompt) == ()


def test_every_sequence_survives_the_way_through_text() -> None:
    for count in range(MAX_MOVES + 1):
        for moves in itertools.product(ALL_MOVES, repeat=count):
            assert parse_moves(describe_moves(moves)) == moves
            assert parse_moves(f"{describe_moves(moves)}. a red box and a blue sphere in a striped room") == moves
            assert parse_moves(", then ".join(moves)) == moves


def test_mirrored_prompts_ask_for_mirrored_moves() -> None:
    swap = {"left": "right", "right": "left"}
    for move, prompts in ONE_MOVE.items():
        if move.split()[-1] not in swap:
            continue
        for prompt in prompts:
            words = prompt.replace("left", "\0").replace("right", "left").replace("\0", "right")
            if words != prompt:
                expected = f"{move.split()[0]} {swap[move.split()[1]]}"
                assert parse_moves(words) == (expected,), words


def test_no_text_breaks_the_parser() -> None:
    rng = random.Random(0)
    vocabulary = [
        *ALL_MOVES,
        *NOTHING,
        "camera",
        "the",
        "a",
        "slowly",
        ",",
        ".",
        "then",
        "and",
        ";",
        "!",
        "-",
        "not",
        "shot",
    ]
    vocabulary += ["to", "from", "around", "\n", "\x00", "é", "’", "\ud83d", "((((("]
    for _ in range(3000):
        text = " ".join(rng.choices(vocabulary, k=rng.randrange(20)))
        _is_read_once_and_for_all(text)
    for _ in range(500):
        _is_read_once_and_for_all("".join(rng.choices(string.printable, k=60)))


def test_no_unicode_breaks_the_parser() -> None:
    rng = random.Random(1)
    for _ in range(1500):
        strange = "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(12)))
        words = rng.choices(["camera", "the camera pans", *ALL_MOVES, "İ", "ß", "\u202e", "\ufdfa", "left"], k=4)
        _is_read_once_and_for_all(strange.join(words))
        _is_read_once_and_for_all(strange)


def test_no_scrap_of_a_real_prompt_breaks_the_parser() -> None:
    rng = random.Random(2)
    prompts = [prompt for name in SETS for prompt in read_prompts(shipped_path(name))]
    for _ in range(600):
        words = " ".join(rng.sample(prompts, 2)).split()
        start = rng.randrange(len(words))
        scrap = words[start : start + rng.randrange(1, 30)]
        rng.shuffle(scrap)
        _is_read_once_and_for_all(" ".join(scrap))
        _is_read_once_and_for_all(rng.choice(prompts)[rng.randrange(40) : rng.randrange(40, 400)])


def _is_read_once_and_for_all(text: str) -> None:
    """What the parser reads are at most three moves, and their own text reads as the same."""
    moves = parse_moves(text)
    assert set(moves) <= set(ALL_MOVES)
    assert len(moves) <= MAX_MOVES
    assert parse_moves(describe_moves(moves)) == moves


def test_the_moves_of_the_paper_stay_as_they_are() -> None:
    assert len(MOVES) == 11
    assert not set(MOVES) & set(EXTENDED_MOVES)
    assert (*MOVES, *EXTENDED_MOVES) == ALL_MOVES


def test_long_prompts_take_no_time() -> None:
    hostile = "the camera orbits " + "to the to from the left to " * 2000
    assert parse_moves(hostile + "a" * 20000)


def test_describe_names_what_is_wrong() -> None:
    assert describe_moves(()) == ""
    assert describe_moves(["orbit left", "push in"]) == "camera orbit left, then push in"
    with pytest.raises(ValueError, match="Unknown camera move 'fly up'"):
        describe_moves(["fly up"])
    with pytest.raises(ValueError, match="at most 3"):
        describe_moves(["fixed"] * 4)
