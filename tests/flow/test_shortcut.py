from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from tiny_world import PATCH, clips, streams, without_actions, world_model
from torch import Tensor, nn

from selfflow_robotics.data.clips import Clips
from selfflow_robotics.flow.noising import INVERSE, POLICY, WORLD, NoisedClips, Noising
from selfflow_robotics.flow.objectives import FlowMatching, SelfFlow
from selfflow_robotics.flow.samplers import schedule, steps_along
from selfflow_robotics.flow.shortcut import Shortcut, with_half_steps
from selfflow_robotics.flow.timesteps import STEP_SIZES, TimestepDistribution, draw_step
from selfflow_robotics.model.dit import Conditions, DiT, DiTConfig
from selfflow_robotics.model.heads import ProjectionHead
from selfflow_robotics.model.tokens import Frames

SHIFT = 5.0
NOISING = Noising(TimestepDistribution(shift=SHIFT), mask_ratio=0.3, shortcut=1.0)


def told_network(seed: int = 0) -> DiT:
    """A network that can be told its step, and in which every weight matters."""
    return world_model(seed, step_sizes=True).network.train()


def only(use: int, **more: object) -> Noising:
    """Noising for one use alone, proprioception always known."""
    uses = tuple(float(use == which) for which in (WORLD, POLICY, INVERSE))
    return replace(NOISING, uses=uses, state_drop=0.0, **more)  # type: ignore[arg-type]


def start_and_ends(noised: NoisedClips) -> list[list[float]]:
    """The times of the start, the middle and the end of each clip's step."""
    times = noised.student.conditions.timesteps_BTR[..., 0].amax(dim=1).tolist()
    found = []
    for now, step in zip(times, noised.steps, strict=True):
        fine = schedule(round(2 / step), SHIFT).tolist()
        at = min(range(len(fine)), key=lambda i: abs(fine[i] - now))
        assert fine[at] == pytest.approx(now, abs=1e-6)
        found.append(fine[at : at + 3])
    return found


