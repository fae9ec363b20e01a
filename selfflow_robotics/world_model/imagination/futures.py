"""The futures of many candidates of many rows, as many at once as fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor

from ...flow.samplers import Step, steps_along
from ...model.dit import DiT
from ...model.modality import ACTION, VIDEO
from ...model.tokens import Frames
from ..values import Context
from . import memory
from .denoising import all_together, frame_after_frame, imagined, jointly
from .noise import own_noise, shared_noise


class Imagination:
    """What a network imagines; actions and proprioception are normalised.

    Args:
        feature_layer: the block, counted from 1, whose output are a frame's features.
        time_shift: of the times of denoising, as in training.
    """

    def __init__(self, network: DiT, feature_layer: int, time_shift: float) -> None:
        self.network, self.feature_layer, self.time_shift = network, feature_layer, time_shift
        self._measured: dict[tuple[int, int, int, bool], float] = {}  # bytes a candidate

    def rollout(
        self,
        context: Context,
        actions_BKHA: Tensor,
        steps: int,
        together: bool,
        streams: Sequence[torch.Generator],
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Features (B, K, H, M, D), and the values (B, K, H, ...) of each modality but actions.

        Frames that do not attend to one another have no features, and always come one by one.
        """
        together = together and not self.network.config.markov
        horizon = actions_BKHA.shape[2]
        noise = shared_noise(self.network.config, horizon, streams, context.anchor_BNC)
        along = steps_along(steps, self.time_shift)
        imagine = all_together if together else frame_after_frame

        def run(rows: slice, candidates: slice) -> tuple[Tensor, ...]:
            actions = actions_BKHA[rows, candidates]
            made = imagine(
                self.network,
                self.feature_layer,
                noise.frames(rows, actions),
                _repeated(context.anchor_BNC[rows], actions.shape[1]),
                context.cache.rows(rows),
                along,
                self._state(context, rows, actions.shape[1]),
            )
            shown = (value for _, value in made.frames.values(ACTION))
            features = () if made.features_FHMD is None else (made.features_FHMD,)
            return _by_row((*shown, *features), actions.shape[1])

        found = self._in_parts(run, context, actions_BKHA, horizon if together else 1)
        names = [one.name for one in self.network.config.modalities if one.name != ACTION]
        features = None if self.network.config.markov else found[-1]
        return features, dict(zip(names, found, strict=False))

    def propose(
        self,
        context: Context,
        candidates: int,
        horizon: int,
        steps: int,
        streams: Sequence[torch.Generator],
    ) -> Tensor:
        """Actions (B, K, H, A), denoised together with their frames."""
        noise = own_noise(self.network.config, candidates, horizon, streams, context.anchor_BNC)
        return self._act(context, noise, steps_along(steps, self.time_shift))

    def refine(
        self,
        context: Context,
        actions_BKHA: Tensor,
        time: float,
        steps: int,
        streams: Sequence[torch.Generator],
    ) -> Tensor:
        """Actions (B, K, H, A), noised to `time` with the frames they lead to, and denoised."""
        _, count, horizon, _ = actions_BKHA.shape
        start = shared_noise(self.network.config, horizon, streams, context.anchor_BNC)
        noise = own_noise(self.network.config, count, horizon, streams, context.anchor_BNC)

        def run(rows: slice, candidates: slice) -> tuple[Tensor, ...]:
            actions = actions_BKHA[rows, candidates]
            made = imagined(
                self.network,
                start.frames(rows, actions),
                _repeated(context.anchor_BNC[rows], actions.shape[1]),
                context.cache.rows(rows),
                steps_along(1, self.time_shift),
                self._state(context, rows, actions.shape[1]),
            )
            return _by_row([value for _, value in made.values()], actions.shape[1])

        clean = self._in_parts(run, context, actions_BKHA, horizon)
        mixed = {
            name: torch.lerp(value, noise[name], time)
            for name, value in zip(noise, clean, strict=True)
        }
        return self._act(context, mixed, steps_along(steps, self.time_shift, time))

    def _act(self, context: Context, noised: Mapping[str, Tensor], steps: Sequence[Step]) -> Tensor:
        """Actions (B, K, H, A) from noised values (B, K, H, ...) of every modality."""
        told_BD = context.instruction_BD
        if told_BD is None:
            raise ValueError("proposing actions needs an instruction; give one to observe()")
        horizon = noised[ACTION].shape[2]

        def run(rows: slice, candidates: slice) -> tuple[Tensor, ...]:
            values = {name: value[rows, candidates] for name, value in noised.items()}
            count = values[ACTION].shape[1]
            flat = {name: rearrange(v, "b k ... -> (b k) ...") for name, v in values.items()}
            made = jointly(
                self.network,
                Frames(flat[VIDEO]).with_values(flat),
                _repeated(context.anchor_BNC[rows], count),
                context.cache.rows(rows),
                steps,
                _repeated(told_BD[rows], count),
                self._state(context, rows, count),
            )
            assert made.action_BTA is not None
            return _by_row([made.action_BTA], count)

        return self._in_parts(run, context, noised[ACTION], horizon)[0]

    def _state(self, context: Context, rows: slice, candidates: int) -> Tensor | None:
        """Proprioception (rows * K, P) in the last frame of history; zeros where not known."""
        size = self.network.config.state_dim
        if not size:
            return None
        known = context.state_BP
        if known is None:
            known = context.anchor_BNC.new_zeros(context.batch, size)
        return _repeated(known[rows], candidates)

    def _in_parts(
        self, run: memory.Run, context: Context, actions_BKHA: Tensor, frames: int
    ) -> tuple[Tensor, ...]:
        """All rows and candidates, as many at once as fit in memory with `frames` in a pass.

        With gradients all at once: what a part needs is kept until the backward pass anyway.
        """
        _, candidates, horizon, _ = actions_BKHA.shape
        every, device = (slice(0, context.batch), slice(0, candidates)), actions_BKHA.device
        if torch.is_grad_enabled():
            return run(*every)
        if device.type == "cuda":
            key = (frames, horizon, context.cache.frames, torch.is_autocast_enabled("cuda"))
            if key not in self._measured:
                self._measured[key] = memory.measured(run, candidates, device)
            each = self._measured[key]
        else:
            each = memory.bytes_each(self.network.config, horizon, frames)
        return memory.in_parts(run, *every, int(memory.SHARE * memory.available(device) / each))


def _repeated(value: Tensor, candidates: int) -> Tensor:
    return repeat(value, "b ... -> (b k) ...", k=candidates)


def _by_row(parts: Sequence[Tensor], candidates: int) -> tuple[Tensor, ...]:
    return tuple(rearrange(part, "(b k) ... -> b k ...", k=candidates) for part in parts)


def gradients_of(value: Tensor) -> torch.set_grad_enabled:
    """Gradients only where a value asks for them; weights alone do not."""
    return torch.set_grad_enabled(torch.is_grad_enabled() and value.requires_grad)
