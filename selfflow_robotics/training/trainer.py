"""The training loop: clips -> objective -> optimizer, EMA -> checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.clips import Clips, LatentEpisodes
from ..data.loader import Batch, ClipLoader
from ..flow.objectives import FlowMatching
from ..machine.precision import computing, resolve_reproducibly
from ..storage.one_writer import only_writer
from ..streams import RowStreams
from ..world_model.world_model import WorldModel
from .checkpoints import Checkpoints
from .config import TrainerConfig
from .curves import Curves
from .divergence import require_sound_weights, say_if_diverged
from .ema import Ema
from .head_losses import WEIGHTS, judge_counts, judge_losses
from .parallelize import gathered, keep_fewer_activations, shard, whole
from .ranks import Ranks
from .run_config import RunSettings
from .state import TrainingState
from .stopping import StopRequest, stop_request

Evaluate = Callable[[WorldModel, int], dict[str, float]]


class Trainer:
    """Trains a world model, or its network alone on video without actions.

    What comes out does not depend on the number of ranks or of micro-batches, but for rounding.

    Args:
        world_model: the student; trained in place. The same on every rank.
        objective: what the network learns from.
        episodes: training latents.
        repeat: see :meth:`LatentEpisodes.starts`.
        folder: checkpoints and TensorBoard's curves go here; the last checkpoint is resumed.
        evaluate: called with the EMA model every `save_every` steps; what it returns is logged.

    Example:
        >>> objective = SelfFlow(Noising(TimestepDistribution()), patch=2)
        >>> settings = TrainerConfig(steps=1, batch_size=2, frames=3)
        >>> Trainer(world_model, objective, latents, settings, Path("run")).fit().history_len
        3
    """

    def __init__(
        self,
        world_model: WorldModel,
        objective: FlowMatching,
        episodes: LatentEpisodes,
        config: TrainerConfig,
        folder: Path,
        evaluate: Evaluate | None = None,
        repeat: Mapping[str, int] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.objective, self.ranks = config, objective, ranks or Ranks()
        self.folder, self.evaluate = folder, evaluate
        rank, count = self.ranks.rank, self.ranks.count
        self.loader = ClipLoader(
            episodes, config.frames, config.batch_size, config.seed, repeat, rank, count
        )
        if self.ranks.first:
            _say_too_short(episodes, config.frames)
        require_divisible(config.batch_size, count, config.accumulate)
        torch.manual_seed(config.seed)
        projector = objective.projector(world_model.config.network.width).to(world_model.device)
        ema = Ema(world_model, config.ema)
        self.precision = self.ranks.gather(
            resolve_reproducibly(config.precision, world_model.device)
        )[0]
        keep_fewer_activations(world_model.network, config.recompute_every)
        for network in (world_model.network, ema.module.network) if config.compile else ():
            network.compile_blocks()
        for module in (world_model, ema.module, projector):
            shard(module, self.ranks, self.precision == "bf16")
        self.state = TrainingState(
            world_model, projector, ema, config.learning_rate, config.weight_decay
        )
        kept = config.keep, config.keep_every, config.save_every
        self.checkpoints = Checkpoints(folder / "checkpoints", self.ranks, *kept)

    def resume(self) -> None:
        """Continue from the last complete checkpoint if there is one.

        Raises:
            ValueError: it is damaged or of another model.
        """
        step = self.checkpoints.latest()
        if step is not None:
            self.state.take(self.checkpoints.read(step, self.state.make_room))

    def fit(self) -> WorldModel | None:
        """Train to the last step and return the EMA model; None if it was asked to stop before, by
        SIGTERM or Ctrl-C.

        Where a checkpoint has that many steps, its model is returned, also while a run goes on.

        Raises:
            BlockingIOError: another process trains into the same folder.
            RuntimeError: too many steps were skipped, or weights are not finite.
        """
        done = (self.checkpoints.latest() or 0) >= self.config.steps
        with only_writer(self.folder) if self.ranks.first and not done else nullcontext():
            self.resume()
            if self.state.step < self.config.steps:
                with stop_request() as stop:
                    if self._train(stop):
                        return None
        trained = gathered(self.state.ema.module, self.ranks)
        if self.ranks.first:
            require_sound_weights(trained, self.checkpoints.path(self.state.step))
        return trained

    def _train(self, stop: StopRequest) -> bool:
        """Steps until the last one, or until a rank was asked to stop; returns whether it was."""
        state, config = self.state, self.config
        curves = Curves(self.folder, state.step, config.steps, shown=self.ranks.first)
        batches = self.loader.batches(state.step)
        stopping, first = False, None
        while state.step < config.steps and not stopping:
            values = self._train_step(curves.wait_for(batches), stop)
            state.step += 1
            stopping = values.pop("stop") > 0
            first = values["loss"] if first is None else first
            if state.step % config.log_every == 0:
                curves.add(values, state.step)
            if stopping or state.step % config.save_every == 0 or state.step == config.steps:
                curves.flush()
                self.checkpoints.save(state.step, state.tensors())
                if self.evaluate is not None and not stopping:
                    model = gathered(state.ema.module, self.ranks)
                    if self.ranks.first:
                        curves.add_held_out(self.evaluate(model, state.step), state.step)
        self.checkpoints.wait()
        curves.close()
        if first is not None and self.ranks.first:
            say_if_diverged(first, values["loss"])
        if stopping and self.ranks.first:
            print(f"asked to stop: saved step {state.step}; the same command goes on from there")
        return stopping

    def _train_step(self, batch: Batch, stop: StopRequest) -> dict[str, float]:
        """One step of the optimizer and the EMA, unless a number is not finite."""
        state, config = self.state, self.config
        for group in state.optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(state.step, config)
        state.optimizer.zero_grad(set_to_none=True)
        values = self._backward(batch.clips.to(state.student.device), stop)
        trained = list(state.trained.values())
        norm = float(whole(nn.utils.clip_grad_norm_(trained, config.clip_norm)))
        if math.isfinite(norm) and math.isfinite(values["loss"]):
            state.optimizer.step()
            state.ema.update(state.student, state.step)
        else:
            state.skipped += 1
            self._require_few_skipped(batch)
        return {**values, "gradient": norm, "skipped": state.skipped}

    def _require_few_skipped(self, batch: Batch) -> None:
        """Stop a run that skipped more steps than it may, naming the episodes of all ranks."""
        state, most = self.state, self.config.max_skipped
        if state.skipped > most:
            episodes = {name for part in self.ranks.gather(batch.episodes) for name in part}
            raise RuntimeError(
                f"the loss or its gradient is not finite at step {state.step}, the "
                f"{state.skipped}. step to be skipped, and trainer.max_skipped={most}; look at "
                f"the episodes of its clips: {', '.join(sorted(episodes))}; or lower "
                "trainer.learning_rate"
            )

    def _backward(self, clips: Clips, stop: StopRequest) -> dict[str, float]:
        """Gradients of a batch, part by part; the losses are those of all ranks' clips together."""
        state, ranks = self.state, self.ranks
        share = self.config.batch_size // ranks.count
        rows = range(ranks.rank * share, (ranks.rank + 1) * share)
        streams = RowStreams(self.config.seed, rows, state.step)
        parts = [
            (part, self.objective.noise(part, part_streams))
            for part, part_streams in _split(clips, streams, self.config.accumulate)
        ]
        mine = [
            self.objective.counts(noised) | judge_counts(part, noised) for part, noised in parts
        ]
        counts = dict(zip(mine[0], ranks.sum(_added(mine)), strict=True))
        shown: list[dict[str, Tensor]] = []
        for part, noised in parts:
            with computing(self.precision, state.student.device):
                losses = self.objective(
                    state.student.network,
                    state.ema.module.network,
                    state.projector,
                    noised,
                    counts,
                )
                judged = judge_losses(state.student, part, losses, counts)
            total = losses.total + sum(WEIGHTS[name] * loss for name, loss in judged.items())
            # FSDP2 takes the mean over ranks.
            (total * ranks.count).backward()  # type: ignore[no-untyped-call]
            means = {k: v / (ranks.count * len(parts)) for k, v in losses.measured.items()}
            stops = total.new_tensor(float(stop.received))
            shown.append({"loss": total, **losses.parts, **judged, **means, "stop": stops})
        summed = torch.stack(ranks.sum(_added(shown))).tolist()
        return dict(zip(shown[0], summed, strict=True))


