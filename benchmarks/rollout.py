"""How much faster futures are imagined than by sending history through the network again each time.

    python benchmarks/rollout.py [--json]
    python benchmarks/rollout.py --device cuda [--preset XL] [--json]

The first compares on this processor, with the shipped model's shape and weights: 8 frames of
history, 32 candidates, a horizon of 4, 2 steps of denoising, both ways to roll out. The
straightforward side has no cache: each pass of the network takes history and all frames imagined so
far, of every candidate, and a last clean pass gives the features of all frames. Both sides start
from the same noise, and take turns on one thread, in processor time, which neighbours on the
machine disturb less than wall-clock time; figures are medians over the turns. `against_flops` is
the measured speed-up over that which FLOP counts predict.

The second times a network with random weights at 256x320 (32x40 latents, patches of 2) in bf16:
frames a second of one stream and of a batch, and a whole CEM search.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from einops import repeat
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.flow.conditions import conditions_at
from selfflow_robotics.flow.noising import anchors
from selfflow_robotics.flow.samplers import schedule
from selfflow_robotics.machine.allocator import keep_memory
from selfflow_robotics.machine.precision import computing
from selfflow_robotics.model.dit import Conditions, DiTConfig, Output
from selfflow_robotics.model.presets import preset
from selfflow_robotics.model.tokens import Frames, patchify, unpatchify
from selfflow_robotics.planning import CEM
from selfflow_robotics.streams import RowStreams
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.world_model.imagination.noise import shared_noise
from selfflow_robotics.world_model.values import Context, Rollout, WorldModelConfig
from selfflow_robotics.world_model.world_model import WorldModel

HISTORY, HORIZON, CANDIDATES, STEPS, TURNS = 8, 4, 32, 2, 5


class Straightforward:
    """Rollouts without a cache, for one environment."""

    def __init__(self, model: WorldModel, latents: Tensor, led_to: Tensor, states: Tensor) -> None:
        self.model = model
        self.video, self.led_to, self.states = patchify(latents, 2), led_to, states

    def rollout(self, actions_BKHA: Tensor, steps: int, together: bool) -> tuple[Tensor, Tensor]:
        """Video (K, H, N, C) and features (K, H, M, D)."""
        candidates, horizon = actions_BKHA.shape[1:3]
        actions = self.model.action_spec.normalize(actions_BKHA)[0]
        noise = shared_noise(
            self.model.config.network, horizon, RowStreams(0, [0], 0), self.video
        ).frames(slice(0, 1), actions[None])
        assert noise.state_BTP is not None
        video = torch.cat((self._each(self.video, candidates), noise.video_BTNC), dim=1)
        state = torch.cat((self._each(self.states, candidates), noise.state_BTP), dim=1)
        led_to = torch.cat((self._each(self.led_to, candidates), actions), dim=1)
        seen = HISTORY
        while seen < HISTORY + horizon:
            end = HISTORY + horizon if together else seen + 1
            new = slice(seen, end)
            for now, then in pairwise(schedule(steps, self.model.config.time_shift).tolist()):
                out = self._pass(video[:, :end], led_to[:, :end], state[:, :end], seen, now)
                assert out.video_BTNC is not None and out.state_BTP is not None
                video[:, new] += (then - now) * out.video_BTNC[:, new]
                state[:, new] += (then - now) * out.state_BTP[:, new]
            seen = end
        layer = self.model.feature_layer
        out = self._pass(video, led_to, state, seen, 0.0, stop_after=layer)
        return video[:, HISTORY:], out.features[layer][:, HISTORY:]

    def _each(self, value: Tensor, candidates: int) -> Tensor:
        return repeat(value[0], "t ... -> k t ...", k=candidates)

    def _pass(
        self,
        video: Tensor,
        led_to: Tensor,
        state: Tensor,
        clean: int,
        time: float,
        stop_after: int | None = None,
    ) -> Output:
        """The network over all frames, of which the first `clean` are and the others at `time`."""
        candidates, count = video.shape[:2]
        network = self.model.config.network
        known = torch.ones(candidates, count, dtype=torch.bool)
        known[:, 0] = False
        told = conditions_at(network, led_to, known, 0.0)  # rows: clean, unknown
        if clean < count:
            told = _later_at(told, network, clean, time)
        anchor = anchors(video, torch.full((candidates,), clean))
        return self.model.network(  # type: ignore[no-any-return]
            Frames(video, anchor, led_to * known[..., None], state),
            told,
            feature_layers=(self.model.feature_layer,),
            stop_after=stop_after,
            keep_cache=False,
        )


def _later_at(told: Conditions, network: DiTConfig, clean: int, time: float) -> Conditions:
    """The same with the tokens of later frames, but for their actions', at another time."""
    assert told.row_BTM is not None
    times = torch.cat((told.timesteps_BTR, torch.full((1, 1, 1), time)), dim=-1)
    rows = told.row_BTM.clone()
    tokens = network.grid[0] * network.grid[1]
    rows[:, clean:, :tokens] = times.shape[-1] - 1
    rows[:, clean:, tokens + 1 :] = times.shape[-1] - 1
    return replace(told, timesteps_BTR=times, row_BTM=rows)


