"""Trains one stage: steps, validation, checkpoints, and exact resumption of an interrupted run."""

from __future__ import annotations

import math
import random
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from react_ros.supervision.stop_signals import StopSignals
from react_ros.training import checkpoints
from react_ros.training.checkpoints import JsonLines
from react_ros.training.config import OptimizationConfig
from react_ros.training.data import Batch, Clips, CropOrder, windows
from react_ros.training.gate import Candidate, Gate, candidates_left, choose
from react_ros.training.optimisation import MovingAverage, adamw, rate_at
from react_ros.training.processes import ProcessGroup
from react_ros.training.training_stage import TrainingStage

PATIENCE = 10
"""Consecutive steps without a finite loss after which a stage stops."""

_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Watcher(Protocol):
    """Shows the progress of training."""

    def say(self, sentence: str) -> None:
        """Show a message."""
        ...

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        """Called after each step: `done` of `steps` of the stage, with the step's loss."""
        ...


@dataclass(slots=True)
class State:
    """The progress of a stage: all numbers that a checkpoint keeps beside the tensors."""

    step: int = 0
    """Steps done."""
    validated: int = 0
    """The step of the last validation."""
    best: float | None = None
    best_step: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""
    best_figures: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    """Steps without an update, because the loss or the gradient was not finite."""
    in_a_row: int = 0
    """Consecutive steps without a finite loss up to now."""
    seconds: float = 0.0
    scaler: dict[str, Any] = field(default_factory=dict)
    previous: str = ""
    """Digest of the earlier stages' weights."""
    candidates: list[dict[str, Any]] = field(default_factory=list)
    """Gated checkpoints that may still be chosen, a `Candidate` each."""


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """The result of a finished stage, apart from its weights."""

    steps: int
    chosen_step: int
    """The step whose weights were chosen."""
    skipped: int
    seconds: float
    figures: dict[str, float]
    """Of the validation of the chosen weights, and `TrainingStage.figures`."""
    gate: dict[str, Any] = field(default_factory=dict)
    """Where a gate chose: its clips (`Gate.describe`), the score, and the step and loss of the lowest loss."""


