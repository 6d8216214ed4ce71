"""Toy runs, hit by one fault after another until they end; in a file of its own: torch is loaded once, then forked.

Usage: python chaos.py FOLDER SEED FAULTS [--small-disk], where FOLDER is alone on a small disk with the flag.
Prints the faults by kind as one JSON object; fails when a run ends otherwise than an unbroken one.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import torch
from safetensors.torch import load_file
from toy import PROMPTS, Brightness, ToyPolicy, objective_of, toy_recipe

import worldr1.evaluation.report
import worldr1.rl.assemble
import worldr1.rl.base_weights
from worldr1.cli.logs import configure_logging
from worldr1.cli.main import DONE, FAILED, PREEMPTED
from worldr1.data.checksums import SUMS, verify_sums
from worldr1.recipes.settings import NoiseSettings
from worldr1.rewards.types import Sample, Scores
from worldr1.rl.batch import fixed_batch
from worldr1.rl.checkpoint import list_checkpoints, newest_intact, verify_checkpoint
from worldr1.rl.launch import resume, start
from worldr1.rl.metrics import TIME_PREFIX, read_metrics
from worldr1.rl.preemption import listening
from worldr1.rl.run import RunDirectory
from worldr1.rl.trainer import Parts

RECIPE = toy_recipe(total_steps=10)
HELD_OUT = ["camera pull left. a cup", "a cup, spinning"]
FILE_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
NO_ROOM = "no room to write"


def nothing(*_: object) -> None:
    """A fault that does not come."""


class Faulty(Brightness):
    """A reward that acts before it answers its `at`-th batch of training videos, from 0, or answers it with nan."""

    def __init__(self, at: int = -1, act: Callable[[], object] = nothing, nan: bool = False) -> None:
        super().__init__()
        self.at, self.act, self.nan = at, act, nan

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        scores = super().__call__(samples, use_3d)
        if len(samples) <= len(HELD_OUT):
            return scores
        self.at -= 1
        if self.at != -1:
            return scores
        self.act()
        if not self.nan:
            return scores
        silent = torch.full_like(scores.total, torch.nan)
        return Scores(dict.fromkeys(scores.components, silent), silent)


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one process of a run.

    Attributes:
        kind: its name.
        ends: exit codes by which the process may end if the fault came in time; negative ones are signals.
        reward: of the process.
        inside: done in the process before it trains.
        outside: done by its parent meanwhile, with its number.
        told: what the process's last words are to hold.
    """

    kind: str
    ends: tuple[int, ...] = ()
    reward: Callable[[], Brightness] = Faulty
    inside: Callable[[], object] = nothing
    outside: Callable[[int], object] = nothing
    told: str = ""


@dataclass(frozen=True)
class Span:
    """How long an unbroken run is."""

    seconds: float
    file_events: int


def train(root: Path, fault: Fault) -> int:
    """What `worldr1 train` does with a toy run, in a process of its own. Returns its exit code."""
    policy = ToyPolicy()
    parts = Parts(policy, objective_of(RECIPE, policy), fault.reward(), PROMPTS, HELD_OUT)
    worldr1.rl.assemble.assemble = lambda *_: parts  # type: ignore[assignment]
    fault.inside()
    try:
        with listening() as stopping:
            begun = RunDirectory(root).recipe.is_file()
            return PREEMPTED if (resume if begun else start)(RECIPE, root, stopping) else DONE
    except (ValueError, OSError) as error:
        sys.stderr.write(f"worldr1: {error}\n")
        return FAILED


@dataclass(frozen=True)
class Child:
    """A process that trains, and the pipe that holds what it writes to standard error."""

    number: int
    words: int

    def end(self) -> tuple[int, str]:
        """Its exit code, or the negative signal that killed it, and its words."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        with os.fdopen(self.words, errors="replace") as words:
            return code, words.read()


def forked(root: Path, fault: Fault, environment: dict[str, str] | None = None) -> Child:
    """A new process that trains."""
    words, ours = os.pipe()
    number = os.fork()
    if number:
        os.close(ours)
        return Child(number, words)
    code = FAILED
    try:
        os.dup2(ours, 2)
        os.environ |= environment or {}
        configure_logging()
        code = train(root, fault)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def file_events(root: Path, act: Callable[[int], object]) -> None:
    """From now on, tell `act` the number of each thing that this process does to files of the run."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in FILE_EVENTS and str(arguments[0]).startswith(str(root)):
            seen += 1
            act(seen)

    sys.addaudithook(hook)