def flops(run: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and attention."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def count(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(q, k, v))  # type: ignore[no-untyped-call]

    with FlopCounterMode(display=False, custom_mapping={flash: count}) as counter:
        run()
    return int(counter.get_total_flops())


def seconds(*runs: Callable[[], object]) -> list[float]:
    """Median processor seconds of each, taking turns after a first one to warm up."""
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(TURNS + 1):
        for run, taken in zip(runs, times, strict=True):
            began = time.process_time()
            run()
            if turn:
                taken.append(time.process_time() - began)
    return [median(taken) for taken in times]


def history_bytes(model: WorldModel, context: Context, candidates: int) -> int:
    """Memory of the keys and values of history that the blocks are given while they imagine."""
    held: dict[int, int] = {}

    def watch(_: object, given: tuple[Any, ...]) -> None:
        for part in given[5]:
            held[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()

    handles = [block.register_forward_pre_hook(watch) for block in model.network.blocks]
    model.rollout(context, torch.zeros(1, candidates, HORIZON, model.action_spec.size))
    for handle in handles:
        handle.remove()
    return sum(held.values())


@torch.no_grad()
def compare() -> dict[str, Any]:
    """Both ways to roll out against the straightforward one."""
    torch.set_num_threads(1)
    keep_memory()
    model = WorldModel.from_pretrained("tabletop-small")
    spec, network = model.action_spec, model.config.network
    draw = torch.Generator().manual_seed(0)
    shape = (network.token_dim // 4, 2 * network.grid[0], 2 * network.grid[1])
    latents = torch.randn(1, HISTORY, *shape, generator=draw)
    led_to = torch.rand(1, HISTORY, spec.size, generator=draw) * 2 - 1
    states = torch.randn(1, HISTORY, network.state_dim, generator=draw)
    actions = spec.denormalize(
        torch.rand(1, CANDIDATES, HORIZON, spec.size, generator=draw) * 2 - 1
    )
    context = model.observe_latents(latents, led_to, states)
    plain = Straightforward(model, latents, led_to, states)
    found: dict[str, Any] = {
        "history_bytes": {k: history_bytes(model, context, k) for k in (1, CANDIDATES)}
    }
    for name, together in (("frame_after_frame", False), ("together", True)):

        def ours(together: bool = together) -> Rollout:
            streams = RowStreams(0, [0], 0)
            return model.rollout(context, actions, STEPS, together, streams)

        def straightforward(together: bool = together) -> tuple[Tensor, Tensor]:
            return plain.rollout(actions, STEPS, together)

        imagined, (video, features) = ours(), straightforward()
        assert imagined.features_BKHMD is not None
        difference = max(
            float((imagined.latents_BKHCHW[0] - unpatchify(video, 2, network.grid)).abs().max()),
            float((imagined.features_BKHMD[0] - features).abs().max()),
        )
        theirs_s, ours_s = seconds(straightforward, ours)
        theirs_flops, ours_flops = flops(straightforward), flops(ours)
        predicted = theirs_flops / ours_flops
        found[name] = {
            "seconds": round(ours_s, 4),
            "straightforward_seconds": round(theirs_s, 4),
            "speedup": round(theirs_s / ours_s, 2),
            "predicted_by_flops": round(predicted, 2),
            "against_flops": round(theirs_s / ours_s / predicted, 3),
            "greatest_difference": difference,
            "gflops_a_second": round(ours_flops / ours_s / 1e9, 1),
            "straightforward_gflops_a_second": round(theirs_flops / theirs_s / 1e9, 1),
        }
    return found


def large_model(name: str, device: torch.device) -> WorldModel:
    """Random weights at 256x320 as SD-VAE would encode it; nothing is decoded in a search."""
    size, words = preset(name), Vocabulary.of(["pick coke can"])
    network = DiTConfig(
        16,
        (16, 20),
        size.width,
        size.depth,
        size.heads,
        size.mlp_ratio,
        action_dim=RT1_ACTIONS.size,
        vocabulary=words.size,
    )
    config = WorldModelConfig(network, 2, (256, 320), HISTORY, RT1_ACTIONS, None, words)
    return WorldModel(config, Patches(8)).to(device).eval().requires_grad_(False)


def wall_seconds(run: Callable[[], object], device: torch.device) -> float:
    """Median of the time a run takes, after one that warms up."""
    taken = []
    for turn in range(6):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn:
            taken.append(time.perf_counter() - began)
    return median(taken)


@torch.no_grad()
def speed(name: str, device: torch.device, batch: int) -> dict[str, Any]:
    """Frames a second of one stream and of a batch, and seconds of a search."""
    model = large_model(name, device)
    if device.type == "cuda":
        model.compile_rollout()
    latents = torch.randn(1, HISTORY, 4, 32, 40, device=device)
    led_to = torch.zeros(1, HISTORY, RT1_ACTIONS.size, device=device)
    found: dict[str, Any] = {"preset": name, "history": HISTORY, "batch": batch}
    with computing("bf16", device):
        context = model.observe_latents(latents, led_to, instruction="pick coke can")
        for steps in (1, 2, 4):
            for kind, candidates in (("stream", 1), ("batch", batch)):
                actions = torch.zeros(1, candidates, HORIZON, RT1_ACTIONS.size)
                for way in (False, True):

                    def imagine(
                        actions: Tensor = actions, steps: int = steps, way: bool = way
                    ) -> Rollout:
                        return model.rollout(context, actions, steps, way)

                    key = f"{kind}_{'together' if way else 'frame_after_frame'}_{steps}_steps"
                    frames = candidates * HORIZON / wall_seconds(imagine, device)
                    found[f"{key}_frames_a_second"] = round(frames, 1)
        solver = CEM(
            model,
            lambda context, rollout: -model.progress(context, rollout).mean(dim=-1),
            candidates=batch,
            iterations=5,
            horizon=HORIZON,
            topk=max(batch // 8, 1),
        )
        search = wall_seconds(lambda: solver.plan(context), device)
    found[f"cem_{batch}x5x{HORIZON}_seconds"] = round(search, 3)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", help="time this one alone; XL where the device is a GPU")
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    device = torch.device(given.device)
    if given.preset or device.type == "cuda":
        found = speed(given.preset or "XL", device, given.batch)
    else:
        found = compare()
    print(json.dumps(found) if given.json else json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
