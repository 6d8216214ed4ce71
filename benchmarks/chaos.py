"""`python -m benchmarks.chaos`: a training run on a Ray cluster of two nodes, hit by hundreds of faults until it ends.

The head and the trainer live in one network namespace, the second node in another. Trainer, workers and raylets are
killed and frozen, the network is cut, checkpoints are spoilt, the disk fills up, the reward answers nan, late, twice,
out of order or not at all. In the end metrics and weights must be those of a run without Ray and faults, bit for bit,
and every video must have its own scores. Linux, as root.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos_machines import Machines
from benchmarks.chaos_plan import KINDS, REWARD, lives
from benchmarks.chaos_reward import Orders, install, read_ledger
from benchmarks.chaos_runs import (
    NO_ROOM,
    SILENT,
    TIMEOUT,
    Intact,
    Trainer,
    begin,
    clear,
    differences,
    load_what_is_slow,
    recipe_of,
)
from benchmarks.machine import cpu_name
from benchmarks.nodes import send, two_nodes
from benchmarks.ray_nodes import RayNodes
from benchmarks.results import RESULTS, save
from benchmarks.sandbox import MEMORY, in_sandbox
from worldr1.cli.main import DONE, FAILED, PREEMPTED
from worldr1.recipes import save_recipe

logger = logging.getLogger("benchmarks")

_PATIENCE = 180.0
"""Seconds in which a trainer must end after a fault that ends it, and a run its last steps between two signs."""
_STEP = 20.0
"""Seconds in which a step should be saved."""
_ANY = range(-64, 256)
_SILENCE = "reward: nan for a whole step"
_DISK = 640 * 1024**2
_RAY = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "8",
}
"""So that Ray gives a lost node up in seconds, not in a minute."""


@dataclass(frozen=True)
class End:
    """What ends a trainer.

    Attributes:
        do: the fault.
        codes: exit codes, or negative signals, by which the trainer then ends.
        told: what its words are to hold.
        mended: whether the cluster is cared for meanwhile.
    """

    do: Callable[[Trainer], object]
    codes: Collection[int]
    told: str = ""
    mended: bool = True


class Chaos:
    """One run after another, until all faults have been.

    Attributes:
        met: faults that came, by kind, but those of the reward, which `count` adds.
        trainers, runs: how many were started, and how many came to their end.
        stops: last words of trainers that ended though no fault of `ENDS` had come, such as when the head was gone.
    """

    def __init__(self, folder: Path, cluster: RayNodes, steps: int, seed: int) -> None:
        self.met: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.trainers = self.runs = 0
        self._folder, self._cluster = folder, cluster
        self._draw = random.Random(seed)
        self._machines = Machines(cluster, self._draw)
        self._orders = Orders(folder / "orders")
        self._orders.folder.mkdir()
        self._given = 0
        self._disk = MEMORY / "disk"
        self._disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(self._disk)], check=True)
        for kind in ("local", "ray"):
            save_recipe(recipe_of(kind, steps), self._recipe(kind))
        self._ballast = self._disk / "ballast"
        self._ends = {
            "SIGKILL of the trainer": End(lambda one: one.kill(), {-signal.SIGKILL}),
            "SIGTERM to the trainer": End(lambda one: send(one.number, signal.SIGTERM), {PREEMPTED, -signal.SIGTERM}),
            "SIGKILL of the head's store and raylet": End(lambda _: self._machines.kill_head(), _ANY, mended=False),
            "disk full": End(lambda _: self._fill_disk(), {FAILED}, NO_ROOM),
            _SILENCE: End(lambda _: self._order(_SILENCE), {FAILED}, SILENT),
        }
        self._next_run()

    def unbroken(self) -> None:
        """The run to compare with, scored in its own process."""
        trainer = begin(
            self._recipe("local"),
            self._folder / "whole",
            self._folder / "whole.txt",
            partial(install, self._orders, self._ledger("local"), 0.0),
        )
        while not trainer.ended():
            time.sleep(0.2)
        if trainer.code != DONE:
            raise AssertionError(trainer.words.read_text())

    def run(self, faults: int, seed: int) -> None:
        """Plan lives and live through them, until so many faults have been; then go on to the end of the run.

        Raises:
            AssertionError: what should be whole is not, or a run that has ended differs from the unbroken one.
        """
        left: deque[str] = deque()
        spoil: deque[str] = deque()
        planned = deque(lives(faults, seed))
        while planned:
            life = planned.popleft()
            logger.info("%d faults so far, %d lives to come", self.count().total(), len(planned) + 1)
            left.extend(life.during)
            trainer = self._start()
            while not self._befall(trainer, left):
                self._bury(trainer)
                trainer = self._start()
            self._end(trainer, life.end)
            spoil.extend(life.after)
            while spoil and self._intact.damage(spoil[0], self._draw):
                self.met[spoil.popleft()] += 1
            if not planned and (short := faults - self.count().total()) > 0:
                planned.extend(lives(short, seed + self.trainers))
        while not self._to_the_end(self._start()):
            logger.info("once more to the end")

    def count(self) -> Counter[str]:
        """Faults by kind, so far."""
        return self.met + Counter({kind: self._orders.taken(kind) for kind in REWARD})

    def scores(self) -> dict[str, int]:
        """Counts of videos, and of scores that were lost, swapped or of no known video: three noughts."""
        true, told = read_ledger(self._ledger("local")), read_ledger(self._ledger("ray"))
        return {
            "videos": len(true),
            "scored": self._ledger("ray").read_text(encoding="utf-8").count("\n"),
            "with a missing component, by the reward itself": sum("nan" in one.values() for one in true.values()),
            "lost": len(true.keys() - told.keys()),
            "swapped": sum(told[video] != true[video] for video in told.keys() & true.keys()),
            "unknown": len(told.keys() - true.keys()),
        }

    def _next_run(self) -> None:
        self._root = self._disk / f"run-{self.runs}"
        self._intact = Intact(self._root)

    def _start(self) -> Trainer:
        while not self._machines.care(None):
            time.sleep(0.2)
        self._intact.begin()
        self.trainers += 1
        words = self._folder / f"trainer-{self.trainers}.txt"
        return begin(self._recipe("ray"), self._root, words, self._prepare)

    def _prepare(self) -> None:
        self._cluster.nodes[0].enter()
        os.environ.update(self._cluster.environment)
        install(self._orders, self._ledger("ray"), TIMEOUT + 3.0)

    def _befall(self, trainer: Trainer, left: deque[str]) -> bool:
        """Do to the cluster and the reward what is left to do; False when the trainer ended before."""
        while left:
            if not self._pause(trainer, self._draw.uniform(0.1, 1.0)):
                return False
            if left[0] in REWARD:
                self._order(left.popleft())
            elif self._machines.befall(left[0]):
                self.met[left.popleft()] += 1
            else:
                left.rotate(-1)
        return self._progress(trainer, self._draw.randrange(3)) and self._pause(trainer, self._draw.uniform(0.0, 2.0))

    def _progress(self, trainer: Trainer, steps: int) -> bool:
        """Let a trainer save so many more steps, as far as it does soon; False when it has ended."""
        until, seen = time.monotonic() + _STEP * steps, self._intact.newest()
        while time.monotonic() < until and self._intact.newest() < seen + steps:
            if not self._pause(trainer, 0.2):
                return False
        return not trainer.ended()

    def _end(self, trainer: Trainer, kind: str) -> None:
        """Bring a trainer to its end; it may have come there by itself in that moment."""
        end = self._ends[kind]
        end.do(trainer)
        until = time.monotonic() + _PATIENCE
        while not trainer.ended():
            if time.monotonic() > until:
                trainer.kill()
                raise AssertionError(f"{kind}: the trainer went on for {_PATIENCE:.0f} s: {_last(trainer)}")
            if end.mended:
                self._machines.care(trainer.number)
            time.sleep(0.1)
        self._ballast.unlink(missing_ok=True)
        came = trainer.code not in (DONE, None) and trainer.code in end.codes and end.told in _words(trainer)
        self.met[kind] += came
        self._bury(trainer, expected=came)

    def _bury(self, trainer: Trainer, expected: bool = False) -> bool:
        """Look at what a trainer has left; True where it is the end of a run, which then was that of the unbroken."""
        self._intact.check(trainer)
        if trainer.code != DONE:
            if not expected:
                logger.info("trainer %d ended with %s: %s", self.trainers, trainer.code, _last(trainer))
                self.stops[_last(trainer)] += 1
            return False
        if found := differences(self._root, self._folder / "whole"):
            raise AssertionError(f"run {self.runs} differs from the unbroken run: {'; '.join(found[:5])}")
        clear(self._root)
        self.runs += 1
        self._next_run()
        return True

    def _to_the_end(self, trainer: Trainer) -> bool:
        while not trainer.ended():
            self._pause(trainer, 1.0)
        return self._bury(trainer)

    def _pause(self, trainer: Trainer, seconds: float) -> bool:
        """Let time pass, and care for the cluster; False when the trainer has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not trainer.ended():
            self._machines.care(trainer.number)
            time.sleep(0.1)
        return not trainer.ended()

    def _order(self, kind: str) -> None:
        self._given += 1
        self._orders.give(kind, self._given)

    def _fill_disk(self) -> None:
        left = shutil.disk_usage(self._disk).free - self._draw.randrange(24) * 4096
        self._ballast.write_bytes(bytes(max(0, left)))

    def _recipe(self, kind: str) -> Path:
        return self._folder / f"{kind}.yaml"

    def _ledger(self, kind: str) -> Path:
        return self._folder / f"{kind}.jsonl"


