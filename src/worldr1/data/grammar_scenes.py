"""Static scenes of the prompt grammar: what may stand where, by domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Light = Literal["outdoors", "indoors", "small", "underwater"]


@dataclass(frozen=True)
class Setting:
    """Subjects and places that go together; every pair of them is a scene.

    Attributes:
        domain: landscape, urban, interior, micro world, fantasy or still life.
        light: which lights suit it.
        subjects: noun phrases; the words in brackets name the subject again ("a weathered [lighthouse]").
        places: where it is, with a preposition.
        details: what is seen beside it, each to follow "with".
    """

    domain: str
    light: Light
    subjects: tuple[str, ...]
    places: tuple[str, ...]
    details: tuple[str, ...]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


def setting(domain: str, light: Light, subjects: str, places: str, details: str) -> Setting:
    """A setting from lists written with ``|`` between their entries."""
    return Setting(domain, light, _lines(subjects), _lines(places), _lines(details))


STATIC: tuple[Setting, ...] = (
    setting(
        "landscape",
        "outdoors",
        "a weathered [lighthouse] | a ruined stone [chapel] | a white clapboard [cottage] | a rusted iron [beacon] | "
        "an upturned fishing [boat] | a lone wind-bent [cypress] | a ring of [standing stones] | "
        "a grey granite [watchtower]",
        "on a rocky headland | above a wide pebble beach | on a grassy clifftop | beside a quiet tidal inlet | "
        "on a small island of black basalt | at the end of a sandy spit",
        "sea thrift flowering between the rocks | salt stains on every surface | "
        "a broken fence half buried in sand | lichen glowing orange on the stones | "
        "a narrow footpath winding up to it",
    ),
    setting(
        "landscape",
        "outdoors",
        "a log [cabin] with a stone chimney | a small wooden [shrine] | a red-roofed [hay barn] | "
        "a glacial [boulder] | a timber [footbridge] | a moss-covered [stone cairn] | "
        "an old [larch] split by lightning | a shepherd's [stone hut]",
        "in a high alpine meadow | below a snow-covered ridge | beside a turquoise mountain lake | "
        "at the edge of a pine forest | on a saddle between two peaks | in a valley of terraced slopes",
        "wildflowers scattered through the grass | the summits reflected in still water | "
        "patches of old snow in the hollows | scree slopes falling away behind | low cloud resting in the valley",
    ),
    setting(
        "landscape",
        "outdoors",
        "a natural sandstone [arch] | a giant [saguaro] | an abandoned [petrol station] | a balanced [rock] | "
        "a half-buried [caravan] | a mud-brick [fort] | a solitary [acacia] | a rusting [windmill]",
        "in a red desert canyon | on a cracked salt flat | among rippled sand dunes | on a wide gravel plain | "
        "beside a dry riverbed | at the foot of a striped mesa",
        "long ripples in the sand around it | dry thorn bushes in the foreground | "
        "a line of far blue mountains behind | layers of ochre and rust in the rock | a faded track leading up to it",
    ),
    setting(
        "landscape",
        "outdoors",
        "a fallen [redwood] covered in ferns | a hollow [oak] | a wooden [boardwalk] | a stone [well] | "
        "a tiny [forest chapel] | a stack of cut [logs] | a circle of tall [mushrooms] | an iron [garden gate]",
        "in an old-growth forest | in a beech wood carpeted with leaves | beside a clear woodland stream | "
        "in a bamboo grove | in a clearing of birch trees | in a glade full of bluebells",
        "moss on every trunk | ferns unfolding along the ground | roots gripping the bank | "
        "shafts of light between the trunks | fallen leaves in copper and gold",
    ),
    setting(
        "landscape",
        "outdoors",
        "a thatched [farmhouse] | a dry-stone [sheepfold] | a wooden [windmill] | a row of [poplars] | "
        "a domed [dovecote] | a painted [showman's wagon] | a stone [bridge] of three arches | "
        "a cluster of [haystacks]",
        "among rolling green hills | beside a field of lavender | in a sea of ripe wheat | "
        "on the bank of a slow river | at a crossroads of country lanes | in an orchard in full blossom",
        "hedgerows dividing the fields | poppies along the verge | a village spire in the distance | "
        "neat rows running to the horizon | a gravel lane curving past",
    ),
    setting(
        "urban",
        "outdoors",
        "a corner [café] with a striped awning | a vintage [tram stop] | a red [telephone box] | a flower [kiosk] | "
        "a bronze [fountain] | a secondhand [bookstall] | a parked mint-green [scooter] | an ornate [newspaper stand]",
        "on a cobbled square | on a narrow street in an old town | under a stone arcade | "
        "on a tree-lined boulevard | beside a canal bridge | at the foot of a wide flight of steps",
        "wet cobbles reflecting the windows | shutters in faded blue and green | potted geraniums on the sills | "
        "wrought-iron lamps along the wall | strings of small bulbs overhead",
    ),
    setting(
        "urban",
        "outdoors",
        "a glass [office tower] | a spiral concrete [ramp] | a mirrored [sculpture] | a steel [footbridge] | "
        "a rooftop [garden] | a triangular [museum] of white stone | a cantilevered [apartment block] | "
        "an elliptical [concert hall]",
        "in a dense financial district | on a broad waterfront plaza | above a six-lane avenue | "
        "between two mirrored skyscrapers | on a hill over the harbour | in a park of clipped lawns",
        "repeating windows on every side | young trees in concrete planters | clean shadows across the paving | "
        "the skyline stacked behind it | empty benches in long rows",
    ),
    setting(
        "urban",
        "outdoors",
        "a ramen [stall] with paper lanterns | a glowing [vending machine] | a stack of [neon signs] | "
        "a tiny [record shop] | a tiled [public bath] | a [fortune teller's booth] | a cluttered [repair shop] | "
        "a parked [delivery bicycle]",
        "in a rain-soaked alley | beneath an elevated railway | at a quiet intersection | "
        "in a covered market street | beside a steep stairway | between two crowded apartment blocks",
        "puddles mirroring the colours | tangled cables overhead | stickers layered over the metal | "
        "umbrellas leaning by the door | steam-fogged glass in the doorway",
    ),
    setting(
        "urban",
        "outdoors",
        "a disused [gasworks] | a brick [water tower] | a rusted [harbour hoist] | an empty [swimming pool] | "
        "a graffiti-covered [tram] | a row of [shipping containers] | a derelict [cinema] | a stopped [ferris wheel]",
        "on an old dockside | behind a chain-link fence | in an overgrown rail yard | beside a grey canal | "
        "in a deserted amusement park | on the edge of an industrial estate",
        "weeds growing through the concrete | peeling paint in long strips | broken panes in the high windows | "
        "faded lettering on the brick | pools of rainwater on the ground",
    ),
    setting(
        "urban",
        "outdoors",
        "a blue-domed [church] | a tiled [courtyard fountain] | a carved wooden [balcony] | a spice [shop] | "
        "a whitewashed [staircase] | an arched [city gate] | a slender [minaret] | a terracotta [rooftop terrace]",
        "in a hillside medina | over a Mediterranean harbour | in a maze of white lanes | on a whitewashed plaza | "
        "along a honey-coloured city wall | in a quarter of painted houses",
        "bougainvillea spilling over the wall | patterned tiles on every step | washing lines between the windows | "
        "clay pots beside the door | a strip of deep blue sky above",
    ),
    setting(
        "interior",
        "indoors",
        "a leather [armchair] | a grand [piano] | a tall [grandfather clock] | a carved [fireplace] | "
        "a brass [telescope] | a writing [desk] piled with letters | a velvet [chaise longue] | a large [globe]",
        "in a wood-panelled library | in a Victorian drawing room | in a castle study | "
        "in a bay window of an old mansion | in a long gallery of portraits | in a faded hotel lobby",
        "dust hanging in the light | a worn Persian rug on the floor | books stacked in uneven piles | "
        "heavy curtains drawn halfway | gilded frames on the walls",
    ),
    setting(
        "interior",
        "indoors",
        "a farmhouse [table] set for breakfast | a cast-iron [stove] | a copper [sink] | a wall of [spice jars] | "
        "a wooden [dresser] full of plates | a basket of [apples] on a stool | an enamel [coffee pot] on a hob | "
        "a marble [worktop] dusted with flour",
        "in a country kitchen | in a bright city apartment | in a small bakery | in a converted barn | "
        "in a seaside cottage | in the kitchen of an old monastery",
        "herbs drying from the beams | copper pans along the wall | a checked cloth folded at the edge | "
        "steam on the window panes | a sprig of rosemary in a glass",
    ),
    setting(
        "interior",
        "indoors",
        "a low linen [sofa] | a floating [staircase] | an oak [dining table] | a sculptural [floor lamp] | "
        "a wall-sized [abstract painting] | a hanging [rattan chair] | a concrete [fireplace] | "
        "a tall [fiddle-leaf fig]",
        "in a minimalist living room | in a glass house in the woods | in a loft with brick walls | "
        "in a modernist villa | in a Japanese-style tea room | in a double-height studio",
        "pale floorboards running to the window | a single branch in a vase | soft shadows on plaster walls | "
        "a woven rug in natural tones | floor-to-ceiling glass along one side",
    ),
    setting(
        "interior",
        "indoors",
        "a half-finished [violin] | a potter's [wheel] | a printing [press] | a loom with striped [cloth] | "
        "a vintage [motorcycle] under repair | a drafting [table] | an old [sewing machine] | "
        "a rack of [glass bottles]",
        "in a cluttered workshop | in an attic studio | in a garage lined with tools | in a former factory hall | "
        "in a basement laboratory | in a shed at the bottom of a garden",
        "shavings curled across the floor | tools hung in careful order | jars of brushes on the sill | "
        "a pinboard thick with sketches | a bare bulb above the bench",
    ),
    setting(
        "interior",
        "indoors",
        "a marble [statue] | a reading [lectern] | a suspended [whale skeleton] | a stained-glass [window] | "
        "a mosaic [floor medallion] | a gilded [altar] | an antique [carousel horse] | a dinosaur [skull] in a case",
        "in a vaulted cathedral | in a natural history museum | in an empty opera house | in a domed reading room | "
        "in a ruined abbey | in a palace hall of mirrors",
        "columns receding on both sides | coloured light across the flagstones | rows of empty seats behind it | "
        "a high ribbed ceiling overhead | velvet ropes on brass posts",
    ),
    setting(
        "micro world",
        "small",
        "a [dewdrop] on a blade of grass | a ladybird [shell] | a curled [fern tip] | an open [seed pod] | "
        "a cluster of [moss capsules] | a snail [shell] | a dandelion [seed head] | a single [clover leaf]",
        "in a dense carpet of moss | on a rain-wet stone | among blades of spring grass | "
        "on the bark of an old tree | at the edge of a garden pond | on damp forest soil",
        "tiny droplets holding upside-down worlds | fine hairs catching the light | "
        "threads of spider silk between stems | grains of sand as large as boulders | soft green blur in the distance",
    ),
    setting(
        "micro world",
        "small",
        "a [gear train] of a pocket watch | a [microchip] | the [stylus] of a record player | "
        "a typewriter's [typebar] | the [escapement] of a marine clock | a coil of [copper wire] | "
        "a [printed circuit] | the [spring] of a music box",
        "on a watchmaker's bench | on a sheet of brushed steel | under a jeweller's loupe | on a dark velvet cloth | "
        "inside an opened brass case | beside a row of tiny screws",
        "fine scratches in the metal | ruby bearings glinting red | hairline engravings along the edge | "
        "specks of dust like small stones | polished faces reflecting one another",
    ),
    setting(
        "micro world",
        "small",
        "a [snowflake] | a [salt crystal] | a slice of [agate] | a [soap film] | a cube of [pyrite] | "
        "a needle of [frost] | an [amber bead] with a fly in it | a [quartz point]",
        "on a dark wool thread | on a plate of frosted glass | against a black background | in a bed of fine sand | "
        "on a sliver of slate | between two glass slides",
        "perfect angles repeating inward | rainbow fringes along the edges | faint inclusions suspended inside | "
        "facets like the walls of a hall | a thin rim of light around it",
    ),
    setting(
        "micro world",
        "small",
        "a miniature [train station] | a model [fishing village] | a tiny [market stall] | "
        "a matchstick [cathedral] | a thumb-sized [greenhouse] | a doll's [tea table] | a paper [castle] | "
        "a model [observatory]",
        "on an old wooden desk | inside a glass bell jar | on an open atlas | in a wooden window box | "
        "in a drawer lined with felt | among the roots of a bonsai",
        "figures no taller than a pin | sponge trees along the road | hand-painted signs in tiny letters | "
        "a mirror laid in for a lake | brush strokes visible on the walls",
    ),
    setting(
        "micro world",
        "small",
        "a branching [coral polyp] | a spiral [diatom] | a grain of [pollen] | "
        "a [butterfly wing] seen scale by scale | a beetle's [horn] | a [feather] barb by barb | "
        "a [honeycomb] cell | a sponge [spicule]",
        "in a field of soft bokeh | on a microscope stage | on a pale petal | in a drop of clear water | "
        "on a sheet of handmade paper | on a bed of fine fibres",
        "iridescent blues and greens | ridges in strict rows | translucent walls glowing from within | "
        "tiny pits across the surface | structure repeating at every scale",
    ),
    setting(
        "fantasy",
        "outdoors",
        "a floating [castle] | a crystal [spire] | a stone [dragon statue] | a [library] carved into a tree | "
        "a ring-shaped [portal] | a village of [hanging houses] | a [temple] with golden roofs | a giant's [throne]",
        "above a sea of clouds | on a chain of floating islands | at the edge of a bottomless chasm | "
        "in a valley of luminous flowers | in a land of two moons | beside a waterfall of light",
        "glowing runes along the stone | rope bridges between the rocks | ribbons of aurora in the sky | "
        "vines heavy with glass fruit | banners in deep violet",
    ),
    setting(
        "fantasy",
        "indoors",
        "an alchemist's [workbench] | a [sword] in a block of ice | a levitating [spellbook] | "
        "a [crown] on a pedestal | a bubbling-green [cauldron] | an enchanted [mirror] | "
        "a [map] drawn in silver ink | a cage of captive [stars]",
        "in a wizard's tower | in a dwarven treasury | in a forgotten crypt | in a hall of crystal pillars | "
        "in an underground sanctuary | in a witch's cottage",
        "shelves crowded with phials | gold coins spread across the floor | carved guardians along the walls | "
        "faint blue light between the stones | roots breaking through the ceiling",
    ),
    setting(
        "fantasy",
        "outdoors",
        "a beached [spaceship] | a ringed [monolith] | a domed [colony] | an [antenna array] of bone-white metal | "
        "a giant [robot] overgrown with vines | a hexagonal [landing pad] | a [rover] with six wheels | "
        "a spiral [launch tower]",
        "on a rust-red planet | in a forest of purple ferns | on the rim of an ice crater | "
        "beneath an enormous gas giant | on a plain of black glass | beside a methane lake",
        "twin suns low over the horizon | frost along the panels | strange pods open at its base | "
        "a field of small craters around it | faint rings arching across the sky",
    ),
    setting(
        "fantasy",
        "outdoors",
        "a clockwork [lighthouse] | a brass [airship] at its mooring | a copper-domed [observatory] | "
        "a tower of [stacked houses] | a steam [locomotive] of dark iron | a mechanical [owl] the size of a house | "
        "a [bridge] made of gears | a glass [palm house]",
        "in a city of brass and smoke | on a cliff of riveted steel | above a canyon of pipes | "
        "in a square lit by gas lamps | on a harbour of iron piers | among endless chimneys",
        "riveted plates green with age | dials behind thick glass | pipes wound around the walls | "
        "warm windows in every storey | cogs half hidden in the stonework",
    ),
    setting(
        "fantasy",
        "underwater",
        "a sunken [palace] | a coral [archway] | a wrecked [galleon] | a [statue] of a sea god | "
        "a giant [nautilus shell] | a mermaid's [garden] | a [bell tower] covered in barnacles | a pearl-lit [grotto]",
        "on the floor of a clear ocean | among towering kelp | in a trench of glowing anemones | "
        "beneath a dome of blue ice | in an underwater canyon | on a reef of pale stone",
        "beams of light from the surface | sea fans in crimson and gold | broken columns half in sand | "
        "starfish along the steps | a fine shimmer in the water",
    ),
    setting(
        "still life",
        "indoors",
        "a bowl of [pears] | a vase of [tulips] | a half-peeled [lemon] | a wheel of [cheese] | "
        "a bunch of [black grapes] | a loaf of [rye bread] | a silver [goblet] | a plate of [figs]",
        "on a rumpled linen cloth | on a dark oak table | on a stone window ledge | on a marble slab | "
        "beside a pewter jug | against a deep green wall",
        "a knife resting on the edge | crumbs scattered beside it | one petal fallen on the wood | "
        "a curl of peel hanging over the side | drops of water on the skin",
    ),
    setting(
        "still life",
        "indoors",
        "a stack of [old books] | a [retro camera] | a brass [microscope] | a pair of [reading glasses] | "
        "an hourglass of [white sand] | a fountain [pen] | a wax-sealed [letter] | a pocket [compass]",
        "on a scholar's desk | on a wooden shelf | on a faded nautical chart | on a leather blotter | "
        "beside a green banker's lamp | on a velvet cushion",
        "ink stains on the wood | a ribbon marking a page | pressed flowers between the papers | "
        "a candle stub in a saucer | soft reflections in the brass",
    ),
    setting(
        "still life",
        "indoors",
        "a blue-and-white [teapot] | a stack of [stoneware bowls] | a cracked [celadon vase] | a bamboo [whisk] | "
        "a lacquered [tray] of sweets | an iron [kettle] | a pinched clay [cup] | a folded [paper crane]",
        "on a tatami mat | on a low cedar table | in a shallow alcove | on a square of indigo cloth | "
        "beside a branch of plum blossom | on a weathered plank",
        "gold lines where it was mended | a single leaf beside it | uneven glaze pooling at the foot | "
        "a shoji screen glowing behind | fine crackle over the surface",
    ),
    setting(
        "still life",
        "indoors",
        "a violin [scroll] | a trumpet [bell] | a worn pair of [ballet shoes] | a row of [oil paint tubes] | "
        "a plaster [bust] | a chess [king] | a glass [paperweight] | a wind-up tin [robot]",
        "on a paint-splashed stool | on a black lacquer surface | on a sheet of music | on a draped grey cloth | "
        "on a windowsill with peeling paint | on a mirrored tray",
        "a soft shadow falling to one side | a smear of cobalt beside it | worn edges showing bare wood | "
        "tiny reflections along the curve | a plain wall fading to dark",
    ),
    setting(
        "still life",
        "small",
        "a perfume [bottle] | a sliced [pomegranate] | a chocolate [truffle] | a ceramic [coffee cup] | "
        "a wristwatch with a [blue dial] | a bar of [handmade soap] | a cut-glass [decanter] | "
        "a succulent in a [concrete pot]",
        "on a block of travertine | on a curved paper backdrop | on a slab of wet slate | "
        "on a pedestal of coloured acrylic | among smooth river stones | on a bed of pale sand",
        "crisp highlights along the rim | a fan of thin shadows | droplets beading on the surface | "
        "two spheres of the same colour nearby | a sprig of eucalyptus behind it",
    ),
)
"""Scenes in which only the camera moves."""
