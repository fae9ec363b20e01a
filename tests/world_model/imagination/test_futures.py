from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_world import GRID, PATCH, A, N, candidate_actions, history, seeded, streams, world_model
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.flow.noising import anchors
from selfflow_robotics.model.dit import Conditions
from selfflow_robotics.model.tokens import Frames, patchify, unpatchify
from selfflow_robotics.world_model.imagination import memory
from selfflow_robotics.world_model.values import Context, Rollout
from selfflow_robotics.world_model.world_model import WorldModel

B, S, K, H = 2, 3, 4, 3
WAYS = [False, True]


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return world_model()


def observe(model: WorldModel, instruction: str | None = "pick can") -> Context:
    frames, actions, states = history(B, S)
    return model.observe(frames, actions, instruction, states)


def tensors(rollout: Rollout) -> list[Tensor]:
    assert rollout.states_BKHP is not None
    return [rollout.latents_BKHCHW, rollout.features_BKHMD, rollout.states_BKHP]


def assert_same(one: Rollout, other: Rollout, atol: float = 1e-5) -> None:
    for a, b in zip(tensors(one), tensors(other), strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=0)


# -- both ways -----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2])
@torch.no_grad()
def test_frames_imagined_together_equal_a_training_clip_with_a_clean_prefix(
    model: WorldModel, steps: int
) -> None:
    """One row and candidate at a time, history sent through the network in each pass."""
    assert model.state_spec is not None
    frames, past, states = history(B, S)
    actions = candidate_actions(B, K, H)
    rollout = model.rollout(
        model.observe(frames, past, None, states), actions, steps, True, streams(B)
    )
    assert rollout.passes == B * K * H * (steps + 1)
    for b in range(B):
        stream = streams(B)[b]
        noise = [
            (torch.randn(N, 48, generator=stream), torch.randn(8, generator=stream))
            for _ in range(H)
        ]
        seen = patchify(model.tokenizer.encode(frames[b]), PATCH)
        known = model.state_spec.normalize(torch.from_numpy(states[b]))
        for k in range(K):
            acted = torch.cat((torch.from_numpy(past[b]), actions[b, k]))
            led_to = torch.cat((torch.zeros(1, A), model.action_spec.normalize(acted)))[None]
            video = torch.cat((seen, torch.stack([v for v, _ in noise])))[None]
            state = torch.cat((known, torch.stack([p for _, p in noise])))[None]
            is_known = torch.tensor([[0.0] + [1.0] * (S + H - 1)])
            prefix = torch.tensor([S])
            for i in range(steps, -1, -1):
                times = torch.zeros(1, S + H, N + 2)
                times[:, S:] = i / steps
                times[:, :, N] = 1 - is_known
                anchor = anchors(video, prefix if i else torch.tensor([S + H]))
                out = model.network(
                    Frames(video, anchor, led_to, state),
                    Conditions(times, action_BTA=led_to, action_known_BT=is_known),
                    feature_layers=(model.feature_layer,),
                )
                if i:
                    video[:, S:] -= out.video_BTNC[:, S:] / steps
                    state[:, S:] -= out.state_BTP[:, S:] / steps
            expected = (
                unpatchify(video[0, S:], PATCH, GRID),
                out.features[model.feature_layer][0, S:],
                state[0, S:],
            )
            for found, value in zip(tensors(rollout), expected, strict=True):
                torch.testing.assert_close(found[b, k], value, atol=1e-4, rtol=0)


def test_a_single_frame_is_the_same_both_ways(model: WorldModel) -> None:
    context, actions = observe(model), candidate_actions(B, 1, 1)
    one, other = (model.rollout(context, actions, 2, way, streams(B)) for way in WAYS)
    assert_same(one, other)
    assert one.latents_BKHCHW.shape[:3] == (B, 1, 1)