def _words(trainer: Trainer) -> str:
    return trainer.words.read_text(errors="replace")


def _last(trainer: Trainer) -> str:
    """What a trainer said last, or its exit code where it was cut off."""
    lines = [line for line in _words(trainer).splitlines() if line.startswith("worldr1: ")]
    return lines[-1][:200] if lines else f"exit code {trainer.code}"


def _table(content: Mapping[str, Any]) -> str:
    faults, scores, stops = content["faults"], content["scores"], content["stops"]
    lines = [
        f"# {sum(faults.values())} faults on a Ray cluster of two nodes\n",
        f"{content['date'][:10]}, commit {content['commit']}, {content['machine']['cpu']}, seed {content['seed']}, "
        f"{content['seconds']} s. {content['trainers']} trainers, {content['runs']} whole runs of {content['steps']} "
        "steps; metrics and weights are those of the run without faults, bit for bit.\n",
        *_rows("fault", faults),
        *_rows("scores", scores),
        *(_rows("ends that no fault was to bring; the trainer was started again", stops) if stops else ()),
    ]
    return "\n".join(lines) + "\n"


def _rows(name: str, counted: Mapping[str, int]) -> list[str]:
    return [f"| {name} | count |", "|---|---|", *(f"| {kind} | {number} |" for kind, number in counted.items()), ""]


