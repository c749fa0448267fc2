"""Trains one stage: steps, validation, checkpoints, and going on exactly where a killed run was."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from react_ros.training import checkpoints
from react_ros.training.checkpoints import Lines
from react_ros.training.config import StagePlan
from react_ros.training.data import Batch, Clips, Order, windows
from react_ros.training.optimisation import RunningMean, adamw, rate_at
from react_ros.training.processes import World
from react_ros.training.training_stage import Task

PATIENCE = 10
"""Steps in a row without a finite loss after which a stage stops."""

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Watcher(Protocol):
    """Who is told how training goes."""

    def say(self, sentence: str) -> None:
        """Something that a person should know."""
        ...

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        """A step is done."""
        ...


@dataclass(slots=True)
class State:
    """Where a stage is: all numbers that a checkpoint keeps beside the tensors."""

    step: int = 0
    """Steps done."""
    validated: int = 0
    """After how many steps it was last validated."""
    best: float | None = None
    best_step: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""
    best_figures: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    """Steps whose loss or gradient was not finite."""
    in_a_row: int = 0
    """Steps without a finite loss since the last good one."""
    seconds: float = 0.0
    scaler: dict[str, Any] = field(default_factory=dict)
    previous: str = ""
    """Digest of the earlier stages' weights."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage ended with."""

    steps: int
    chosen_step: int
    """The step whose weights were taken."""
    skipped: int
    seconds: float
    figures: dict[str, float]
    """Of the last validation of the chosen weights, and the task's own."""


