"""The published Depth Anything 3 models: names, licences, what each one estimates."""

from __future__ import annotations

from dataclasses import dataclass

APACHE = "Apache-2.0"
NON_COMMERCIAL = "CC-BY-NC-4.0"
HUB_OWNER = "depth-anything"


@dataclass(frozen=True)
class Variant:
    """One published set of weights.

    Attributes:
        name: as in the hub's address, without the owner.
        preset: the upstream package's name for the architecture, written in the `config.json` beside the weights.
        licence: SPDX identifier of the weights, as the upstream README states it (the code is Apache-2.0 throughout).
        parameters: counted on the network that the preset builds.
        cameras: has camera and ray heads, without which a video cannot be reconstructed.
        gaussians: has the head that gives 3D Gaussians.
        metric: lengths are metres.
        superseded_by: the retrained weights that upstream recommends instead.
    """

    name: str
    preset: str
    licence: str
    parameters: int
    cameras: bool = True
    gaussians: bool = False
    metric: bool = False
    superseded_by: str | None = None

    @property
    def hub(self) -> str:
        """The hub's address."""
        return f"{HUB_OWNER}/{self.name}"

    @property
    def commercial(self) -> bool:
        """Whether the licence allows commercial use."""
        return self.licence != NON_COMMERCIAL

    @property
    def heads(self) -> tuple[str, ...]:
        """What the network gives per frame."""
        if not self.cameras:
            return ("depth", "sky")
        extra = ("gaussians",) if self.gaussians else ()
        return ("depth", "confidence", "ray", "camera", *extra, *(("sky",) if self.metric else ()))


VARIANTS: tuple[Variant, ...] = (
    Variant("DA3-SMALL", "da3-small", APACHE, 34_299_463),
    Variant("DA3-BASE", "da3-base", APACHE, 135_366_599),
    Variant("DA3-LARGE-1.1", "da3-large", NON_COMMERCIAL, 410_941_767),
    Variant("DA3-LARGE", "da3-large", NON_COMMERCIAL, 410_941_767, superseded_by="DA3-LARGE-1.1"),
    Variant("DA3-GIANT-1.1", "da3-giant", NON_COMMERCIAL, 1_355_674_125, gaussians=True),
    Variant("DA3-GIANT", "da3-giant", NON_COMMERCIAL, 1_355_674_125, gaussians=True, superseded_by="DA3-GIANT-1.1"),
    Variant(
        "DA3NESTED-GIANT-LARGE-1.1", "da3nested-giant-large", NON_COMMERCIAL, 1_689_845_519, gaussians=True, metric=True
    ),
    Variant(
        "DA3NESTED-GIANT-LARGE",
        "da3nested-giant-large",
        NON_COMMERCIAL,
        1_689_845_519,
        gaussians=True,
        metric=True,
        superseded_by="DA3NESTED-GIANT-LARGE-1.1",
    ),
    Variant("DA3METRIC-LARGE", "da3metric-large", APACHE, 334_171_394, cameras=False, metric=True),
    Variant("DA3MONO-LARGE", "da3mono-large", APACHE, 334_171_394, cameras=False),
)


def find_variant(name: str) -> Variant | None:
    """The variant of a name with or without the owner, in any case; None for any other name."""
    owner, _, bare = name.rpartition("/")
    if owner.lower() not in ("", HUB_OWNER):
        return None
    return next((variant for variant in VARIANTS if variant.name.lower() == bare.lower()), None)


def variant_of(name: str) -> Variant:
    """As `find_variant`, but raises ValueError that lists the names when there is no such variant."""
    variant = find_variant(name)
    if variant is None:
        known = ", ".join(v.name for v in VARIANTS)
        raise ValueError(f"There is no Depth Anything 3 model named {name!r}; the published ones are {known}.")
    return variant


def licence_of(name: str) -> str:
    """SPDX identifier of the licence of a published model's weights; raises as `variant_of`."""
    return variant_of(name).licence


def variant_of_preset(preset: str) -> Variant:
    """The variant, of those that are not superseded, that an architecture's preset belongs to.

    Raises ValueError when the preset is not one of the published ones.
    """
    for variant in VARIANTS:
        if variant.preset == preset and variant.superseded_by is None:
            return variant
    known = ", ".join(sorted({v.preset for v in VARIANTS}))
    raise ValueError(f"There is no Depth Anything 3 architecture named {preset!r}; there are {known}.")
