from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from tiny_world import C, N, cells_model, clips, randn, streams, without_actions, world_model
from torch import Tensor, nn

from selfflow_robotics.flow.noising import NoisedClips, Noising, View
from selfflow_robotics.flow.objectives import (
    FlowMatching,
    Repa,
    SelfFlow,
    Sra,
    velocity_losses,
)
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.model.dit import Conditions, DiT, Output
from selfflow_robotics.model.heads import ProjectionHead
from selfflow_robotics.model.tokens import Frames, patchify

PATCH = 2
NOISING = Noising(TimestepDistribution(), mask_ratio=0.3)
SEED = 3  # clips of every use, some of which are told their instruction


class Colours:
    """Stands where a frozen encoder would: linear features of a token's latents."""

    width = 7

    def __call__(self, latents_BTCHW: Tensor) -> Tensor:
        return patchify(latents_BTCHW, PATCH) @ randn(C, self.width, seed=5)


def objectives() -> dict[str, FlowMatching]:
    """Each objective, noising clips in its own way."""
    plain = replace(NOISING, mask_ratio=0.0)
    return {
        "flow_matching": FlowMatching(plain, PATCH),
        "diffusion_forcing": FlowMatching(replace(plain, per_frame=True), PATCH),
        "self_flow": SelfFlow(NOISING, PATCH),
        "sra": Sra(replace(plain, gap=0.2), PATCH),
        "repa": Repa(plain, PATCH, Colours()),
    }


OBJECTIVES = list(objectives())


def networks() -> tuple[DiT, DiT, ProjectionHead]:
    """A student, a teacher that differs from it, and a projector."""
    torch.manual_seed(0)
    return world_model(0).network.train(), world_model(1).network, ProjectionHead(32)


@pytest.mark.parametrize("name", ["self_flow", "sra", "repa"])
def test_network_without_attention_is_for_another_objective(name: str) -> None:
    objective, network = objectives()[name], cells_model().network
    noised = objective.noise(clips(), streams(6))
    projector = objective.projector(32)
    with pytest.raises(ValueError, match="objective=unrolled"):
        objective(network, network, projector, noised)


def test_representation_loss_reaches_the_early_student_and_the_projector_only() -> None:
    student, teacher, projector = networks()
    silent = {"video": 0.0, "proprioception": 0.0, "action": 0.0}
    objective = SelfFlow(NOISING, PATCH, {**silent, "representation": 1.0})
    noised = objective.noise(clips(), streams(6))
    objective(student, teacher, projector, noised).total.backward()  # type: ignore[no-untyped-call]

    def moved(module: nn.Module) -> bool:
        return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())

    # Of three blocks the first is at a depth of 0.3 and the second at 0.7.
    assert [moved(block) for block in student.blocks] == [True, False, False]
    assert moved(student.tokens_in) and moved(student.conditioning) and moved(projector)
    assert not moved(student.tokens_out)
    assert all(p.grad is None for p in teacher.parameters())


def test_self_flow_equals_its_formula() -> None:
    student, teacher, projector = networks()
    weights = {"action": 0.5, "proprioception": 0.2}
    objective = SelfFlow(NOISING, PATCH, {**weights, "representation": 0.8})
    noised = objective.noise(clips(), streams(6, seed=SEED))
    assert noised.told_BT.any()
    losses = objective(student, teacher, projector, noised)
    seen = noised.telling(noised.student, student.encode_instruction)
    out = student(seen.frames, seen.conditions, feature_layers=(1, 2))
    # The teacher is the EMA of the whole network: it encodes the instruction itself.
    seen = noised.telling(noised.teacher, teacher.encode_instruction)
    cleaner = teacher(seen.frames, seen.conditions, feature_layers=(2,))

    early, late = projector(out.features[1]), cleaner.features[2]
    cosine = (early * late).sum(dim=-1) / (early.norm(dim=-1) * late.norm(dim=-1))

    def error(predicted: Tensor, true: Tensor, where: Tensor) -> Tensor:
        return ((predicted - true)[where] ** 2).mean()

    assert noised.velocity["action"] is not None and noised.velocity["proprioception"] is not None
    expected = (
        error(out.video_BTNC, noised.velocity["video"], noised.counts_BT["video"])
        + 0.2
        * error(
            out.state_BTP, noised.velocity["proprioception"], noised.counts_BT["proprioception"]
        )
        + 0.5 * error(out.action_BTA, noised.velocity["action"], noised.counts_BT["action"])
        + 0.8 * (1 - cosine.mean())
    )
    torch.testing.assert_close(losses.total, expected, atol=1e-5, rtol=1e-5)
    assert losses.measured["cosine"].item() == pytest.approx(cosine.mean().item(), abs=1e-5)
    spread = late.reshape(-1, 32).std(dim=0).mean()
    assert losses.measured["target_spread"].item() == pytest.approx(spread.item(), rel=1e-4)
    torch.testing.assert_close(losses.features_BTMD, out.features[2])
    assert torch.equal(losses.clean_BT, noised.clean_BT)