def _arguments() -> argparse.Namespace:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=summary)
    parser.add_argument("--faults", type=int, default=220, help="at least so many (220)")
    parser.add_argument("--steps", type=int, default=30, help="of a run (30)")
    parser.add_argument("--seed", type=int, default=0, help="of faults, their order and moments (0)")
    parser.add_argument("--logs", type=Path, help="new folder, of a short path, for what is said (none is kept)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/results)")
    return parser.parse_args()


def _main() -> int:
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    load_what_is_slow()
    began = time.monotonic()
    folder = options.logs or MEMORY / "logs"
    folder.mkdir(parents=True)
    cluster = RayNodes(two_nodes(), (1, 2), folder / "ray", _RAY)
    chaos = Chaos(folder, cluster, options.steps, options.seed)
    chaos.unbroken()
    logger.info("the run without faults took %.0f s", time.monotonic() - began)
    cluster.start()
    chaos.run(options.faults, options.seed)
    scores, faults = chaos.scores(), chaos.count()
    found = {
        "seed": options.seed,
        "seconds": round(time.monotonic() - began),
        "steps": options.steps,
        "runs": chaos.runs,
        "trainers": chaos.trainers,
        "faults": {kind: faults[kind] for kind in KINDS},
        "scores": scores,
        "stops": dict(chaos.stops),
    }
    path = save(options.out, f"{cpu_name()}-chaos", found, _table)
    sys.stdout.write(path.with_suffix(".md").read_text(encoding="utf-8"))
    return FAILED if any(scores[kind] for kind in ("lost", "swapped", "unknown")) else DONE


if __name__ == "__main__":
    sys.exit(in_sandbox(_main))
