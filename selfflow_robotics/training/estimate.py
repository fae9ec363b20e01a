"""What training takes, before anything is allocated: parameters, FLOPs a step, memory.

Parameters are those of the model, built on the meta device, where tensors have shapes only. FLOPs
are counted as torch counts them, over the passes of a step there. Memory is in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..data.action_spec import RT1_ACTIONS, RT1_STATE
from ..data.clips import Clips
from ..data.vocabulary import Vocabulary
from ..flow.objectives import FlowMatching, Repa, SelfFlow
from ..model.cells import MAPS
from ..model.dit import MAX_WORDS, DiTConfig
from ..streams import RowStreams
from ..tokenizers.tokenizer import Tokenizer
from ..world_model.world_model import WorldModel
from .config import ModelConfig, ObjectiveConfig
from .ema import Ema
from .head_losses import WEIGHTS, judge_losses
from .parallelize import keep_fewer_activations
from .recipe import build_objective, build_world_model


@dataclass(frozen=True)
class Task:
    """What is trained, on clips of `frames` latent frames of a tokenizer.

    The tokenizer: pixels along a cell's side, channels, and the steps that a latent frame spans.

    With `words` in the vocabulary of instructions it is a world model with RT-1's actions and
    proprioception and its heads; with none, the same network on video alone. Captions come as
    vectors of `text_width` values, made before training.
    """

    model: ModelConfig
    objective: ObjectiveConfig
    image_size: tuple[int, int]
    factor: int
    channels: int
    frames: int
    words: int = 0
    recompute_every: int = 0
    temporal: int = 1
    text_width: int = 0

    def build(self) -> WorldModel:
        """The model, with random weights, on torch's default device."""
        return build_world_model(
            self.model,
            Tokenizer(self.channels, self.factor),
            self.image_size,
            RT1_ACTIONS.block(self.temporal) if self.words else None,
            RT1_STATE if self.words else None,
            Vocabulary(tuple(f"word{i}" for i in range(self.words))),
            step_sizes=self.objective.shortcut > 0,
            text_dim=self.text_width,
        )

    def build_objective(self) -> FlowMatching:
        """The objective.

        Raises:
            ValueError: it is REPA, whose encoder is not known before it is loaded.
        """
        if issubclass(self.objective.kind(), Repa):
            raise ValueError(
                "repa's encoder is not known before it is loaded; estimate objective=sra and add "
                "the encoder's own weights and passes"
            )
        tokenizer = Tokenizer(self.channels, self.factor)
        return build_objective(
            self.objective,
            self.model.patch,
            1 if self.words else 0,
            tokenizer,
            given_state=self.model.kinematics,
            alone=self.model.markov,
        )

    def kinds(self) -> list[tuple[Task, float]]:
        """The same with clips of one kind, and their share: those that take a step cost more."""
        share = self.objective.shortcut
        return [
            (replace(self, objective=replace(self.objective, shortcut=kind)), part)
            for kind, part in ((0.0, 1 - share), (1.0, share))
            if part
        ]

    def clips(self, batch: int) -> Clips:
        """Clips of zeros on torch's default device."""
        size = (self.channels, *(side // self.factor for side in self.image_size))
        steps = (batch, self.frames)
        text = torch.zeros(*steps, self.text_width) if self.text_width else None
        if not self.words:
            return Clips(torch.zeros(*steps, *size), text_BTE=text)
        return Clips(
            torch.zeros(*steps, *size),
            action_BTA=torch.zeros(*steps, RT1_ACTIONS.size * self.temporal),
            action_known_BT=torch.ones(*steps),
            state_BTP=torch.zeros(*steps, RT1_STATE.size),
            words_BTL=torch.zeros(*steps, MAX_WORDS, dtype=torch.long),
            steps_BT=torch.zeros(*steps),
            imitate_BT=torch.ones(*steps, dtype=torch.bool),
            goal_BCHW=torch.zeros(batch, *size),
            goal_state_BP=torch.zeros(batch, RT1_STATE.size),
            goal_steps_BT=torch.zeros(*steps),
            text_BTE=text,
        )


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU, or of each process on a CPU, beside the program itself.

    `gathered` are the weights that FSDP2 brings together to compute with and the gradients it
    spreads again, or one GPU's bfloat16 copies; `update` is the scratch of AdamW, which has next to
    none on a CPU.
    """

    weights: int
    gradients: int
    optimizer: int
    ema: int
    gathered: int
    activations: int
    update: int
    kept_gradients: bool

    @property
    def peak(self) -> int:
        """The most at one time.

        Activations are freed while gradients come to be, at the same pace, so the peak is at
        either end of the backward pass or in AdamW's update; with micro-batches, gradients of the
        earlier ones are there all the time. On a CPU, what is freed stays with the program.
        """
        before = self.gathered + self.activations + (self.gradients if self.kept_gradients else 0)
        after = self.gradients + max(self.gathered, self.update)
        return self.weights + self.optimizer + self.ema + max(before, after)


@dataclass(frozen=True)
class Estimate:
    """Of a training run: parameters of the network and of its heads, FLOPs a step over all GPUs."""

    network: int
    heads: int
    projector: int
    flops: int
    memory: Memory

    def told(self, gpus: int, program: int | None = None) -> str:
        """For people: of each GPU, or of each process on a CPU with its program's own bytes."""
        each = "on each GPU" if program is None else "of each process"
        parts = {} if program is None else {"program": program}
        parts |= {part: size for part, size in vars(self.memory).items() if type(size) is int}
        peak = (self.memory.peak + (program or 0)) / 2**30
        lines = [
            f"parameters  {self.network:,} of the network, {self.heads:,} of heads, "
            f"{self.projector:,} of the projector, which only training has",
            f"FLOPs       {self.flops:.4g} a step, {self.flops / gpus:.4g} {each}",
            f"memory      {peak:.2f} GiB {each} at the peak:",
            *(f"  {part:12} {size / 2**30:8.2f} GiB" for part, size in parts.items()),
        ]
        return "\n".join(lines)


def estimate(
    task: Task, batch: int, gpus: int, accumulate: int, bf16: bool, *, on_cpu: bool = False
) -> Estimate:
    """Predict a run.

    Args:
        batch: clips of a step, over all GPUs and micro-batches.
        gpus: or processes on a CPU.

    Raises:
        ValueError: the batch or the sizes do not divide.
    """
    memory = estimate_memory(task, batch, gpus, accumulate, bf16, on_cpu=on_cpu)
    with torch.device("meta"):
        model, projector = _built(task)
        flops = round(
            sum(
                batch * share * step_flops(kind, model, projector, task.clips(1))
                for kind, share in task.kinds()
            )
        )
    heads = _size(*(one for one in (model.progress_head, model.steps_head) if one))
    return Estimate(_size(model.network), heads, _size(projector), flops, memory)


def estimate_memory(
    task: Task, batch: int, gpus: int, accumulate: int, bf16: bool, *, on_cpu: bool = False
) -> Memory:
    """The memory of :func:`estimate` alone, which takes less time."""
    if min(batch, gpus, accumulate, task.frames) < 1 or batch % (gpus * accumulate):
        raise ValueError(
            f"a batch of {batch} clips does not divide over {gpus} GPUs in {accumulate} parts "
            "each; change trainer.batch_size, trainer.accumulate or gpus"
        )
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH):
        model, projector = _built(task)
        for kind, _ in task.kinds():
            loss = losses(kind, model, Ema(model, 0.0).module, projector, task.clips(1))
            loss.backward()  # type: ignore[no-untyped-call]
    # The backward passes left gradients (of no size) where training has them.
    averaged = _size(model)
    held = averaged + _size(projector)
    parameters = [*model.parameters(), *projector.parameters()]
    taught = sum(p.numel() for p in parameters if p.grad is not None)
    block, number = _size(*model.network.blocks[:1]), 2 if bf16 else 4
    if gpus == 1:
        gathered = 2 * taught if bf16 else 0
    else:
        # The block that computes and the next one, the rest all the time; a block's gradient.
        rest = held - block * len(model.network.blocks)
        gathered = number * (rest + 2 * block) + 4 * block
    clips = batch // (gpus * accumulate)
    return Memory(
        weights=4 * held // gpus,
        gradients=4 * taught // gpus,
        optimizer=8 * taught // gpus,
        ema=4 * averaged // gpus,
        gathered=gathered,
        activations=activation_bytes(task, model.config.network, clips, bf16),
        update=0 if on_cpu else 4 * taught // gpus,
        kept_gradients=on_cpu or accumulate > 1,
    )


def _built(task: Task) -> tuple[WorldModel, nn.Module]:
    model = task.build()
    return model, task.build_objective().projector(model.config.network.width)


def step_flops(task: Task, model: WorldModel, projector: nn.Module, clips: Clips) -> int:
    """FLOPs of teacher, student and backward pass on these clips, as torch's counter has them.

    Linear in the number of clips. Attention is counted as the products that define it; kernels that
    compute them again in the backward pass do a little more.
    """
    # Its module imports Triton where there is one, which training without compile has no need of.
    from torch.utils.flop_counter import FlopCounterMode

    keep_fewer_activations(model.network, task.recompute_every)
    # The counter does not know every kernel, but it knows what this one is made of.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        total = losses(task, model, Ema(model, 0.0).module, projector, clips)
        total.backward()  # type: ignore[no-untyped-call]
    flops: int = counter.get_total_flops()
    return flops


def losses(
    task: Task, model: WorldModel, teacher: WorldModel, projector: nn.Module, clips: Clips
) -> Tensor:
    """The loss of a step, with its graph."""
    objective = task.build_objective()
    noised = objective.noise(clips, RowStreams(0, range(len(clips.latents_BTCHW)), 0))
    found = objective(model.network, teacher.network, projector, noised)
    one = torch.ones((), device=clips.latents_BTCHW.device)
    judged = judge_losses(model, clips, found, dict.fromkeys(WEIGHTS, one))
    return found.total + sum(WEIGHTS[name] * loss for name, loss in judged.items())


def block_bytes(task: Task, network: DiTConfig, clips: int, bf16: bool) -> int:
    """What the backward pass of a block needs kept.

    Of a token, in units of the width: what a norm reads, what it gives and the scale that is
    multiplied with it, twice; what linears read, q, k and v, the outputs of attention and of both
    branches, six of modulation; and the hidden layer before and after GELU. Where the rest is
    bfloat16, autocast on CUDA has norms read and write fp32 (on a CPU it has not).
    """
    small = 2 if bf16 else 4
    length = task.frames * network.tokens
    tokens = clips * length
    hidden = int(network.width * network.mlp_ratio)
    kept = tokens * (4 * network.width * 4 + (17 * network.width + 2 * hidden) * small)
    # Of attention, a number a head and token; its mask, as numbers, is the same for all clips.
    return kept + tokens * network.heads * 4 + length**2 * small * (task.frames > 1)


def activation_bytes(task: Task, network: DiTConfig, clips: int, bf16: bool) -> int:
    """What the backward pass of so many clips needs kept, by far most of it in the blocks."""
    small, width = 2 if bf16 else 4, network.width
    tokens = clips * task.frames * network.tokens
    block = block_bytes(task, network, clips, bf16)
    again = len(range(0, network.depth, task.recompute_every)) if task.recompute_every else 0
    # A block that is computed again keeps what it reads, and all of itself while its turn lasts.
    kept = (network.depth - again) * block + again * tokens * width * small
    kept += block if again else 0
    # The last modulation and norm.
    kept += tokens * width * (2 * 4 + 4 * small)
    own = 2 if bf16 else 0  # a copy in bfloat16 of what linears read
    if issubclass(task.objective.kind(), SelfFlow):  # projector and cosine
        kept += tokens * width * (4 * small + 2 * 4 + own)
    if task.words:  # three poolings: norm, keys, values, their products
        pooled = width * (4 + (4 if bf16 else 0) + 2 * own) + 96 * 3 * small
        kept += round((2 + 1 / task.frames) * tokens * pooled)
    # Noise, noised tokens, anchors, velocities and errors.
    places = clips * task.frames * network.grid[0] * network.grid[1]
    # Of a cell, what convolutions and GELUs read; see `model/cells.py`.
    kept += places * network.patch**2 * (12 * network.cells + 2 * MAPS) * small
    return kept + places * network.token_dim * 8 * 4


def _size(*parts: nn.Module) -> int:
    return sum(p.numel() for part in parts for p in part.parameters())