def test_velocity_loss_equals_a_hand_computed_one() -> None:
    # Two frames of one token with two values; the first frame is history.
    mask = torch.tensor([[False, True]])
    view = View(Frames(torch.zeros(1, 2, 1, 2)), Conditions(torch.zeros(1, 2, 1)))
    noised = NoisedClips(
        student=view,
        teacher=view,
        latents_BTCHW=torch.zeros(1, 2, 2, 1, 1),
        velocity={
            "video": torch.tensor([[[[9.0, 9.0]], [[1.0, 2.0]]]]),
            "proprioception": torch.tensor([[[7.0], [2.0]]]),
            "action": torch.tensor([[[5.0], [1.0]]]),
        },
        counts_BT={"video": mask, "proprioception": mask, "action": ~mask & mask},
        clean_BT=~mask,
        told_BT=mask,
    )
    zero = world_model().network(Frames(torch.zeros(1, 1, 6, C)), Conditions(torch.zeros(1, 1, 1)))
    out = Output(
        torch.tensor([[[[0.0, 0.0]], [[0.0, 4.0]]]]),
        torch.zeros(1, 2, 1),
        torch.tensor([[[0.0], [5.0]]]),
        {},
        zero.cache,
    )
    counts = FlowMatching(NOISING, PATCH).counts(noised)
    losses = velocity_losses(out, noised, counts)
    assert {k: float(v) for k, v in losses.items()} == {
        "video": pytest.approx((1.0 + 4.0) / 2),
        "proprioception": pytest.approx(9.0),
        "action": 0.0,
    }


def test_clean_and_unknown_tokens_count_in_no_loss() -> None:
    student, _, _ = networks()
    objective = FlowMatching(NOISING, PATCH)
    noised = objective.noise(clips(16), streams(16))
    out = student(noised.student.frames, noised.student.conditions)
    wrong = replace(
        out,
        video_BTNC=out.video_BTNC + 100 * ~noised.counts_BT["video"][..., None, None],
        state_BTP=out.state_BTP + 100 * ~noised.counts_BT["proprioception"][..., None],
        action_BTA=out.action_BTA + 100 * ~noised.counts_BT["action"][..., None],
    )
    right_losses, wrong_losses = (
        velocity_losses(shown, noised, objective.counts(noised)) for shown in (out, wrong)
    )
    for name, loss in right_losses.items():
        assert torch.equal(loss, wrong_losses[name])
    for mask in noised.counts_BT.values():
        assert not (mask & ~(noised.counts_BT["video"] | noised.counts_BT["action"])).any()
        assert not (mask & noised.clean_BT).any()


def test_flow_matching_is_self_flow_without_representation_and_second_timestep() -> None:
    student, teacher, projector = networks()
    plain = replace(NOISING, mask_ratio=0.0)
    one, other = (
        objective(student, teacher, projector, objective.noise(clips(), streams(6)))
        for objective in (
            FlowMatching(plain, PATCH),
            SelfFlow(plain, PATCH, {"representation": 0.0}),
        )
    )
    assert torch.equal(one.total, other.total)
    assert all(torch.equal(other.parts[name], value) for name, value in one.parts.items())


def test_losses_of_general_video_are_of_video_alone() -> None:
    student, teacher, projector = networks()
    objective = SelfFlow(replace(NOISING, min_prefix=0), PATCH)
    noised = objective.noise(without_actions(clips()), streams(6))
    losses = objective(student, teacher, projector, noised)
    assert set(losses.parts) == {"video", "representation"}
    assert torch.isfinite(losses.total)


def test_unweighted_loss_is_the_sum_of_its_parts() -> None:
    student, teacher, projector = networks()
    objective = FlowMatching(NOISING, PATCH)
    losses = objective(student, teacher, projector, objective.noise(clips(), streams(6)))
    assert set(losses.parts) == {"video", "proprioception", "action"}
    assert losses.total.item() == pytest.approx(sum(map(float, losses.parts.values())), rel=1e-5)


def test_sra_is_smooth_l1_between_layers_of_student_and_cleaner_teacher() -> None:
    student, teacher, projector = networks()
    objective = objectives()["sra"]
    noised = objective.noise(clips(), streams(6, seed=SEED))
    assert noised.told_BT.any()
    losses = objective(student, teacher, projector, noised)
    told = noised.telling(noised.student, student.encode_instruction)
    early = projector(student(told.frames, told.conditions, feature_layers=(1,)).features[1])
    told = noised.telling(noised.teacher, teacher.encode_instruction)
    late = teacher(told.frames, told.conditions, feature_layers=(2,)).features[2]
    far = (early - late).abs()
    # Smooth L1: half a parabola up to beta, then as steep as it is there.
    expected = torch.where(far < 0.05, far**2 / (2 * 0.05), far - 0.05 / 2).mean()
    assert losses.parts["representation"].item() == pytest.approx(expected.item(), rel=1e-4)
    velocity = sum(v for k, v in losses.parts.items() if k != "representation")
    torch.testing.assert_close(losses.total, velocity + 0.2 * expected)


