"""`python -m benchmarks.two_nodes`: the recipe `tiny` on two nodes, which are network namespaces joined by a cable.

Trains a few steps on one node; on two, whose Ray workers score; and by two ranks of torchrun, one on each. All must
write the same metrics. Then measures how much of the scoring on the other node is hidden behind sampling, and how the
reward scales from one worker to two with twice the videos. Each node has a processor core of its own. Linux, as root;
networks and processes end with the command, however it ends.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import cpu_name
from benchmarks.nodes import CABLE, two_nodes
from benchmarks.ray_nodes import RayNodes
from benchmarks.results import RESULTS, save
from benchmarks.sandbox import MEMORY, in_sandbox
from worldr1.cli.main import DONE, FAILED
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rl.metrics import TIME_PREFIX, read_metrics

logger = logging.getLogger("benchmarks")

_CORES = ("0", "1")
_AT_ONCE = 2
_CLOSE = 1e-5
_PORT = "29400"
_ONE, _RAY, _RANKS = "one node", "rewards on both nodes", "a rank on each node"


@dataclass(frozen=True)
class Trained:
    """A run of a few steps.

    Attributes:
        seconds: of its steps.
        apart: greatest difference of a metric from the run on one node; nought is the same bits.
    """

    seconds: float
    apart: float


@dataclass(frozen=True)
class Scaling:
    """A worker's load on one node, and the same load on each of two.

    Attributes:
        videos: of a worker.
        seconds: medians until all were scored, by number of workers.
        cpu: medians of the processor seconds of a worker, likewise.
        scored_on: workers of each node when there were two.
    """

    videos: int
    seconds: tuple[float, float]
    cpu: tuple[float, float]
    scored_on: tuple[int, int]

    @property
    def efficiency(self) -> float:
        """Of the clock: 1 where two workers score twice as many videos in the same time."""
        return self.seconds[0] / self.seconds[1]

    @property
    def cpu_efficiency(self) -> float:
        """Of the processors, whatever else the machine does: 1 where a worker spends no more beside another."""
        return self.cpu[0] / self.cpu[1]


def recipe_of(steps: int, kind: str = "local") -> Recipe:
    """The recipe `tiny` for so many steps of 16 videos, two at once, and with Ray two workers."""
    content = load_recipe("tiny").model_dump()
    content["schedule"] |= {"total_steps": steps, "main_steps": 4, "dynamic_steps": 1, "groups": 2}
    content["sampling"] |= {"micro_batch": _AT_ONCE}
    content["preserve"] |= {"weight": 0.0}
    content["evaluation"] |= {"every": 0, "prompts": 4, "videos": 0}
    content["pool"] |= {"kind": kind, "batch": _AT_ONCE, "workers": [2, 2]}
    return Recipe.model_validate(content)


def apart(root: Path, other: Path) -> float:
    """The greatest difference of a metric, but for the clock's; infinite where one has what the other has not."""
    most = 0.0
    records, others = read_metrics(root / "metrics.jsonl"), read_metrics(other / "metrics.jsonl")
    if len(records) != len(others):
        return math.inf
    for one, two in zip(records, others, strict=True):
        for name in one.keys() | two.keys():
            if name.startswith(TIME_PREFIX) or one.get(name) == two.get(name):
                continue
            values = one.get(name), two.get(name)
            numbers = [value for value in values if isinstance(value, float | int)]
            most = max(most, abs(numbers[0] - numbers[1]) if len(numbers) == 2 else math.inf)
    return most


