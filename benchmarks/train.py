"""How much faster a training step is than a straightforward implementation's, on this processor.

    python benchmarks/train.py [--json]

The straightforward one modulates every token by itself, as DiT code does whose timestep is one a
token, and runs the whole teacher; losses are equal. A step is noise, teacher, student, backward,
clipping, AdamW and EMA: of one block in the shape of XL at RT-1's resolution, and of the whole
preset `small` at 64x80. Both sides are timed in turns on one thread, in processor time, which
neighbours on the machine disturb less than wall-clock time; figures are medians over the turns.
`against_flops` is the measured speed-up over that which FLOP counts predict.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from selfflow_robotics.data.clips import Clips
from selfflow_robotics.flow.noising import NoisedClips, Noising, View
from selfflow_robotics.flow.objectives import Counts, Losses, SelfFlow, velocity_losses
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.machine.allocator import keep_memory
from selfflow_robotics.model.dit import DiT, DiTConfig, Output
from selfflow_robotics.model.heads import ProjectionHead
from selfflow_robotics.model.presets import preset
from selfflow_robotics.streams import RowStreams
from selfflow_robotics.training.ema import Ema

TURNS = 9
PATCH = 2


def per_token(view: View) -> View:
    """The same view with a timestep for each token instead of the few distinct ones of a frame."""
    conditions = view.conditions
    assert conditions.row_BTM is not None
    times = conditions.timesteps_BTR.gather(2, conditions.row_BTM)
    return replace(view, conditions=replace(conditions, timesteps_BTR=times, row_BTM=None))


class Straightforward(SelfFlow):
    """Self-Flow with modulation per token and a full teacher pass."""

    def __call__(
        self,
        student: DiT,
        teacher: DiT,
        projector: nn.Module,
        noised: NoisedClips,
        counts: Counts | None = None,
    ) -> Losses:
        """The losses of `SelfFlow`."""
        counts = counts or self.counts(noised)
        low, high = student.config.layer(0.3), student.config.layer(0.7)
        with torch.no_grad():
            seen = per_token(noised.teacher)
            cleaner = teacher(seen.frames, seen.conditions, feature_layers=(high,)).features[high]
        seen = per_token(noised.student)
        out: Output = student(seen.frames, seen.conditions, feature_layers=(low, high))
        cosine = F.cosine_similarity(projector(out.features[low]), cleaner, dim=-1).mean()
        losses = {**velocity_losses(out, noised, counts), "representation": 1 - cosine}
        return Losses(self._total(losses), losses, {}, out.features[high], noised.clean_BT)


@dataclass(frozen=True)
class Shape:
    """What is trained on."""

    network: DiTConfig
    batch: int
    frames: int

    def clips(self) -> Clips:
        """Random clips with actions and proprioception."""
        config, random = self.network, torch.Generator().manual_seed(0)

        def draw(*size: int) -> Tensor:
            return torch.randn(self.batch, self.frames, *size, generator=random)

        channels = config.token_dim // PATCH**2
        known = torch.ones(self.batch, self.frames)
        known[:, 0] = 0
        return Clips(
            draw(channels, config.grid[0] * PATCH, config.grid[1] * PATCH),
            action_BTA=draw(config.action_dim),
            action_known_BT=known,
            state_BTP=draw(config.state_dim),
        )


def shapes() -> dict[str, Shape]:
    """One block of XL at 256x320 and a latent cell of 16 pixels, `small` at 64x80 and one of 8."""
    xl, small = preset("XL"), preset("small")
    sized = partial(DiTConfig, action_dim=7, state_dim=8)
    block = sized(48 * PATCH**2, (8, 10), xl.width, 1, xl.heads, xl.mlp_ratio)
    whole = sized(16 * PATCH**2, (4, 5), small.width, small.depth, small.heads, small.mlp_ratio)
    return {"XL block": Shape(block, batch=2, frames=4), "small": Shape(whole, batch=16, frames=4)}


class Side:
    """One implementation, with a student, teacher, projector and optimizer of its own."""

    def __init__(self, objective: SelfFlow, shape: Shape, network: DiT) -> None:
        self.objective, self.clips = objective, shape.clips()
        self.student = copy.deepcopy(network)
        self.ema = Ema(self.student, 0.999)
        torch.manual_seed(1)
        self.projector = ProjectionHead(network.config.width)
        self.trained = [*self.student.parameters(), *self.projector.parameters()]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4)

    def gradients(self, step: int) -> float:
        """Noise, losses, backward pass; returns the loss."""
        streams = RowStreams(0, range(len(self.clips.latents_BTCHW)), step)
        noised = self.objective.noise(self.clips, streams)
        losses = self.objective(self.student, self.ema.module, self.projector, noised)
        losses.total.backward()  # type: ignore[no-untyped-call]
        return losses.total.detach().item()

    def step(self, step: int) -> float:
        """A whole training step; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.gradients(step)
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.ema.update(self.student, step)
        return loss

    def flops(self) -> int:
        """Of the passes of a step, as torch counts them."""
        with FlopCounterMode(display=False) as counter:
            self.gradients(0)
        self.optimizer.zero_grad(set_to_none=True)
        return int(counter.get_total_flops())


