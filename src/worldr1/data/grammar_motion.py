"""Moving scenes of the prompt grammar: water, fire, crowds, animals, machines and weather, by domain."""

from __future__ import annotations

from worldr1.data.grammar_scenes import Setting, setting

DYNAMIC: tuple[Setting, ...] = (
    setting(
        "landscape",
        "outdoors",
        "steep [waves] breaking in white spray | a [waterfall] thundering into a pool | "
        "a herd of wild [horses] galloping | a flock of [starlings] wheeling and folding | "
        "tall [grass] bending in gusts of wind | a pod of [dolphins] leaping clear of the water",
        "along a rugged coast | before a wall of dark cliffs | off a chain of black islets | "
        "at the mouth of a wide river | beside a bay of green water | below a chain of snowy mountains",
        "spray hanging in the air | ragged clouds racing overhead | wet stones glittering | gulls crying and circling",
    ),
    setting(
        "landscape",
        "outdoors",
        "a red [fox] trotting through the snow | a swollen [stream] tumbling over boulders | "
        "a [campfire] crackling and throwing sparks | autumn [leaves] swirling | a brown [bear] fishing for salmon | "
        "a skein of [geese] beating low over the ground",
        "in a northern forest | beside a frozen lake | in a narrow gorge | at the edge of a misty marsh | "
        "in a clearing between old firs | on the bank of a mountain river",
        "breath steaming in the cold | branches swaying overhead | drifting flakes of snow | "
        "mist curling over the water",
    ),
    setting(
        "urban",
        "outdoors",
        "a [crowd] hurrying under umbrellas | a yellow [tram] rattling past | [cyclists] weaving through traffic | "
        "a street [dancer] spinning on one hand | a [brass band] marching and playing | "
        "a stream of [taxis] crawling in the rain",
        "on a busy city crossing | along a wide shopping street | in front of a railway station | "
        "past rows of lit shop windows | across a stone bridge | through a square full of pigeons",
        "reflections shivering in the puddles | steam pouring out of the grates | flags snapping on their poles | "
        "signs flickering overhead",
    ),
    setting(
        "urban",
        "outdoors",
        "a market [vendor] tossing noodles in a flaming wok | paper [lanterns] swaying in the breeze | "
        "children chasing [soap bubbles] | a [skateboarder] jumping a flight of steps | "
        "a [fountain] shooting jets into the air | a street [musician] playing the accordion",
        "at a night market | in a crowded old-town lane | in a public garden | beside a floating restaurant | "
        "on a seaside promenade | under a railway arch",
        "smoke curling past the lamps | people laughing and pointing | a dog running between the legs | "
        "confetti fluttering through the air",
    ),
    setting(
        "interior",
        "indoors",
        "a [fire] roaring in the hearth | a tabby [cat] pouncing on a ball of wool | "
        "a [ballerina] turning on her toes | a [blacksmith] hammering glowing iron | "
        "long [curtains] billowing in the draught | a [pianist] playing with flying hands",
        "in a timbered hall | in a bare studio | in a stone workshop | in a room with tall windows | "
        "in an attic full of old furniture | on the stage of a small theatre",
        "sparks jumping across the floor | dust whirling in the light | shadows dancing on the walls | "
        "sheets of paper sliding off a table",
    ),
    setting(
        "interior",
        "indoors",
        "a [chef] flipping vegetables in a smoking pan | a [glassblower] turning a glowing bulb | "
        "a shoal of [clownfish] darting around in a tank | a [waiter] pouring tea in a high arc | "
        "a [toy train] circling on its track | a jazz [drummer] playing a fast solo",
        "in a crowded restaurant | in a low-ceilinged basement | in a converted warehouse | "
        "in a glass-roofed winter garden | at the back of a narrow shop | in a red-walled room",
        "steam rolling under the ceiling | faces turning to watch | glasses trembling on a shelf | "
        "coloured light rippling over the walls",
    ),
    setting(
        "micro world",
        "small",
        "a line of [ants] carrying leaf fragments | a [honeybee] crawling over stamens | "
        "a [caterpillar] chewing a leaf | a jumping [spider] turning its head | "
        "a [snail] stretching out its eyestalks | a [dragonfly] shaking water off its wings",
        "on a mossy branch | among the petals of a sunflower | on a trembling blade of grass | "
        "along the rim of a clay pot | on a rain-wet leaf | across a patch of warm sand",
        "droplets trembling on hairs | pollen floating through the air | antennae twitching | "
        "stems nodding in the breeze",
    ),
    setting(
        "micro world",
        "small",
        "[ink] unfolding in billows | [bubbles] streaming and bursting | a [drop] of milk splashing into a crown | "
        "iron [filings] crawling under a magnet | [frost] spreading in feathers | a [match] bursting into flame",
        "in a tank of clear water | on a pane of dark glass | in a shallow white dish | against a black background | "
        "in a thin glass tube | over a polished steel plate",
        "swirls folding into one another | fine threads breaking away | tiny rings running outward | "
        "specks whirling through the light",
    ),
    setting(
        "fantasy",
        "outdoors",
        "a [dragon] beating its vast wings | a swarm of glowing [fireflies] drawing spirals | "
        "a walking [treehouse] on wooden legs | a [phoenix] bursting into flame | a giant [golem] striding along | "
        "a flying [whale] swimming between the clouds",
        "over a ruined citadel | in a valley of crystal trees | beside a river of lava | above a city of bridges | "
        "across a plain of silver grass | above a forest of glass",
        "embers whirling upward | loose stones tumbling down the slopes | banners whipping in the wind | "
        "lightning flickering behind the clouds",
    ),
    setting(
        "fantasy",
        "indoors",
        "a [wizard] weaving ribbons of light | enchanted [books] flapping like birds | "
        "a [clockwork knight] swinging its sword | a [genie] pouring out of a lamp in blue smoke | "
        "a [cauldron] boiling over | suits of [armour] dancing a minuet",
        "in a vaulted throne room | in a tower full of scrolls | in a cavern of mirrors | in a mirrored ballroom | "
        "in a vault of turning gears | at the heart of a living tree",
        "candles floating and bobbing | sparks raining from the vault | pages flying in a spiral | "
        "shadows moving on their own",
    ),
    setting(
        "still life",
        "indoors",
        "a [candle] flickering and dripping wax | a [metronome] swinging back and forth | "
        "a spinning [top] wobbling on its tip | a glass of [sparkling water] fizzing | an [hourglass] running out | "
        "a [music box] figure turning round and round",
        "on a dark wooden table | beside a bowl of oranges | on a lace tablecloth | in front of an open window | "
        "on an old upright piano | next to a pile of books",
        "shadows trembling on the wall | smoke curling from a wick | a curtain stirring behind it | "
        "specks of dust drifting through the light",
    ),
    setting(
        "still life",
        "small",
        "[honey] pouring in a thick ribbon | [steam] curling from a cup of tea | "
        "a [strawberry] splashing into cream | [coffee] dripping through a filter | "
        "rose [petals] dropping one by one | melting [chocolate] folding over itself",
        "on a slab of white marble | on a rough slate board | in front of a dark backdrop | on a breakfast table | "
        "beside a polished kettle | on a round brass tray",
        "slow ripples spreading outward | drops leaping and landing again | light sliding over the surface | "
        "a fine mist rising",
    ),
)
"""Scenes in which something moves by itself, for the dynamic phase."""
