"""The weights that a recipe needs: where they are, the command that gets them, and their licence."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from worldr1.recipes.settings import Recipe
from worldr1.reconstruction.da3_variants import VARIANTS

COGVIDEOX = "CogVideoX (commercial users register)"

LICENCES = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "Apache-2.0",
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": "Apache-2.0",
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": "Apache-2.0",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "Apache-2.0",
    **{variant.hub: variant.licence for variant in VARIANTS},
    **{f"Qwen/Qwen3-VL-{size}-Instruct": "Apache-2.0" for size in ("2B", "4B", "8B", "32B")},
    "Qwen/Qwen2-VL-7B-Instruct": "Apache-2.0",
    "MizzenAI/HPSv3": "MIT",
    "zai-org/CogVideoX1.5-5B": COGVIDEOX,
    "zai-org/CogVideoX-5b": COGVIDEOX,
    "zai-org/CogVideoX-2b": "Apache-2.0",
}
"""Of the published weights that are known here, by hub name."""

_FREE = frozenset({"Apache-2.0", "MIT"})

HPSV3_BASE = "Qwen/Qwen2-VL-7B-Instruct"
"""HPSv3's checkpoint comes without a tokenizer; this model's is its own."""

_CONFIGS_WITHOUT_WEIGHTS = ("scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
"""One of these lies in the folder of a pipeline's part that has no weights."""
_WEIGHTS_FILE = {"diffusers": "diffusion_pytorch_model.safetensors", "transformers": "model.safetensors"}
"""Of a pipeline's part, by the library that reads it."""
_SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")


@dataclass(frozen=True)
class Weights:
    """One set of weights.

    Attributes:
        role: what they are for: "policy", "reconstructor", "judge" or "preference".
        name: hub name or directory.
        revision: branch, tag or commit; None is the main one.
        place: the directory that holds them, None when they are missing or incomplete.
        problem: why `place` is None, as the end of a sentence; empty otherwise.
        only: file patterns, where not everything under the name is needed.
    """

    role: str
    name: str
    revision: str | None
    place: Path | None
    problem: str
    only: tuple[str, ...] = ()

    @property
    def licence(self) -> str:
        """Their licence as published."""
        return LICENCES.get(self.name, "see its page")

    @property
    def commercial(self) -> bool:
        """Whether the licence is known to allow commercial use."""
        return LICENCES.get(self.name) in _FREE

    @property
    def command(self) -> str:
        """What gets them."""
        return download_command(self.name, self.revision, self.only)


def required_weights(recipe: Recipe) -> list[Weights]:
    """The weights that a recipe names, those that come with the package left out."""
    reward, named = recipe.reward, []
    if recipe.model.path != "tiny":
        named.append(("policy", recipe.model.path, recipe.model.revision))
    if reward.reconstructor == "da3" and {"meta", "recon", "traj"} & reward.weights.keys():
        named.append(("reconstructor", reward.da3.weights, reward.da3.revision))
    if reward.judge.name == "qwen3-vl" and "meta" in reward.weights:
        named.append(("judge", reward.judge.weights, reward.judge.revision))
    found = [examine(*entry) for entry in named]
    if reward.preference.name == "hpsv3" and "general" in reward.weights:
        found += _hpsv3(reward.preference.weights, reward.preference.revision)
    return found


def _hpsv3(name: str, revision: str | None) -> list[Weights]:
    """HPSv3 and, unless its directory holds a config of its own, what it takes from the model that it was built on."""
    scorer = examine("preference", name, revision)
    if scorer.place is not None and (scorer.place / "config.json").is_file():
        return [scorer]
    folder, problem = _find(HPSV3_BASE, None)
    if folder is not None and not (folder / "tokenizer.json").is_file():
        folder, problem = None, "lacks tokenizer.json"
    return [scorer, Weights("tokenizer of preference", HPSV3_BASE, None, folder, problem, ("*.json", "*.txt"))]


def examine(role: str, name: str, revision: str | None = None) -> Weights:
    """Look for weights by directory, hub name or the short name of known ones on this machine; downloads nothing."""
    name = full_name(name)
    folder, problem = _find(name, revision)
    if folder is not None:
        problem = incomplete(folder)
    return Weights(role, name, revision, None if problem else folder, problem)


def place_of(name: str, revision: str | None = None) -> Path:
    """The directory that holds weights.

    Raises:
        FileNotFoundError: they are not here or not whole; the sentence names the command that gets them.
    """
    found = examine("", name, revision)
    if found.place is None:
        raise FileNotFoundError(missing_sentence([found]))
    return found.place