def test_target_of_a_linear_velocity_is_what_two_steps_make_of_it_by_hand() -> None:
    # A network that begins from the anchor has the velocity x - anchor at every time.
    teacher = DiT(replace(world_model().config.network, step_sizes=True))
    teacher.start_from_anchor()
    noised = FlowMatching(only(WORLD), PATCH).noise(clips(16), streams(16))
    aimed = with_half_steps(teacher, noised, SHIFT)
    frames = noised.student.frames
    assert frames.anchor_BTNC is not None and set(noised.steps) == set(STEP_SIZES)
    for row, (now, middle, end) in enumerate(start_and_ends(noised)):
        where = noised.counts_BT["video"][row]
        apart = (frames.video_BTNC - frames.anchor_BTNC)[row][where]
        after = apart * (1 + middle - now) * (1 + end - middle)
        torch.testing.assert_close(
            aimed.velocity["video"][row][where], (after - apart) / (end - now), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("use", [WORLD, POLICY, INVERSE])
def test_target_is_where_a_sampler_comes_to_in_two_steps_of_the_teacher(use: int) -> None:
    teacher = told_network()
    noised = FlowMatching(only(use), PATCH).noise(clips(12), streams(12))
    aimed = with_half_steps(teacher, noised, SHIFT)
    for row, (now, middle, end) in enumerate(start_and_ends_of(noised, use)):
        one = rows_of(noised, row)
        view = one.telling(one.student, teacher.encode_instruction)
        frames, conditions = view.frames, view.conditions
        half = noised.steps[row] / 2
        told = conditions.step_BT
        assert told is not None
        conditions = replace(conditions, step_BT=(told > 0) * (half if half >= 1 / 8 else 0.0))
        start = frames
        for a, b in ((now, middle), (middle, end)):
            noisy = conditions.timesteps_BTR.clone()
            noisy[..., :3] = torch.where(noisy[..., :3] > 0, a, 0.0)
            out = teacher(frames, replace(conditions, timesteps_BTR=noisy))
            moved = {}
            for name, value in frames.values():
                mask = one.counts_BT[name]
                mask = mask.view(*mask.shape, *(1,) * (value.dim() - 2))
                moved[name] = value + torch.where(mask, (b - a) * out.of(name), 0.0)
            frames = frames.with_values(moved)
        for name, value in frames.values():
            mask = one.counts_BT[name]
            speed = (value - start.of(name)) / (end - now)
            target = aimed.velocity[name][row][mask[0]]
            torch.testing.assert_close(target, speed[0][mask[0]], atol=2e-4, rtol=2e-4)


def start_and_ends_of(noised: NoisedClips, use: int) -> list[list[float]]:
    """As `start_and_ends`; of inverse dynamics the actions alone have a time."""
    if use == INVERSE:
        times = noised.student.conditions.timesteps_BTR.clone()
        times[..., 0] = times[..., 2]
        conditions = replace(noised.student.conditions, timesteps_BTR=times)
        noised = replace(noised, student=replace(noised.student, conditions=conditions))
    return start_and_ends(noised)


def rows_of(noised: NoisedClips, row: int) -> NoisedClips:
    """One clip of a batch."""

    def cut(value: object) -> object:
        if isinstance(value, Tensor):
            return value[row : row + 1]
        if hasattr(value, "__dataclass_fields__"):
            return replace(value, **{k: cut(v) for k, v in vars(value).items()})  # type: ignore[type-var]
        if isinstance(value, dict):
            return {name: cut(part) for name, part in value.items()}
        return value

    return cut(noised)  # type: ignore[return-value]


def test_clips_without_a_step_learn_as_ever() -> None:
    teacher, given = told_network(), clips(12)
    noised = FlowMatching(replace(NOISING, shortcut=0.5), PATCH).noise(given, streams(12))
    plain = FlowMatching(replace(NOISING, shortcut=0.0), PATCH).noise(given, streams(12))
    aimed = with_half_steps(teacher, noised, SHIFT)
    usual = [row for row, step in enumerate(noised.steps) if not step]
    assert 0 < len(usual) < 12 and plain.steps == ()
    for one, other in ((noised, plain), (aimed, plain)):
        assert torch.equal(one.velocity["video"][usual], other.velocity["video"][usual])
        shown, known = one.student, other.student
        assert torch.equal(shown.frames.video_BTNC[usual], known.frames.video_BTNC[usual])
        assert torch.equal(
            shown.conditions.timesteps_BTR[usual], known.conditions.timesteps_BTR[usual]
        )
    steps = noised.student.conditions.step_BT
    assert steps is not None and not steps[usual].any() and not steps[noised.clean_BT].any()
    assert plain.student.conditions.step_BT is None


def test_steps_are_those_of_a_sampler() -> None:
    drawn = [draw_step(0.25, SHIFT, torch.Generator().manual_seed(seed)) for seed in range(4000)]
    taken = [(step, start) for step, start in drawn if step]
    assert len(taken) / len(drawn) == pytest.approx(0.25, abs=0.025)
    for size in STEP_SIZES:
        starts = [start for step, start in taken if step == size]
        assert len(starts) / len(taken) == pytest.approx(0.25, abs=0.05)
        steps = steps_along(round(1 / size), SHIFT)
        assert {round(start, 5) for start in starts} == {round(step.now, 5) for step in steps}
        assert [step.size for step in steps] == [pytest.approx(size, abs=1e-5)] * len(steps)


def test_general_video_learns_steps_too() -> None:
    teacher = told_network()
    objective = Shortcut(SelfFlow(replace(NOISING, min_prefix=0), PATCH))
    noised = objective.noise(without_actions(clips()), streams(6))
    student = told_network(1)
    losses = objective(student, teacher, ProjectionHead(32), noised)
    assert set(losses.parts) == {"video", "representation"} and torch.isfinite(losses.total)


def test_a_batch_in_which_no_clip_steps_is_that_of_the_base() -> None:
    student, teacher, projector = told_network(0), told_network(1), ProjectionHead(32)
    base = SelfFlow(replace(NOISING, shortcut=1e-9), PATCH)
    noised = base.noise(clips(), streams(6))
    assert not any(noised.steps)
    one, other = (made(student, teacher, projector, noised) for made in (base, Shortcut(base)))
    assert torch.equal(one.total, other.total)


def test_losses_of_parts_add_up_to_those_of_the_whole_batch() -> None:
    student, teacher, projector = told_network(0), told_network(1), ProjectionHead(32)
    objective = Shortcut(SelfFlow(replace(NOISING, shortcut=0.5), PATCH))
    given = clips(6)
    whole = objective.noise(given, streams(6))
    assert 0 < sum(map(bool, whole.steps)) < 6
    counts = objective.counts(whole)
    expected = objective(student, teacher, projector, whole)
    parts = []
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        noised = objective.noise(given.rows(part), streams(6)[part])
        parts.append(objective(student, teacher, projector, noised, counts).parts)
    for name, value in expected.parts.items():
        found = sum(part[name].item() for part in parts)
        assert found == pytest.approx(value.item(), rel=1e-5), name


def test_losses_are_fp32_and_the_teacher_learns_nothing() -> None:
    student, teacher, projector = told_network(0), told_network(1), ProjectionHead(32)
    objective = Shortcut(FlowMatching(replace(NOISING, mask_ratio=0.0), PATCH))
    noised = objective.noise(clips(), streams(6))
    with torch.autocast("cpu", torch.bfloat16):
        losses = objective(student, teacher, projector, noised)
    assert all(part.dtype == torch.float32 for part in losses.parts.values())
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in teacher.parameters())
    step = student.conditioning.step
    assert step is not None and all(p.grad is not None and p.grad.any() for p in step.parameters())