def _say_too_short(episodes: LatentEpisodes, frames: int) -> None:
    lengths = episodes.lengths
    if short := int((lengths < frames).sum()):
        print(
            f"{short} of {len(lengths)} episodes are not trained on: they have fewer than "
            f"trainer.frames={frames} frames, the shortest {lengths.min()}"
        )


def require_divisible(batch_size: int, ranks: int, accumulate: int) -> None:
    """Refuse, with a ValueError, a batch that ranks and micro-batches cannot share out."""
    if accumulate < 1 or batch_size % (ranks * accumulate):
        raise ValueError(
            f"a batch of {batch_size} clips does not divide over {ranks} ranks in {accumulate} "
            "parts each; change trainer.batch_size or trainer.accumulate"
        )


def _split(
    clips: Clips, streams: Sequence[torch.Generator], parts: int
) -> Iterator[tuple[Clips, Sequence[torch.Generator]]]:
    """Micro-batches of consecutive clips, with the random streams of their clips."""
    size = len(streams) // parts
    for first in range(0, len(streams), size):
        rows = slice(first, first + size)
        yield clips.rows(rows), streams[rows]


def _added(parts: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
    """The sum over parts of each entry."""
    return [torch.stack([part[name].detach() for part in parts]).sum() for name in parts[0]]


def _schedule(step: int, config: TrainerConfig) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to a twentieth."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def train_into(
    out: Path,
    settings: RunSettings,
    world_model: WorldModel,
    objective: FlowMatching,
    episodes: LatentEpisodes,
    config: TrainerConfig,
    evaluate: Evaluate | None = None,
    repeat: Mapping[str, int] | None = None,
    *,
    ranks: Ranks,
) -> WorldModel | None:
    """Train, with settings, checkpoints and curves in `settings.folder`, and write the model.

    Returns:
        It; None if training was asked to stop, and on ranks other than the first.
    """
    folder = settings.folder
    trainer = Trainer(world_model, objective, episodes, config, folder, evaluate, repeat, ranks)
    if ranks.first:
        settings.write()
    trained = trainer.fit()
    if trained is None or not ranks.first:
        return None
    trained.save_pretrained(str(out))
    return trained
