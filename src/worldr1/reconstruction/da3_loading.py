"""Depth Anything 3 networks from their published files: `config.json` and `model.safetensors`, as on the hub."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from worldr1.reconstruction.da3_variants import (
    VARIANTS,
    Variant,
    find_variant,
    variant_of,
    variant_of_preset,
)

if TYPE_CHECKING:
    from torch import nn

INSTALL = (
    "pip install 'worldr1[da3]' && pip install --no-deps --ignore-requires-python depth-anything-3==0.1.1 evo==1.38.1"
)
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
UPSTREAM_DEFAULT = "da3-large"

log = logging.getLogger(__name__)


def load_network(name_or_path: str | Path, revision: str | None = None) -> tuple[nn.Module, Variant]:
    """The upstream network with published weights, on the CPU in float32, and which variant it is.

    name_or_path: a published name ("DA3-SMALL"), a hub address ("depth-anything/DA3-SMALL", a fine-tune's too), or a
    directory with the two files. The architecture is the preset that `config.json` names as `model_name`; nothing else
    in it is used, so that a file cannot choose what code runs.

    Logs a warning when the licence forbids commercial use or when better weights supersede these.
    Raises ImportError without the upstream package; FileNotFoundError when files are not on this machine, as nothing is
    downloaded; ValueError for an unknown name or architecture, one without cameras, and weights that do not fit.
    """
    known = find_variant(str(name_or_path))
    if known is not None:
        check_cameras(known)
    config, weights = _files(name_or_path, revision)
    variant = _variant(config, known)
    network = build_network(variant)
    _fill(network, weights, variant.preset)
    if not variant.commercial:
        log.warning(
            "The weights of %s are under %s: not for commercial use. DA3-SMALL and DA3-BASE are under Apache-2.0.",
            variant.name,
            variant.licence,
        )
    if variant.superseded_by is not None:
        log.warning("%s is superseded by %s, retrained after a bug was fixed.", variant.name, variant.superseded_by)
    return network, variant


def variant_of_weights(name: str, directory: Path | None) -> Variant | None:
    """The variant of weights, without reading them: as their directory's `config.json` says, else by published name.

    Returns None where neither tells. Raises as `load_network` for what the directory lacks and for a variant without
    cameras.
    """
    if directory is not None:
        return _variant(_files(directory, None)[0], find_variant(str(directory)))
    known = find_variant(name)
    if known is not None:
        check_cameras(known)
    return known


def missing_modules(gaussians: bool) -> list[str]:
    """What the upstream network needs and this Python lacks, for a variant with or without a Gaussian head."""
    needed = ["depth_anything_3", "einops", "addict", "omegaconf"] + (["evo", "e3nn"] if gaussians else [])
    return [module for module in needed if importlib.util.find_spec(module) is None]


def build_network(variant: Variant) -> nn.Module:
    """The upstream network of a variant with random weights, in evaluation mode.

    Raises ImportError, which names the command that mends it, when the upstream package or what it needs is missing.
    """
    missing = missing_modules(variant.gaussians)
    if missing:
        raise ImportError(f"Depth Anything 3 ({variant.name}) needs {', '.join(missing)}; install with: {INSTALL}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"register_new_resolver", category=UserWarning)
        from depth_anything_3.cfg import create_object, load_config
        from depth_anything_3.registry import MODEL_REGISTRY

        quiet_upstream()
        network: nn.Module = create_object(load_config(MODEL_REGISTRY[variant.preset])).eval()
    return network


def quiet_upstream() -> None:
    """Keep the upstream package, once imported, from printing to standard output; its errors stay."""
    if "depth_anything_3" in sys.modules:
        from depth_anything_3.utils.logger import LOG_LEVELS, logger

        logger.level = LOG_LEVELS["ERROR"]


def check_cameras(variant: Variant) -> None:
    """Raises ValueError for a variant that estimates no cameras."""
    if not variant.cameras:
        able = ", ".join(v.name for v in VARIANTS if v.cameras and v.superseded_by is None)
        raise ValueError(
            f"{variant.name} estimates depth frame by frame and no cameras, so it cannot reconstruct a video; "
            f"use one of {able}."
        )


def _variant(config: Path, known: Variant | None) -> Variant:
    """What `config.json` names, of weights whose own name may be known."""
    preset = _preset(config, known.preset if known else UPSTREAM_DEFAULT)
    variant = known if known is not None and known.preset == preset else variant_of_preset(preset)
    check_cameras(variant)
    return variant


def _files(name_or_path: str | Path, revision: str | None) -> tuple[Path, Path]:
    directory = Path(name_or_path)
    if directory.is_dir():
        missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (directory / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{directory} lacks {' and '.join(missing)}; a Depth Anything 3 directory holds {CONFIG_FILE} and "
                f"{WEIGHTS_FILE} as the hub has them (hf download depth-anything/DA3-SMALL --local-dir DIR)."
            )
        return directory / CONFIG_FILE, directory / WEIGHTS_FILE
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.count("/") > 1 or name.startswith((".", "~")):
        raise FileNotFoundError(f"There is no directory {name} with {CONFIG_FILE} and {WEIGHTS_FILE}.")
    found = find_variant(name)
    address = name if found is None and "/" in name else variant_of(name).hub
    return _fetch(address, CONFIG_FILE, revision), _fetch(address, WEIGHTS_FILE, revision)


def _fetch(address: str, file: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(hf_hub_download(address, file, revision=revision, local_files_only=True))
    except HFValidationError as error:
        raise ValueError(f"{address!r} is neither a directory nor a hub address of the form owner/name.") from error
    except OSError as error:
        wanted = f"hf download {address}" + (f" --revision {revision}" if revision else "")
        raise FileNotFoundError(
            f"{file} of {address} is not on this machine; get it with: {wanted} (if https://huggingface.co/{address} "
            "asks for it, accept its licence there and log in: hf auth login)"
        ) from error


def _preset(config: Path, default: str) -> str:
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{config} is not JSON; fetch it again with the weights.") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("model_name", default), str):
        raise ValueError(f"{config} must hold an object whose model_name is the architecture's name.")
    return str(settings.get("model_name", default))


def _fill(network: nn.Module, weights: Path, preset: str) -> None:
    """Load weights, whose names carry upstream's prefix "model.", in place.

    The published files hold each tensor once: the layer norms that the auxiliary heads share have one name only.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_model
    from torch.nn import ModuleDict

    try:
        missing, unexpected = load_model(ModuleDict({"model": network}), weights, strict=False)
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{weights} does not hold the weights of {preset}: {str(error).splitlines()[-1].strip()} "
            f"Check that {CONFIG_FILE} belongs to them."
        ) from error
    if missing:
        raise ValueError(
            f"{weights} lacks {len(missing)} tensors of {preset}, {sorted(missing)[0]} the first; fetch it again, or "
            f"check that {CONFIG_FILE} belongs to it."
        )
    if unexpected:
        log.warning(
            "%s holds %d tensors that %s does not use, %s the first.", weights, len(unexpected), preset, unexpected[0]
        )