def test_a_network_that_cannot_be_told_its_step_is_a_sentence() -> None:
    network = world_model().network
    noised = FlowMatching(NOISING, PATCH).noise(clips(), streams(6))
    with pytest.raises(ValueError, match="built without step sizes"):
        with_half_steps(network, noised, SHIFT)
    plain = FlowMatching(replace(NOISING, shortcut=0.0), PATCH).noise(clips(), streams(6))
    with pytest.raises(ValueError, match="shortcut above 0"):
        with_half_steps(network, plain, SHIFT)


@pytest.mark.slow
def test_one_step_learns_to_draw_where_the_mean_is_all_that_one_step_of_a_flow_gives() -> None:
    """Frames are -1 or 1 with equal chances; their mean, which no frame is, is 0."""
    torch.manual_seed(0)
    size = 8
    spec = DiTConfig(size, (1, 1), 32, 2, 2)

    def train(share: float) -> float:
        student = DiT(replace(spec, step_sizes=share > 0))
        teacher = copy.deepcopy(student)
        noising = Noising(TimestepDistribution(), mask_ratio=0.0, min_prefix=0, shortcut=share)
        base = FlowMatching(noising, 1)
        objective = Shortcut(base) if share else base
        optimizer = torch.optim.Adam(student.parameters(), lr=4e-3)
        for step in range(500):
            for group in optimizer.param_groups:
                group["lr"] = 4e-3 * (1 - step / 500)
            sign = torch.randint(2, (64, 1, 1, 1, 1)) * 2.0 - 1
            given = Clips(sign.expand(-1, 1, size, 1, 1))
            noised = objective.noise(given, streams(64, seed=step))
            loss = objective(student, teacher, nn.Identity(), noised).total
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            decay = min(0.98, (1 + step) / (10 + step))
            for own, other in zip(teacher.parameters(), student.parameters(), strict=True):
                own.data.lerp_(other.data, 1 - decay)
        noise = torch.randn(256, 1, 1, size)
        told = torch.ones(1, 1) if share else None
        with torch.no_grad():
            frames = Frames(noise, torch.zeros_like(noise))
            out = teacher(frames, Conditions(torch.ones(1, 1, 1), step_BT=told))
        return float((noise - out.video_BTNC).mean(dim=-1).abs().mean())

    assert train(0.0) < 0.3
    assert train(0.5) > 0.75