class Bench:
    """Two nodes and a folder for what they write."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._nodes, self._count = folder, two_nodes(), 0

    def train(self, steps: int) -> dict[str, Trained]:
        """By one node, by two with the rewards on both, by two with a rank of torchrun on each."""
        found = {}
        cluster = self._cluster((1, 1))
        for name in (_ONE, _RAY, _RANKS):
            root = self._folder / name.replace(" ", "-")
            recipe = root.with_suffix(".yaml")
            save_recipe(recipe_of(steps, "ray" if name == _RAY else "local"), recipe)
            words = ["worldr1.cli.main", "train", str(recipe), "--run", str(root)]
            if name == _RANKS:
                self._run([*self._torchrun(), *words], cluster, nodes=2)
            else:
                self._run(words, cluster)
            seconds = sum(row["time/total"] for row in read_metrics(root / "metrics.jsonl", "train"))
            found[name] = Trained(seconds, apart(root, self._folder / _ONE.replace(" ", "-")))
            logger.info("%s: %s", name, found[name])
        return found

    def scale(self, rounds: int) -> Scaling:
        """The reward by one worker and by two."""
        cluster = self._cluster((1, 1))
        told = json.loads(self._run(["benchmarks.weak", "--rounds", str(rounds)], cluster))
        logger.info("scaling: %s", told)
        return Scaling(told["videos"], *(tuple(told[name]) for name in ("seconds", "cpu", "scored_on")))

    def overlap(self, steps: int) -> dict[str, Any]:
        """Sampling on one node, scoring on the other."""
        cluster = self._cluster((0, 1))
        found = json.loads(self._run(["benchmarks.overlap", "--steps", str(steps)], cluster))
        logger.info("overlap: %s", found)
        return {name: value for name, value in found.items() if name not in ("commit", "machine")}

    def _cluster(self, cpus: tuple[int, int]) -> RayNodes:
        """A cluster with room for so many workers on each node, in the place of the one before."""
        for node in self._nodes:
            node.kill()
        self._count += 1
        cluster = RayNodes(self._nodes, cpus, self._folder / f"ray-{self._count}", pins=_CORES)
        cluster.start()
        return cluster

    def _torchrun(self) -> list[str]:
        return [
            *("torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", "{node}"),
            *("--master-addr", self._nodes[0].address, "--master-port", _PORT, "-m", "--"),
        ]

    def _run(self, words: Sequence[str], cluster: RayNodes, nodes: int = 1) -> str:
        """Run `python -m ...` on so many nodes; "{node}" among the words is the place of each.

        Returns:
            What the first wrote to standard output.

        Raises:
            ChildProcessError: one has failed.
        """
        environment = cluster.environment | {"GLOO_SOCKET_IFNAME": CABLE}
        running = []
        for place in range(nodes):
            told = [word.format(node=place) for word in words]
            log = self._folder / f"{words[0]}-{place}.txt"
            begun = ["taskset", "-c", _CORES[place], sys.executable, "-m", *told]
            running.append((self._nodes[place].start(begun, environment, log, log.with_suffix(".out")), log))
        for process, log in running:
            if process.wait():
                raise ChildProcessError(f"{words[0]} has failed: {log.read_text(errors='replace')[-2000:]}")
        return (self._folder / f"{words[0]}-0.out").read_text(encoding="utf-8")


def _table(content: Mapping[str, Any]) -> str:
    scaling, overlap = content["scaling"], content["overlap"]
    trained = [f"| {name} | {run['seconds']:.1f} | {run['apart']:.1g} |" for name, run in content["trained"].items()]
    lines = [
        "# The recipe tiny on two nodes\n",
        f"{content['date'][:10]}, commit {content['commit']}, {content['machine']['cpu']}; two network namespaces, a "
        f"processor core for each; load {content['machine']['load_1min']} at the end.\n",
        f"{content['steps']} steps of 16 videos:\n",
        "| trained by | seconds | greatest difference of a metric |",
        "|---|---|---|",
        *trained,
        "",
        f"The reward of {scaling['videos']} videos for each worker, medians of {content['rounds']}:\n",
        "| workers | seconds | processor seconds of a worker |",
        "|---|---|---|",
        f"| one | {scaling['seconds'][0]:.2f} | {scaling['cpu'][0]:.2f} |",
        f"| one on each node | {scaling['seconds'][1]:.2f} | {scaling['cpu'][1]:.2f} |",
        f"| efficiency | {content['efficiency']:.2f} | {content['cpu_efficiency']:.2f} |",
        "",
        f"Sampling on one node, scoring on the other ({overlap['videos']} videos, {overlap['at_once']} at once):\n",
        "| scored | sampling, s | waiting for scores, s | hidden |",
        "|---|---|---|---|",
        f"| by the trainer | {overlap['here']['sampling']:.2f} | {overlap['here']['waiting']:.2f} | 0 |",
        f"| on the other node | {overlap['worker']['sampling']:.2f} | {overlap['worker']['waiting']:.2f} | "
        f"{overlap['worker']['hidden']:.1%} |",
    ]
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_nodes", description=summary)
    parser.add_argument("--steps", type=int, default=3, help="of training, and of the overlap that are counted (3)")
    parser.add_argument("--rounds", type=int, default=5, help="in which the reward is timed (5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/results)")
    return parser.parse_args()


def _main() -> int:
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    bench = Bench(MEMORY)
    trained, scaling, overlap = bench.train(options.steps), bench.scale(options.rounds), bench.overlap(options.steps)
    found = {
        "steps": options.steps,
        "rounds": options.rounds,
        "trained": {name: asdict(run) for name, run in trained.items()},
        "scaling": asdict(scaling),
        "efficiency": scaling.efficiency,
        "cpu_efficiency": scaling.cpu_efficiency,
        "overlap": overlap,
    }
    path = save(options.out, f"{cpu_name()}-two-nodes", found, _table)
    sys.stdout.write(path.with_suffix(".md").read_text(encoding="utf-8"))
    close = trained[_RAY].apart == 0 and trained[_RANKS].apart <= _CLOSE and overlap["same_bits"]
    return DONE if close else FAILED


if __name__ == "__main__":
    sys.exit(in_sandbox(_main))