def random_network(config: DiTConfig) -> DiT:
    """A network in which nothing is zero, so that losses are equal only if all is."""
    torch.manual_seed(0)
    network = DiT(config)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return network


def measure(shape: Shape) -> dict[str, float]:
    """Both sides in turns."""
    noising = Noising(TimestepDistribution())
    network = random_network(shape.network)
    ours = Side(SelfFlow(noising, PATCH), shape, network)
    plain = Side(Straightforward(noising, PATCH), shape, network)
    predicted = plain.flops() / ours.flops()
    apart = 0.0
    seconds: dict[int, list[float]] = {id(ours): [], id(plain): []}
    for turn in range(TURNS + 1):
        losses = []
        for side in (ours, plain) if turn % 2 else (plain, ours):
            spent, loss = timed(lambda side=side, turn=turn: side.step(turn))  # type: ignore[misc]
            losses.append(loss)
            if turn:  # the first warms up
                seconds[id(side)].append(spent)
        apart = max(apart, abs(losses[0] - losses[1]))
    mine, other = median(seconds[id(ours)]), median(seconds[id(plain)])
    return {
        "seconds": mine,
        "straightforward_seconds": other,
        "speedup": other / mine,
        "flops_predict": predicted,
        "against_flops": other / mine / predicted,
        "losses_apart": apart,
    }


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """Processor seconds of a call, and what it returned."""
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def machine() -> str:
    """The processor, and what ran on it while this was measured."""
    name, flags = "unknown processor", ""
    try:
        with open("/proc/cpuinfo") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        name = " ".join(value.strip() for key, value in lines.items() if "model name" in key)
        flags = (
            " with avx512_bf16" if any("avx512_bf16" in value for value in lines.values()) else ""
        )
    except OSError:
        pass
    return (
        f"{os.cpu_count()} cores of {name}{flags}, 1 thread, torch {torch.__version__}, "
        f"load {os.getloadavg()[2]:.1f} over 15 minutes, other jobs' included"
    )


def main() -> None:
    """Measure both shapes and print."""
    keep_memory()
    torch.set_num_threads(1)
    found = {name: measure(shape) for name, shape in shapes().items()}
    if "--json" in sys.argv:
        print(json.dumps({"machine": machine(), **found}, indent=1))
        return
    print(machine())
    for name, value in found.items():
        print(
            f"{name:10} {value['speedup']:.2f} times as fast ({value['seconds']:.2f} s against "
            f"{value['straightforward_seconds']:.2f} s a step); FLOPs predict "
            f"{value['flops_predict']:.2f}: {value['against_flops']:.0%} of it; "
            f"losses differ by at most {value['losses_apart']:.1e}"
        )


if __name__ == "__main__":
    main()