@pytest.mark.parametrize("together", WAYS)
def test_a_longer_future_begins_as_a_shorter_one(model: WorldModel, together: bool) -> None:
    context, actions = observe(model), candidate_actions(B, K, H)
    long = model.rollout(context, actions, 1, together, streams(B))
    short = model.rollout(context, actions[:, :, :1], 1, together, streams(B))
    for a, b in zip(tensors(long), tensors(short), strict=True):
        torch.testing.assert_close(a[:, :, :1], b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("together", WAYS)
def test_a_history_of_one_frame_as_after_a_reset_will_do(model: WorldModel, together: bool) -> None:
    frames, past, states = history(B, 1)
    context = model.observe(frames, past, "pick can", states)
    rollout = model.rollout(context, candidate_actions(B, K, H), 1, together)
    assert all(part.isfinite().all() and part.shape[:3] == (B, K, H) for part in tensors(rollout))
    assert model.propose(context, K, H).isfinite().all()


def test_rollout_tells_the_actions_it_was_asked_for(model: WorldModel) -> None:
    actions = candidate_actions(B, K, H).double() * 100  # beyond what is normal
    assert torch.equal(model.rollout(observe(model), actions).actions_BKHA, actions.float())


def test_no_steps_are_a_sentence(model: WorldModel) -> None:
    with pytest.raises(ValueError, match="1 to 10000 steps"):
        model.rollout(observe(model), candidate_actions(B, K, H), 0)


@pytest.mark.parametrize("together", WAYS)
def test_bfloat16_imagines_nearly_the_same(model: WorldModel, together: bool) -> None:
    context, actions = observe(model), candidate_actions(B, K, H)
    exact = model.rollout(context, actions, 2, together)
    with torch.autocast("cpu", torch.bfloat16):
        # History may have been encoded in either.
        for told in (context, observe(model)):
            rough = model.rollout(told, actions, 2, together)
            error = (rough.latents_BKHCHW - exact.latents_BKHCHW).abs().mean()
            assert 0 < error < 0.05 * exact.latents_BKHCHW.abs().mean()


@pytest.mark.slow
def test_compiled_rollouts_are_the_same_but_for_rounding() -> None:
    plain, compiled = world_model(), world_model()
    compiled.compile_rollout()
    for candidates, together in ((1, False), (K, False), (K + 1, True)):
        actions = candidate_actions(B, candidates, H)
        one, other = (
            m.rollout(observe(m), actions, 2, together, streams(B)) for m in (plain, compiled)
        )
        assert_same(one, other)


# -- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("together", WAYS)
def test_rollout_is_differentiable_in_the_actions(model: WorldModel, together: bool) -> None:
    context, actions = observe(model), candidate_actions(B, K, H)
    goal = model.encode_goal(history(B, S, seed=5)[0][:, 0])

    def cost(actions: Tensor) -> Tensor:
        rollout = model.rollout(context, actions, 2, together)
        parts = [
            *tensors(rollout),
            model.progress(context, rollout),
            model.steps_to_goal(rollout, goal),
        ]
        return sum((part.double().mean() for part in parts), torch.zeros(()).double())

    actions.requires_grad_()
    (gradient,) = torch.autograd.grad(cost(actions), actions)
    direction = torch.randn(actions.shape, generator=seeded(3))
    step = 3e-3
    with torch.no_grad():
        assert not cost(actions).requires_grad
        change = (cost(actions + step * direction) - cost(actions - step * direction)) / (2 * step)
    assert (gradient * direction).sum() == pytest.approx(float(change), rel=0.02)
    assert (gradient.abs().amax(dim=-1) > 0).all()  # of every candidate and step


def test_values_are_the_same_with_gradients(model: WorldModel) -> None:
    context, actions = observe(model), candidate_actions(B, K, H)
    for together in WAYS:
        without = model.rollout(context, actions, 2, together)
        assert not any(part.requires_grad for part in tensors(without))
        kept = model.rollout(context, actions.clone().requires_grad_(), 2, together)
        assert_same(kept, without)


# -- memory --------------------------------------------------------------------------------------


def test_history_is_held_once_however_many_candidates(model: WorldModel) -> None:
    context = observe(model)
    held = {part.data_ptr() for layer in context.cache.layers for part in layer}
    network = model.config.network
    assert (
        sum(part.untyped_storage().nbytes() for layer in context.cache.layers for part in layer)
        == 4 * 2 * network.depth * B * S * (N + 2) * network.width
    )
    seen: list[set[int]] = []

    def watch(_: object, given: tuple[object, ...]) -> None:
        shared = given[5]
        assert isinstance(shared, tuple)
        assert all(part.shape[0] == B for part in shared)
        seen.append({part.data_ptr() for part in shared})

    handles = [block.register_forward_pre_hook(watch) for block in model.network.blocks]
    try:
        for candidates in (1, 32):
            model.rollout(context, candidate_actions(B, candidates, H))
            model.propose(context, candidates, H)
    finally:
        for handle in handles:
            handle.remove()
    assert seen and set.union(*seen) == held


def test_results_do_not_depend_on_the_parts(
    model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, actions = observe(model), candidate_actions(B, K, H)

    def everything() -> list[Tensor]:
        return [
            *tensors(model.rollout(context, actions, 2, generator=streams(B))),
            *tensors(model.rollout(context, actions, 2, True, streams(B))),
            model.propose(context, K, H, generator=streams(B)),
            model.refine(context, actions, 0.5, generator=streams(B)),
        ]

    at_once = everything()
    each = memory.bytes_each(model.config.network, H, 1)
    for free in (0, 3 * each / memory.SHARE, 7 * each / memory.SHARE):
        monkeypatch.setattr(memory, "available", lambda device, free=free: free)
        for part, whole in zip(everything(), at_once, strict=True):
            torch.testing.assert_close(part, whole, atol=1e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("together", WAYS)
def test_a_gpu_imagines_as_the_processor_does(model: WorldModel, together: bool) -> None:
    actions = candidate_actions(B, K, H)
    expected = model.rollout(observe(model), actions, 2, together)
    on_gpu = world_model().to("cuda")
    found = on_gpu.rollout(observe(on_gpu), actions, 2, together)
    for a, b in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=1e-3, rtol=0)
    with torch.autocast("cuda", torch.bfloat16):  # other kernels of attention
        rough = on_gpu.rollout(observe(on_gpu), actions, 2, together)
    error = (rough.latents_BKHCHW.cpu() - expected.latents_BKHCHW).abs().mean()
    assert error < 0.05 * expected.latents_BKHCHW.abs().mean()


# -- refine --------------------------------------------------------------------------------------


def refined(model: WorldModel, time: float, seed: int = 0) -> Tensor:
    return model.refine(
        observe(model), candidate_actions(B, K, H), time, generator=streams(B, seed)
    )


def test_refining_moves_actions_the_more_the_later_it_starts(model: WorldModel) -> None:
    actions = candidate_actions(B, K, H)
    moved = [(refined(model, time) - actions).abs().mean() for time in (0.0, 0.2, 0.6, 1.0)]
    low, high = (torch.tensor(bound) for bound in (RT1_ACTIONS.low, RT1_ACTIONS.high))
    assert moved[0] < moved[1] < moved[2] < moved[3]
    assert ((refined(model, 1.0) >= low) & (refined(model, 1.0) <= high)).all()


def test_refining_from_the_start_of_time_keeps_the_actions(model: WorldModel) -> None:
    spec = RT1_ACTIONS
    kept = spec.denormalize(spec.normalize(candidate_actions(B, K, H)))
    torch.testing.assert_close(refined(model, 0.0), kept)


def test_refinement_of_a_row_is_its_own(model: WorldModel) -> None:
    frames, past, states = history(B, S)
    assert torch.equal(refined(model, 0.5), refined(model, 0.5))
    assert not torch.equal(refined(model, 0.5), refined(model, 0.5, seed=1))
    for b in range(B):
        own = slice(b, b + 1)
        context = model.observe(frames[own], past[own], "pick can", states[own])
        alone = model.refine(
            context, candidate_actions(B, K, H)[own], 0.5, generator=[streams(B)[b]]
        )
        torch.testing.assert_close(alone[0], refined(model, 0.5)[b], atol=1e-5, rtol=0)


def test_refinement_looks_at_what_the_actions_lead_to(model: WorldModel) -> None:
    frames, past, states = history(B, S)
    older = model.observe(frames, past, "pick can", states)
    other = replace(older, anchor_BNC=older.anchor_BNC + 0.5)
    actions = candidate_actions(B, K, H)
    one, two = (model.refine(context, actions, 0.5) for context in (older, other))
    assert (one - two).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda m: m.refine(observe(m), torch.zeros(B, K, A), 0.5), "actions have shape"),
        (lambda m: m.refine(observe(m), torch.zeros(B, K, H, A), 1.5), "time is 1.5"),
        (lambda m: m.refine(observe(m, None), torch.zeros(B, K, H, A), 0.5), "an instruction"),
        (lambda m: m.refine(observe(m), torch.zeros(B, K, H, A), 0.5, 0), "1 to 10000 steps"),
        (lambda m: m.propose(observe(m), 0, H), "0 candidates"),
        (lambda m: m.propose(observe(m), K, 0), "of 0 steps"),
    ],
)
def test_wrong_wishes_are_sentences(
    model: WorldModel, ask: Callable[[WorldModel], object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        ask(model)