class StageRun:
    """One stage in a folder of its own: losses.jsonl, validation.jsonl, checkpoints/, best.safetensors.

    Random generators are seeded anew in each step from (seed, stage, step, process), and the data order and the
    learning rate are functions of the step, so a checkpoint needs only weights, optimizer state and a few counters.
    """

    def __init__(
        self,
        stage: TrainingStage,
        config: OptimizationConfig,
        training: Clips,
        validation: Clips | None,
        folder: Path,
        processes: ProcessGroup,
        watcher: Watcher,
        *,
        seed: int,
        steps_limit: int = 0,
        previous: str = "",
        gate: Gate | None = None,
    ) -> None:
        """stage: newly made. steps_limit: most steps; 0: as many as its epochs have. previous: see `State.previous`.
        gate: see `OptimizationConfig.gate`.

        Raises ValueError where the batch cannot be divided among the processes, or where the folder was begun on other
        weights of an earlier stage.
        """
        self._stage, self._config, self._folder = stage, config, folder
        self._processes, self._watcher = processes, watcher
        self._training, self._validation, self._seed = training, validation, seed
        order = CropOrder(training.lengths, batch=config.batch, crop=config.crop, crops=config.crops, seed=seed)
        if order.batch % processes.size:
            raise ValueError(
                f"a batch of {order.batch} crops cannot be shared among {processes.size} processes: "
                f"stages.{stage.stage}.batch must be a multiple of {processes.size}, and no more than an epoch has"
            )
        self._order = order
        steps = order.steps * config.epochs
        self._steps = min(steps, steps_limit) if steps_limit else steps
        self._losses, self._validations = JsonLines(folder / "losses.jsonl"), JsonLines(folder / "validation.jsonl")
        self._cuda = processes.device.type == "cuda"
        self._board: Any = None
        self._gate = gate

        kept = checkpoints.newest(folder / "checkpoints")
        stage.to(processes.device)
        if kept is None:
            stage.prepare(training)
            stage.to(processes.device)
        self._optimizer = adamw(stage, config.optimizer)
        self._average = MovingAverage(stage, config.ema)
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=self._cuda and config.precision == "fp16")
        self._state = State(previous=previous)
        self._saved = (-1, -1)
        if kept is not None:
            self._restore(*kept)
            if self._state.previous != previous:
                raise ValueError(
                    f"{folder} was begun on other weights of the stages before it: remove it to train it anew"
                )
        self._loss = self._wrapped()

    def run(self) -> StageOutcome:
        """Train to the end.

        Raises KeyboardInterrupt, after writing a checkpoint, when interrupted; ValueError, in one sentence, where the
        loss is not finite `PATIENCE` steps in a row.
        """
        s = self._state
        if self._processes.is_main:
            self._losses.truncate_to(s.step)
            self._validations.truncate_to(s.validated)
            if s.step:
                self._watcher.say(f"{self._stage.stage}: resumes at step {s.step} of {self._steps}")
        if not self._cuda and (self._config.precision != "fp32" or self._config.compile):
            self._watcher.say(f"{self._stage.stage}: on a CPU precision is fp32 and nothing is compiled")
        if self._validation is None:
            self._watcher.say(
                f"{self._stage.stage}: without a val split there is no validation; the last step's weights are exported"
            )
        with ExitStack() as stack:
            # After the first signal the step is completed; a second one acts as usual.
            stop = stack.enter_context(StopSignals(only_first=True))
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
                if stopped or s.step % self._config.checkpoint_every == 0:
                    self._save()
                if stopped:
                    raise KeyboardInterrupt
            self._save()
        return self._finish()

    # A step --------------------------------------------------------------------------------------------------------

    def _step(self, stop: StopSignals) -> bool:
        """One step. Returns whether any process was asked to stop."""
        s, config, processes = self._state, self._config, self._processes
        share = self._order.batch // processes.size
        own = slice(processes.rank * share, (processes.rank + 1) * share)
        clips, starts = self._order.at(s.step)
        batch = self._training.batch(clips[own], starts[own], config.crop).to(processes.device)
        rate = rate_at(config.optimizer, s.step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._stage.train()
        before = {name: b.clone() for name, b in self._buffers().items()}
        rng = self._seeded("step", s.step, processes.rank)
        with self._autocast():
            losses = self._loss(batch, s.step / self._steps, rng)
        self._scaler.scale(losses["loss"]).backward()
        self._scaler.unscale_(self._optimizer)
        trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(trained, config.clip_norm or math.inf)
        names = sorted(losses)
        logged = torch.stack([losses[n].detach().double() for n in names] + [norm.double()])
        stopping = logged.new_tensor([float(stop.is_set())])
        *values, norm_value, stop_share = processes.mean(torch.cat([logged, stopping])).tolist()
        figures = dict(zip(names, values, strict=True))

        # The norm is the same in every process: gradients have been averaged.
        if math.isfinite(figures["loss"]) and math.isfinite(norm_value):
            self._scaler.step(self._optimizer)
            self._average.update(s.step)
            s.in_a_row = 0
        else:
            s.skipped += 1
            # fp16: an overflowing gradient only lowers the scale.
            overflow = math.isfinite(figures["loss"]) and self._scaler.is_enabled() and self._scaler.get_scale() > 1.0
            s.in_a_row += not overflow
            if not math.isfinite(figures["loss"]):
                for name, buffer in self._buffers().items():
                    if name in before:
                        buffer.copy_(before[name])
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        s.step += 1
        self._log("step", s.step, {**figures, "rate": rate, "norm": norm_value})
        if processes.is_main:
            self._losses.add({"step": s.step, **figures, "rate": rate, "norm": norm_value})
            self._watcher.step(self._stage.stage, s.step, self._steps, figures["loss"])
        if s.in_a_row >= PATIENCE:
            if processes.is_main:
                self._losses.write()
            raise ValueError(
                f"{self._stage.stage}: the loss was not finite {PATIENCE} steps in a row, up to step {s.step}: "
                f"a lower stages.{self._stage.stage}.optimizer.lr may help, or fp32 where precision is lower"
            )
        return stop_share > 0.0

    def _wrapped(self) -> nn.Module:
        loss: nn.Module = _Loss(self._stage)
        if self._processes.size > 1:
            # A stage may use other parameters in each step.
            ids = [self._processes.device.index] if self._cuda else None
            loss = DistributedDataParallel(loss, device_ids=ids, find_unused_parameters=True)
        if self._cuda and self._config.compile:
            loss.compile()
        return loss

    def _autocast(self) -> torch.autocast:
        lower = _PRECISIONS.get(self._config.precision)
        return torch.autocast(
            self._processes.device.type, lower if self._cuda else None, enabled=self._cuda and lower is not None
        )

    def _seeded(self, *purpose: str | int) -> torch.Generator:
        """Seed all random generators from run seed, stage and purpose; returns a generator on the device."""
        key = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in (self._stage.stage, *purpose)]
        return _seed_all(self._seed, key, self._processes.device)

    def _buffers(self) -> dict[str, Tensor]:
        """The persistent buffers, e.g. codebooks and statistics, by name."""
        parameters = dict(self._stage.named_parameters())
        state = self._stage.state_dict(keep_vars=True)
        return {n: t for n, t in state.items() if isinstance(t, Tensor) and n not in parameters}

    # Validation ----------------------------------------------------------------------------------------------------

    def _validate(self, stop: StopSignals) -> bool:
        """Validate the averaged weights. Returns whether it was abandoned because a process was asked to stop."""
        s, processes = self._state, self._processes
        if self._validation is None:
            s.validated = s.step
            return False
        sums: dict[str, float] = {}
        frames = 0
        self._stage.eval()
        processes.broadcast(self._buffers().values())
        batches = windows(self._validation.lengths, self._config.crop, self._config.batch)
        if self._config.validate:
            batches = batches[:: max(-(-len(batches) // self._config.validate), 1)]
        with self._average.applied():
            with torch.no_grad(), self._autocast():
                for number, (clips, starts) in enumerate(batches):
                    if stop.is_set():
                        break
                    if number % processes.size != processes.rank:
                        continue
                    batch = self._validation.batch(clips, starts, self._config.crop)
                    count = int(batch.valid.sum())
                    figures = self._stage.measure(batch.to(processes.device), self._seeded("validation", number))
                    for name, value in figures.items():
                        sums[name] = sums.get(name, 0.0) + count * float(value)
                    frames += count
            everybody = processes.gather((stop.is_set(), frames, sums))
            if any(stopped for stopped, _, _ in everybody):
                return True
            frames = sum(count for _, count, _ in everybody)
            names = sorted({name for _, _, found in everybody for name in found})
            s.figures = {n: sum(found.get(n, 0.0) for _, _, found in everybody) / frames for n in names}
            judged = self._stage.judged_by
            if judged not in s.figures:
                raise ValueError(f"{self._stage.stage} is judged by {judged!r}, but it measures {', '.join(names)}")
            if math.isfinite(s.figures[judged]) and (s.best is None or s.figures[judged] < s.best):
                s.best, s.best_step, s.best_figures = s.figures[judged], s.step, s.figures
                if processes.is_main:
                    checkpoints.save_tensors(self._folder / "best.safetensors", self._stage.state_dict())
            if self._gate is not None and self._is_gated(self._gate):
                self._pass_gate(self._gate)
        s.validated = s.step
        self._log("validation", s.step, s.figures)
        if processes.is_main:
            self._validations.add({"step": s.step, **s.figures})
            self._losses.write()
            self._validations.write()
            epoch = f"epoch {-(-s.step // self._order.steps)} of {-(-self._steps // self._order.steps)}"
            figures = ", ".join(f"{name} {value:.4g}" for name, value in s.figures.items())
            self._watcher.say(f"{self._stage.stage}: {epoch}, validation: {figures}")
        return False

    def _is_gated(self, gate: Gate) -> bool:
        """Whether the checkpoint that was just validated is gated."""
        s = self._state
        finite = math.isfinite(s.figures[self._stage.judged_by])
        epoch = s.step // self._order.steps
        return finite and (s.step == self._steps or epoch % gate.config.every == 0)

    def _pass_gate(self, gate: Gate) -> None:
        """Score the averaged weights before the gate's speakers, and keep those that may be chosen."""
        s, found = self._state, None
        if self._processes.is_main:
            result = gate.score(self._stage.listener())
            measured = {f"gate: {v.name}": v.value.mean for v in result.verdicts() if v.value is not None}
            figures = {**s.figures, "gate": result.score, **measured}
            found = asdict(Candidate(s.step, s.figures[self._stage.judged_by], result.score, figures))
            if math.isfinite(result.score):
                checkpoints.save_tensors(self._gated(s.step), self._stage.state_dict())
            self._watcher.say(f"{self._stage.stage}: gate at step {s.step}: {result.line}")
        found = self._processes.gather(found)[0]
        s.figures = found["figures"]
        if s.best is None or not math.isfinite(found["score"]):
            return
        listed = [Candidate(**c) for c in [*s.candidates, found]]
        left = candidates_left(listed, s.best, gate.config.tolerance)
        s.candidates = [asdict(c) for c in left]
        if self._processes.is_main:
            for path in self._gated(0).parent.glob("step-*.safetensors"):
                if path not in [self._gated(c.step) for c in left]:
                    path.unlink(missing_ok=True)

    def _gated(self, step: int) -> Path:
        return self._folder / "gated" / f"step-{step:09d}.safetensors"

    def _chosen_by_gate(self) -> Candidate | None:
        """The checkpoint that the gate chooses; None without one."""
        s = self._state
        if self._gate is None or s.best is None:
            return None
        listed = [Candidate(**c) for c in s.candidates]
        return choose([c for c in listed if self._gated(c.step).is_file()], s.best, self._gate.config.tolerance)

    def _finish(self) -> StageOutcome:
        """Load the chosen weights into the stage and write them to finished.safetensors."""
        s, stage = self._state, self._stage
        take_best = self._config.export == "best" and s.best is not None
        step, figures = (s.best_step, s.best_figures) if take_best else (s.step, s.figures)
        gate: dict[str, Any] = {}
        self._processes.barrier()  # until the main process has written all files
        if (candidate := self._chosen_by_gate()) is not None and self._gate is not None:
            step, figures = candidate.step, candidate.figures
            chosen = checkpoints.load_tensors(self._gated(step))
            lowest = {"lowest_loss": s.best, "lowest_loss_step": s.best_step, "judged_by": stage.judged_by}
            gate = {**self._gate.describe(), "score": candidate.score, "loss": candidate.loss, **lowest}
        elif take_best:
            chosen = checkpoints.load_tensors(self._folder / "best.safetensors")
        else:
            with self._average.applied():
                chosen = {name: tensor.clone() for name, tensor in stage.state_dict().items()}
        stage.load_state_dict(chosen)
        figures = dict(figures)
        if self._validation is not None:
            stage.eval()
            with torch.no_grad():
                figures.update(stage.figures(self._validation, self._seeded("figures")))
        if self._processes.is_main:
            checkpoints.save_tensors(self._folder / "finished.safetensors", stage.state_dict())
        return StageOutcome(s.step, step, s.skipped, round(s.seconds, 1), figures, gate)

    # Checkpoints ---------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        s = self._state
        if not self._processes.is_main or self._saved == (s.step, s.validated):
            return
        self._saved = (s.step, s.validated)
        s.scaler = self._scaler.state_dict()
        self._losses.write()
        self._validations.write()
        tensors = {f"stage.{name}": tensor for name, tensor in self._stage.state_dict().items()}
        tensors |= {f"mean.{name}": tensor for name, tensor in self._average.tensors.items()}
        for name, parameter in self._stage.named_parameters():
            for what, tensor in self._optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{what}.{name}"] = tensor
        # Saved after a step and again after its validation, under two names: neither overwrites the other.
        name = f"step-{s.step:09d}{'-validated' if s.validated == s.step else ''}"
        checkpoints.save(self._folder / "checkpoints" / name, tensors, asdict(s), self._config.keep)

    def _restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        try:
            self._state = State(**numbers)
            of = {kind: _under(tensors, kind) for kind in ("stage", "mean", "adam")}
            # Version 0.1 called it task.
            self._stage.load_state_dict(of["stage"] or _under(tensors, "task"))
            with torch.no_grad():
                for name, tensor in self._average.tensors.items():
                    tensor.copy_(of["mean"][name])
                parameters = dict(self._stage.named_parameters())
                for whole, tensor in of["adam"].items():
                    what, _, name = whole.partition(".")
                    parameter = parameters[name]
                    # In the parameter's memory layout, as the optimizer would have made it.
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
        if not self._processes.is_main:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._watcher.say(
                "the package tensorboard is not installed: no curves are written; losses are in losses.jsonl"
            )
            return None
        folder = self._folder.parent / "tensorboard" / self._folder.name
        board = SummaryWriter(str(folder), purge_step=self._state.step + 1)
        stack.callback(board.close)
        return board

    def _log(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)


class _Loss(nn.Module):
    """The loss as a forward pass, the only form that torch distributes and compiles."""

    def __init__(self, stage: TrainingStage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        return self.stage.loss(batch, progress, rng)


def seed_for(seed: int, stage: str, device: torch.device) -> None:
    """Seed all random generators for the initial weights of a stage."""
    _seed_all(seed, [zlib.crc32(stage.encode()), zlib.crc32(b"weights")], device)


def _seed_all(seed: int, key: Sequence[int], device: torch.device) -> torch.Generator:
    number = int(np.random.SeedSequence(seed, spawn_key=tuple(key)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number % 2**32)
    return torch.Generator(device).manual_seed(number)


def _under(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {name.partition(".")[2]: t for name, t in tensors.items() if name.partition(".")[0] == kind}