class Chaos:
    """Runs in a folder, and the faults that they have met."""

    def __init__(self, folder: Path, seed: int, small_disk: bool) -> None:
        self.folder, self.small_disk = folder, small_disk
        self.random = random.Random(seed)
        self.met: Counter[str] = Counter()
        self.processes = 0
        self.whole = folder / "whole"
        self.span = self._unbroken()

    def run(self, root: Path, faults: int) -> None:
        """One run from its start to its end, hit until there have been so many faults in all."""
        damaged: set[Path] = set()
        while True:
            fault = self._draw(root) if self.met.total() < faults else Fault("none")
            left = unfinished(root)
            code, words = self._attempt(root, fault)
            if code == DONE:
                break
            self._check(root, fault, code, words, damaged, left)
            self.met[fault.kind] += 1
            if self.met.total() < faults and self.random.random() < 0.5:
                damaged |= self._damage(root)
        assert outcome(root) == outcome(self.whole), f"{root} differs from the unbroken run"
        shutil.rmtree(root)

    def two_processes(self) -> None:
        """One of two processes hears a signal: both stop after the same step, and go on to the same metrics."""
        whole, cut = self.folder / "two", self.folder / "two-cut"
        self._together(whole, [Fault("none")] * 2, DONE)
        one = Fault("one of two preempted", reward=lambda: Faulty(4, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        self._together(cut, [Fault("none"), one], PREEMPTED)
        assert newest_intact(cut / "checkpoints") == cut / "checkpoints" / "step-00000005"
        self._together(cut, [Fault("none")] * 2, DONE)
        assert outcome(cut) == outcome(whole)
        self.met[one.kind] += 1

    def _unbroken(self) -> Span:
        told = self.folder / "events.txt"
        counting = Fault("none", inside=lambda: file_events(self.whole, lambda seen: told.write_text(str(seen))))
        began = time.monotonic()
        code, words = self._attempt(self.whole, counting)
        assert code == DONE, words
        return Span(time.monotonic() - began, int(told.read_text()))

    def _attempt(self, root: Path, fault: Fault) -> tuple[int, str]:
        self.processes += 1
        child = forked(root, fault)
        fault.outside(child.number)
        return child.end()

    def _together(self, root: Path, faults: Sequence[Fault], code: int) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        shared = {"WORLD_SIZE": str(len(faults)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        children = []
        for rank, fault in enumerate(faults):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "TORCHELASTIC_RUN_ID": "chaos"}
            children.append(forked(root, fault, shared | own))
        for child in children:
            got, words = child.end()
            assert got == code, words

    def _draw(self, root: Path) -> Fault:
        draw = self.random
        at, moment = draw.randrange(RECIPE.schedule.total_steps), draw.uniform(0, self.span.seconds)
        event = draw.randrange(1, self.span.file_events + 1)

        def kill() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        def kill_at_event() -> None:
            file_events(root, lambda seen: kill() if seen == event else None)

        def kill_later(child: int) -> None:
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)

        def preempt(number: int) -> Fault:
            sent = signal.Signals(number)
            return Fault(f"{sent.name}", (PREEMPTED,), lambda: Faulty(at, lambda: os.kill(os.getpid(), sent)))

        def fail() -> None:
            raise RuntimeError("the reward broke down")

        largest = draw.randrange(int(2 ** draw.uniform(0, 14)))
        faults = [
            Fault("SIGKILL between two file operations", (-signal.SIGKILL,), inside=kill_at_event),
            Fault("SIGKILL by the clock", (-signal.SIGKILL,), outside=kill_later),
            preempt(signal.SIGTERM),
            preempt(signal.SIGUSR1),
            Fault("nan", (FAILED,), lambda: Faulty(at, nan=True), told="videos has a reward"),
            Fault("reward raises", (FAILED,), lambda: Faulty(at, fail), told="the reward broke down"),
            Fault("file too large", (FAILED,), inside=lambda: limit_files(largest), told=NO_ROOM),
        ]
        if self.small_disk:
            free = draw.randrange(12) * 4096
            full = Fault("disk full", (FAILED,), inside=lambda: fill_disk(self.folder, free), told=NO_ROOM)
            faults.append(full)
        return draw.choice(faults)

    def _check(self, root: Path, fault: Fault, code: int, words: str, damaged: set[Path], left: set[Path]) -> None:
        """What must hold after every fault: what was wrong is told, all else is whole."""
        assert code in fault.ends, f"{fault.kind} ended with {code}: {words}"
        assert fault.told in words, f"{fault.kind}: {words}"
        (self.folder / "ballast").unlink(missing_ok=True)
        checkpoints = list_checkpoints(root / "checkpoints")
        for path in checkpoints:
            if path not in damaged:
                verify_checkpoint(path)
        if code < 0:
            return
        assert unfinished(root) <= left, f"{fault.kind} left something half written"
        if fault.told == NO_ROOM:
            assert "Traceback" not in words, words
            assert words.splitlines()[-1].startswith("worldr1: ")
        metrics = RunDirectory(root).metrics
        if metrics.is_file():
            assert metrics.read_bytes()[-1:] in (b"", b"\n"), f"{fault.kind} left half a line"
        if code == PREEMPTED:
            done = len(read_metrics(metrics, "train"))
            assert checkpoints[-1].name == f"step-{done:08d}", "a step was lost"

    def _damage(self, root: Path) -> set[Path]:
        """Spoil the preserved samples, or the newest intact checkpoint; gives that, unless it is as good as before."""
        samples = root / "preserved"
        if self.random.random() < 0.4 and (samples / SUMS).is_file() and intact(samples, verify_samples):
            self.met[f"samples: {self._spoil(self.random.choice(sorted(samples.iterdir())))}"] += 1
            return set()
        folder = root / "checkpoints"
        newest = newest_intact(folder)
        if newest is None:
            return set()
        older = [path for path in list_checkpoints(folder) if path < newest and intact(path)]
        file = self.random.choice(sorted(newest.iterdir()))
        self.met[f"checkpoint: {self._spoil(file)}"] += 1
        if not file.exists() and file.name == "SHA256SUMS":
            assert newest_intact(folder) == newest
            return set()
        if older:
            assert newest_intact(folder) == older[-1]
            return {newest}
        code, words = self._attempt(root, Fault("none"))
        assert (code, "no checkpoint is intact" in words) == (FAILED, True), words
        shutil.rmtree(folder)
        return set()

    def _spoil(self, file: Path) -> str:
        kind = self.random.choice(["truncated", "byte flipped", "missing"])
        content = bytearray(file.read_bytes())
        place = self.random.randrange(len(content))
        if kind == "missing":
            file.unlink()
        elif kind == "truncated":
            file.write_bytes(content[:place])
        else:
            content[place] ^= self.random.randrange(1, 256)
            file.write_bytes(content)
        return kind


def verify_samples(path: Path) -> None:
    """Compare preserved samples with their checksum."""
    verify_sums(path, ("latents.safetensors",))


def intact(path: Path, verify: Callable[[Path], None] = verify_checkpoint) -> bool:
    """Whether a checkpoint, or what `verify` reads, is as it was written."""
    try:
        verify(path)
    except (ValueError, OSError):
        return False
    return True


def unfinished(root: Path) -> set[Path]:
    """What lies beside its place, not yet renamed."""
    return set(root.rglob(".*.new"))


def outcome(root: Path) -> tuple[list[dict[str, object]], dict[str, list[float]]]:
    """Metrics but for the clock's, and weights."""
    records = read_metrics(RunDirectory(root).metrics)
    metrics = [{key: value for key, value in one.items() if not key.startswith(TIME_PREFIX)} for one in records]
    return metrics, {name: one.tolist() for name, one in load_file(RunDirectory(root).lora / "toy.safetensors").items()}


def limit_files(largest: int) -> None:
    """Let this process write no file beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


def fill_disk(folder: Path, free: int) -> None:
    """Leave so many bytes of the folder's disk."""
    left = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(bytes(max(0, left - free)))


def load_what_is_slow() -> None:
    """Before forking, so that no fork has to; without OpenMP, whose threads allow no fork."""
    torch.set_num_threads(1)
    for name in ("av", "torch._dynamo", "torch.utils.tensorboard"):
        importlib.import_module(name)
    numba.config.THREADING_LAYER = "workqueue"
    fixed_batch(HELD_OUT, 5, (4, 2, 2, 2), NoiseSettings(strength=0.5), seed=0)


def main() -> None:
    """As the command line says."""
    folder, seed, faults = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    load_what_is_slow()
    worldr1.rl.base_weights.store_base = nothing  # type: ignore[assignment]
    worldr1.rl.base_weights.require_same_base = nothing  # type: ignore[assignment]
    worldr1.evaluation.report.write_report = nothing  # type: ignore[assignment]
    chaos = Chaos(folder, seed, "--small-disk" in sys.argv)
    runs = 0
    while chaos.met.total() < faults:
        chaos.run(folder / f"run-{runs}", faults)
        runs += 1
    chaos.two_processes()
    used = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = round(sum(one.ru_utime + one.ru_stime for one in used), 1)
    told = {"faults": chaos.met, "runs": runs, "processes": chaos.processes, "cpu_seconds": seconds}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