def folder_of(name: str) -> Path:
    """The directory of a name, whatever it holds.

    Raises:
        FileNotFoundError: it is not here; the sentence names the command that gets it.
    """
    folder, problem = _find(name, None)
    if folder is None:
        raise FileNotFoundError(missing_sentence([Weights("", name, None, None, problem)]))
    return folder


def full_name(name: str) -> str:
    """The hub name of known weights that are named without their owner, in any case; any other name as it is."""
    if "/" in name or Path(name).is_dir():
        return name
    return next((known for known in LICENCES if _short(known) == name.lower()), name)


def _short(name: str) -> str:
    return name.rpartition("/")[2].lower()


def missing_sentence(missing: list[Weights]) -> str:
    """One sentence about weights that are missing, with the commands that get them and licences to accept first."""
    problems = "; ".join(f"{weights.name} {weights.problem}" for weights in missing)
    commands = " && ".join(weights.command for weights in missing if _is_hub_name(weights.name))
    if not commands:
        return f"{problems}; give another path"
    pages = [f"https://huggingface.co/{one.name}" for one in missing if one.command and one.name not in LICENCES]
    accept = f" (if {', '.join(pages)} asks for it, accept its licence there and log in: hf auth login)"
    return f"{problems}; get it with: {commands}" + (accept if pages else "")


def download_command(name: str, revision: str | None = None, only: tuple[str, ...] = ()) -> str:
    """The shell command that downloads a hub name, or the files of it that fit patterns; empty for a directory."""
    if not _is_hub_name(name):
        return ""
    chosen = " --include " + " ".join(f"'{pattern}'" for pattern in only) if only else ""
    return f"hf download {name}" + (f" --revision {revision}" if revision else "") + chosen


def incomplete(folder: Path) -> str:
    """What a directory of weights, or of a run, lacks, as the end of a sentence; empty when it is whole."""
    if (folder / "recipe.yaml").is_file():
        trained = any((folder / result).is_dir() for result in ("lora", "pipeline"))
        return "" if trained else "is a run that holds no trained model yet"
    model_index = folder / "model_index.json"
    if not model_index.is_file():
        return _lacking(folder)
    for part, kind in json.loads(model_index.read_text(encoding="utf-8")).items():
        if part.startswith("_") or not isinstance(kind, list) or not kind[0]:
            continue
        inside = folder / part
        if not inside.is_dir():
            return f"is not whole: {part}/ is missing in {folder}"
        if any((inside / name).is_file() for name in _CONFIGS_WITHOUT_WEIGHTS):
            continue
        if not (inside / "config.json").is_file():
            return f"is not whole: config.json is missing in {inside}"
        lacking = _lacking(inside, _WEIGHTS_FILE.get(kind[0]))
        if lacking:
            return lacking
    return ""


def _lacking(folder: Path, wanted: str | None = None) -> str:
    """What a folder lacks of its file of weights, under that or any name, or of the shards that an index lists."""
    for index in folder.glob("*.safetensors.index.json"):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        lacking = sorted(shard for shard in shards if not (folder / shard).is_file())
        return f"is not whole: {lacking[0]} is missing in {folder}" if lacking else ""
    files = {file.name for file in folder.glob("*.safetensors") if file.is_file()}
    if any(_SHARD.search(name) for name in files):
        return f"is not whole: the .safetensors.index.json of its shards is missing in {folder}"
    whole = bool(files) if wanted is None else wanted in files
    return "" if whole else f"holds no {wanted or '.safetensors'} in {folder}"


def _find(name: str, revision: str | None) -> tuple[Path | None, str]:
    path = Path(name)
    if path.is_dir():
        return path, ""
    if not _is_hub_name(name):
        near = get_close_matches(_short(name), [_short(known) for known in LICENCES], n=1)
        meant = f" (did you mean {full_name(near[0])}?)" if near else ""
        return None, f"is neither a directory nor a hub name such as owner/model{meant}"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True)), ""
    except (LocalEntryNotFoundError, HfHubHTTPError, FileNotFoundError):
        here = _revisions(name)
    if revision is not None and here:
        return None, f"is not here in revision '{revision}' (here: {', '.join(here)})"
    return None, "is not on this machine"


def _revisions(name: str) -> list[str]:
    """Branches and tags of a hub name that are in the local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    references = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "refs"
    return sorted(path.name for path in references.iterdir()) if references.is_dir() else []


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))