class StageRun:
    """One stage in a folder of its own: losses.jsonl, validation.jsonl, checkpoints/, best.safetensors.

    What is random is seeded anew in each step from (seed, stage, step, process), the data order and the learning rate
    are functions of the step, so weights, optimizer and a few counters are all there is to keep.
    """

    def __init__(
        self,
        task: Task,
        plan: StagePlan,
        training: Clips,
        validation: Clips | None,
        folder: Path,
        world: World,
        watcher: Watcher,
        *,
        seed: int,
        steps_limit: int = 0,
        previous: str = "",
    ) -> None:
        """task: fresh. steps_limit: the longest the stage may be; 0: as its epochs say.

        Raises ValueError where the batch cannot be shared among the processes, or where the folder was begun on other
        weights of an earlier stage.
        """
        how = plan.training
        self._task, self._how, self._folder, self._world, self._watcher = task, how, folder, world, watcher
        self._training, self._validation, self._seed = training, validation, seed
        order = Order(training.lengths, batch=how.batch, crop=how.crop, crops=how.crops, seed=seed)
        if order.batch % world.size:
            raise ValueError(
                f"a batch of {order.batch} crops cannot be shared among {world.size} processes: "
                f"stages.{task.stage}.batch must be a multiple of {world.size}, and no more than an epoch has"
            )
        self._order = order
        whole = order.steps * how.epochs
        self._steps = min(whole, steps_limit) if steps_limit else whole
        self._losses, self._validations = Lines(folder / "losses.jsonl"), Lines(folder / "validation.jsonl")
        self._cuda = world.device.type == "cuda"
        self._board: Any = None

        kept = checkpoints.newest(folder / "checkpoints")
        task.to(world.device)
        if kept is None:
            task.prepare(training)
            task.to(world.device)
        self._optimizer = adamw(task, how.optimizer)
        self._mean = RunningMean(task, how.ema)
        self._scaler = torch.amp.GradScaler(world.device.type, enabled=self._cuda and how.precision == "fp16")
        self._state = State(previous=previous)
        self._saved = (-1, -1)
        if kept is not None:
            self._restore(*kept)
            if self._state.previous != previous:
                raise ValueError(
                    f"{folder} was begun on other weights of the stages before it: remove it to train it anew"
                )
        self._loss = self._wrapped()

    def run(self) -> Outcome:
        """Train to the end. Raises KeyboardInterrupt, with a checkpoint written, where somebody wants it to stop.

        Raises ValueError, in one sentence, where the loss stays without a finite value.
        """
        s = self._state
        if self._world.first:
            self._losses.back_to(s.step)
            self._validations.back_to(s.validated)
            if s.step:
                self._watcher.say(f"{self._task.stage}: goes on at step {s.step} of {self._steps}")
        if not self._cuda and (self._how.precision != "fp32" or self._how.compile):
            self._watcher.say(f"{self._task.stage}: on a CPU precision is fp32, and nothing is compiled")
        if self._validation is None:
            self._watcher.say(f"{self._task.stage}: without a val split there is no validation; the last step is taken")
        with ExitStack() as stack:
            stop = stack.enter_context(_asked_to_stop())
            self._board = self._open_board(stack)
            before = time.monotonic()
            while True:
                at_end = s.step == self._steps
                if s.validated < s.step and (at_end or s.step % self._order.steps == 0):
                    stopped = self._validate(stop)
                elif at_end:
                    break
                else:
                    stopped = self._step(stop)
                s.seconds += time.monotonic() - before
                before = time.monotonic()
                if stopped or s.step % self._how.checkpoint_every == 0:
                    self._save()
                if stopped:
                    raise KeyboardInterrupt
            self._save()
        return self._finish()

    # A step --------------------------------------------------------------------------------------------------------

    def _step(self, stop: threading.Event) -> bool:
        """One step; whether somebody, in whichever process, wants it to stop."""
        s, how, world = self._state, self._how, self._world
        each = self._order.batch // world.size
        mine = slice(world.rank * each, (world.rank + 1) * each)
        clips, starts = self._order.at(s.step)
        batch = self._training.batch(clips[mine], starts[mine], how.crop).to(world.device)
        rate = rate_at(how.optimizer, s.step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._task.train()
        before = {name: b.clone() for name, b in self._buffers().items()}
        rng = self._seeded("step", s.step, world.rank)
        with self._autocast():
            losses = self._loss(batch, s.step / self._steps, rng)
        self._scaler.scale(losses["loss"]).backward()
        self._scaler.unscale_(self._optimizer)
        trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(trained, how.clip_norm or math.inf)
        names = sorted(losses)
        told = torch.stack([losses[n].detach().double() for n in names] + [norm.double()])
        *values, norm_value, wants = world.mean(torch.cat([told, told.new_tensor([float(stop.is_set())])])).tolist()
        figures = dict(zip(names, values, strict=True))

        # The norm is the same in every process: gradients are averaged before it is taken.
        if math.isfinite(figures["loss"]) and math.isfinite(norm_value):
            self._scaler.step(self._optimizer)
            self._mean.update(s.step)
            s.in_a_row = 0
        else:
            s.skipped += 1
            # fp16: a gradient that does not fit only lowers the scale.
            overflow = math.isfinite(figures["loss"]) and self._scaler.is_enabled() and self._scaler.get_scale() > 1.0
            s.in_a_row += not overflow
            if not math.isfinite(figures["loss"]):
                for name, buffer in self._buffers().items():
                    if name in before:
                        buffer.copy_(before[name])
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        s.step += 1
        self._tell("step", s.step, {**figures, "rate": rate, "norm": norm_value})
        if world.first:
            self._losses.add({"step": s.step, **figures, "rate": rate, "norm": norm_value})
            self._watcher.step(self._task.stage, s.step, self._steps, figures["loss"])
        if s.in_a_row >= PATIENCE:
            if world.first:
                self._losses.write()
            raise ValueError(
                f"{self._task.stage}: the loss was not finite {PATIENCE} steps in a row, up to step {s.step}: "
                f"a lower stages.{self._task.stage}.optimizer.lr may help, or fp32 where precision is lower"
            )
        return wants > 0.0

    def _wrapped(self) -> nn.Module:
        loss: nn.Module = _Loss(self._task)
        if self._world.size > 1:
            # Which parameters a step uses is the task's own business.
            ids = [self._world.device.index] if self._cuda else None
            loss = DistributedDataParallel(loss, device_ids=ids, find_unused_parameters=True)
        if self._cuda and self._how.compile:
            loss.compile()
        return loss

    def _autocast(self) -> torch.autocast:
        lower = _PRECISIONS.get(self._how.precision)
        return torch.autocast(
            self._world.device.type, lower if self._cuda else None, enabled=self._cuda and lower is not None
        )

    def _seeded(self, *purpose: str | int) -> torch.Generator:
        """Seeds every generator there is from the run's seed and a purpose; returns one on the device."""
        key = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in (self._task.stage, *purpose)]
        return _seed_all(self._seed, key, self._world.device)

    def _buffers(self) -> dict[str, Tensor]:
        """The persistent ones: codebooks, statistics."""
        parameters = dict(self._task.named_parameters())
        state = self._task.state_dict(keep_vars=True)
        return {n: t for n, t in state.items() if isinstance(t, Tensor) and n not in parameters}

    # Validation ----------------------------------------------------------------------------------------------------

    def _validate(self, stop: threading.Event) -> bool:
        """Validate the running mean after an epoch; whether somebody wants it to stop, and it was given up for that."""
        s, world = self._state, self._world
        if self._validation is None:
            s.validated = s.step
            return False
        sums: dict[str, float] = {}
        frames = 0
        self._task.eval()
        world.share(self._buffers().values())
        batches = windows(self._validation.lengths, self._how.crop, self._how.batch)
        if self._how.validate:
            batches = batches[:: max(-(-len(batches) // self._how.validate), 1)]
        with self._mean.applied():
            with torch.no_grad(), self._autocast():
                for number, (clips, starts) in enumerate(batches):
                    if stop.is_set():
                        break
                    if number % world.size != world.rank:
                        continue
                    batch = self._validation.batch(clips, starts, self._how.crop)
                    count = int(batch.valid.sum())
                    figures = self._task.measure(batch.to(world.device), self._seeded("validation", number))
                    for name, value in figures.items():
                        sums[name] = sums.get(name, 0.0) + count * float(value)
                    frames += count
            everybody = world.gather((stop.is_set(), frames, sums))
            if any(stopped for stopped, _, _ in everybody):
                return True
            frames = sum(count for _, count, _ in everybody)
            names = sorted({name for _, _, found in everybody for name in found})
            s.figures = {n: sum(found.get(n, 0.0) for _, _, found in everybody) / frames for n in names}
            judged = self._task.judged_by
            if judged not in s.figures:
                raise ValueError(f"{self._task.stage} is judged by {judged!r}, but it measures {', '.join(names)}")
            if math.isfinite(s.figures[judged]) and (s.best is None or s.figures[judged] < s.best):
                s.best, s.best_step, s.best_figures = s.figures[judged], s.step, s.figures
                if world.first:
                    checkpoints.save_tensors(self._folder / "best.safetensors", self._task.state_dict())
        s.validated = s.step
        self._tell("validation", s.step, s.figures)
        if world.first:
            self._validations.add({"step": s.step, **s.figures})
            self._losses.write()
            self._validations.write()
            epoch = f"epoch {-(-s.step // self._order.steps)} of {-(-self._steps // self._order.steps)}"
            told = ", ".join(f"{name} {value:.4g}" for name, value in s.figures.items())
            self._watcher.say(f"{self._task.stage}: {epoch}, validation: {told}")
        return False

    def _finish(self) -> Outcome:
        """The task holds the chosen weights afterwards, and finished.safetensors as well."""
        s, task = self._state, self._task
        take_best = self._how.export == "best" and s.best is not None
        if take_best:
            self._world.wait()  # until it is written
            chosen = checkpoints.load_tensors(self._folder / "best.safetensors")
        else:
            with self._mean.applied():
                chosen = {name: tensor.clone() for name, tensor in task.state_dict().items()}
        task.load_state_dict(chosen)
        figures = dict(s.best_figures if take_best else s.figures)
        if self._validation is not None:
            task.eval()
            with torch.no_grad():
                figures.update(task.figures(self._validation, self._seeded("figures")))
        if self._world.first:
            checkpoints.save_tensors(self._folder / "finished.safetensors", task.state_dict())
        return Outcome(s.step, s.best_step if take_best else s.step, s.skipped, round(s.seconds, 1), figures)

    # What is kept --------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        s = self._state
        if not self._world.first or self._saved == (s.step, s.validated):
            return
        self._saved = (s.step, s.validated)
        s.scaler = self._scaler.state_dict()
        self._losses.write()
        self._validations.write()
        tensors = {f"task.{name}": tensor for name, tensor in self._task.state_dict().items()}
        tensors |= {f"mean.{name}": tensor for name, tensor in self._mean.tensors.items()}
        for name, parameter in self._task.named_parameters():
            for what, tensor in self._optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{what}.{name}"] = tensor
        # After a step, and again after its validation: two names, so that neither has to make way for the other.
        name = f"step-{s.step:09d}{'-validated' if s.validated == s.step else ''}"
        checkpoints.save(self._folder / "checkpoints" / name, tensors, asdict(s), self._how.keep)

    def _restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        try:
            self._state = State(**numbers)
            of = {kind: _under(tensors, kind) for kind in ("task", "mean", "adam")}
            self._task.load_state_dict(of["task"])
            with torch.no_grad():
                for name, tensor in self._mean.tensors.items():
                    tensor.copy_(of["mean"][name])
                parameters = dict(self._task.named_parameters())
                for whole, tensor in of["adam"].items():
                    what, _, name = whole.partition(".")
                    parameter = parameters[name]
                    # In the parameter's own memory layout, as the optimizer would have it.
                    own = torch.zeros_like(parameter if tensor.ndim else tensor, device=parameter.device)
                    self._optimizer.state[parameter][what] = own.copy_(tensor)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(
                f"{self._folder} holds checkpoints of another version of this system: "
                f"remove it to train the stage anew ({' '.join(str(error).split())[:200]})"
            ) from None
        if self._scaler.is_enabled() and self._state.scaler:
            self._scaler.load_state_dict(self._state.scaler)

    def _open_board(self, stack: ExitStack) -> Any:
        if not self._world.first:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._watcher.say("without the package tensorboard there are no curves; the losses are in losses.jsonl")
            return None
        folder = self._folder.parent / "tensorboard" / self._folder.name
        board = SummaryWriter(str(folder), purge_step=self._state.step + 1)
        stack.callback(board.close)
        return board

    def _tell(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)


class _Loss(nn.Module):
    """The loss as a forward pass, which is what torch can distribute and compile."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        return self.task.loss(batch, progress, rng)


def seed_for(seed: int, stage: str, device: torch.device) -> None:
    """Seed all generators for a task's first weights."""
    _seed_all(seed, [zlib.crc32(stage.encode()), zlib.crc32(b"weights")], device)


def _seed_all(seed: int, key: Sequence[int], device: torch.device) -> torch.Generator:
    number = int(np.random.SeedSequence(seed, spawn_key=tuple(key)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number % 2**32)
    return torch.Generator(device).manual_seed(number)


def _under(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {name.partition(".")[2]: t for name, t in tensors.items() if name.partition(".")[0] == kind}


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Is set by the first Ctrl-C or SIGTERM, so that a step is done whole; the second one does what it always does."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _frame: object) -> None:
        asked.set()
        signal.signal(number, before[number] or signal.SIG_DFL)

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