def test_repa_compares_video_tokens_alone_with_features_of_clean_frames() -> None:
    student, teacher, _ = networks()
    objective = objectives()["repa"]
    projector = objective.projector(32)
    given = clips()
    noised = objective.noise(given, streams(6, seed=SEED))
    assert noised.told_BT.any()
    losses = objective(student, teacher, projector, noised)
    told = noised.telling(noised.student, student.encode_instruction)
    features = student(told.frames, told.conditions, feature_layers=(1,)).features[1]
    assert features.shape[2] == N + 2
    early, clean = projector(features[:, :, :N]), Colours()(given.latents_BTCHW)
    cosine = (early * clean).sum(dim=-1) / (early.norm(dim=-1) * clean.norm(dim=-1))
    assert cosine.shape == (6, 5, N)
    found = losses.parts["representation"].item()
    assert found == pytest.approx(1 - cosine.mean().item(), rel=1e-4)
    velocity = sum(v for k, v in losses.parts.items() if k != "representation")
    torch.testing.assert_close(losses.total, velocity + 0.5 * losses.parts["representation"])


def test_features_or_a_projector_that_do_not_fit_are_a_sentence() -> None:
    class TooFew(Colours):
        def __call__(self, latents_BTCHW: Tensor) -> Tensor:
            return super().__call__(latents_BTCHW)[:, :, :1]

    student, teacher, _ = networks()
    plain = replace(NOISING, mask_ratio=0.0)
    for objective, head, sentence in (
        (Repa(plain, PATCH, TooFew()), Repa(plain, PATCH, TooFew()).projector(32), "video tokens"),
        (SelfFlow(plain, PATCH), nn.Linear(32, 1), "use the projector of this objective"),
    ):
        noised = objective.noise(clips(), streams(6))
        with pytest.raises(ValueError, match=sentence):
            objective(student, teacher, head, noised)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_fp32_where_the_networks_compute_in_bf16(name: str) -> None:
    student, teacher, _ = networks()
    objective = objectives()[name]
    projector, noised = objective.projector(32), objective.noise(clips(), streams(6))
    exact = objective(student, teacher, projector, noised)
    with torch.autocast("cpu", torch.bfloat16):
        rough = objective(student, teacher, projector, noised)
    for key, value in rough.parts.items():
        assert value.dtype == torch.float32, key
        assert value.item() == pytest.approx(exact.parts[key].item(), rel=0.05), key


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_of_parts_add_up_to_those_of_the_whole_batch(name: str) -> None:
    student, teacher, _ = networks()
    objective = objectives()[name]
    projector = objective.projector(32)
    given, rows = clips(), streams(6)
    whole = objective.noise(given, rows)
    counts = objective.counts(whole)
    expected = objective(student, teacher, projector, whole)
    found = dict.fromkeys(expected.parts, 0.0)
    total = 0.0
    # Parts of unequal size, whose masks count unequally many frames.
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        noised = objective.noise(given.rows(part), streams(6)[part])
        losses = objective(student, teacher, projector, noised, counts)
        total += losses.total.item()
        for key, value in losses.parts.items():
            found[key] += value.item()
    assert total == pytest.approx(expected.total.item(), rel=1e-5)
    for key, value in expected.parts.items():
        assert found[key] == pytest.approx(value.item(), rel=1e-5), key


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_falls_on_one_batch(name: str) -> None:
    student, _, _ = networks()
    teacher = copy.deepcopy(student)
    objective = objectives()[name]
    projector = objective.projector(32)
    optimizer = torch.optim.Adam([*student.parameters(), *projector.parameters()], lr=3e-3)
    given, found = clips(), []
    for _ in range(30):
        losses = objective(student, teacher, projector, objective.noise(given, streams(6)))
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append({name: value.item() for name, value in losses.parts.items()})
    for part in found[0]:
        assert found[-1][part] < 0.7 * found[0][part], part


def test_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    student, teacher, projector = networks()
    given = clips()
    objective = SelfFlow(NOISING, PATCH)
    weight = student.blocks[0].mlp[0].weight  # type: ignore[index,union-attr]
    assert isinstance(weight, Tensor)

    def loss() -> Tensor:
        noised = objective.noise(given, streams(6, seed=3))
        return objective(student, teacher, projector, noised).total

    (gradient,) = torch.autograd.grad(loss(), weight)
    direction = gradient / gradient.norm()
    h = 1e-2
    with torch.no_grad():
        weight += h * direction
        above = loss()
        weight -= 2 * h * direction
        below = loss()
    assert float((above - below) / (2 * h)) == pytest.approx(gradient.norm().item(), rel=1e-2)
