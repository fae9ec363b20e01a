"""Imagined frames whose proprioception kinematics say, and frames that see the last one alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_world import candidate_actions, cells_model, history, streams

from selfflow_robotics.planning.objectives.imagined import imagined
from selfflow_robotics.world_model.values import Rollout
from selfflow_robotics.world_model.world_model import WorldModel

MODELS = {
    "no attention": {"depth": 0},
    "attention": {"depth": 2},
    "history": {"depth": 2, "markov": False, "history_len": 3},
}


def model_of(kind: str) -> WorldModel:
    return cells_model(**MODELS[kind])  # type: ignore[arg-type]


def future(model: WorldModel, batch: int = 2, rows: slice = slice(None), **given: bool) -> Rollout:
    frames, past, states = (one[rows] for one in history(batch, model.history_len))
    context = model.observe(frames, past, "pick can", states)
    actions = candidate_actions(batch, 3, 4)[rows]
    return model.rollout(context, actions, generator=streams(batch)[rows], **given)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("together", [False, True])
def test_proprioception_is_that_of_kinematics_fed_on_from_frame_to_frame(
    kind: str, together: bool
) -> None:
    model = model_of(kind)
    found = future(model, together=together)
    assert model.state_spec is not None and found.states_BKHP is not None
    state = model.state_spec.normalize(torch.from_numpy(history(2, model.history_len)[2][:, -1]))
    state = state[:, None].expand(-1, 3, -1)
    for f, action in enumerate(model.action_spec.normalize(found.actions_BKHA).unbind(2)):
        state = model.network.next_state(state, action)
        torch.testing.assert_close(found.states_BKHP[:, :, f], state)


@pytest.mark.parametrize("kind", MODELS)
def test_rows_and_candidates_do_not_depend_on_each_other(kind: str) -> None:
    model = model_of(kind)
    both, second = future(model), future(model, rows=slice(1, 2))
    torch.testing.assert_close(both.latents_BKHCHW[1:], second.latents_BKHCHW)
    torch.testing.assert_close(both.states_BKHP[1:], second.states_BKHP)  # type: ignore[index]


@pytest.mark.parametrize("kind", ["no attention", "attention"])
def test_frame_is_imagined_from_the_last_one_alone(kind: str) -> None:
    model = model_of(kind)
    whole = future(model)
    assert whole.states_BKHP is not None and model.state_spec is not None
    context = model.observe(*history(2, 1)[:2], states=history(2, 1)[2])
    later = replace(
        context,
        anchor_BNC=_tokens(model, whole)[:, 0, 1],
        state_BP=whole.states_BKHP[:, 0, 1],
    )
    rest = model.rollout(later, whole.actions_BKHA[:, :1, 2:])
    torch.testing.assert_close(rest.latents_BKHCHW[:, 0], whole.latents_BKHCHW[:, 0, 2:])


def _tokens(model: WorldModel, rollout: Rollout) -> torch.Tensor:
    from selfflow_robotics.model.tokens import patchify

    return patchify(rollout.latents_BKHCHW, model.config.patch)


def test_no_pass_is_spent_on_features_that_nobody_reads() -> None:
    found = future(model_of("attention"))
    assert found.features_BKHMD is None and found.passes == 2 * 3 * 4
    with pytest.raises(ValueError, match="Progress reads features of its frames"):
        imagined(found, "features_BKHMD", "Progress")
    kept = future(model_of("history"))
    assert kept.features_BKHMD is not None and kept.passes == 2 * 2 * 3 * 4


def test_actions_are_followed_by_gradients() -> None:
    model = model_of("no attention")
    frames, past, states = history(1, 1)
    context = model.observe(frames, past, states=states)
    actions = candidate_actions(1, 2, 3).requires_grad_()
    model.rollout(context, actions).latents_BKHCHW[:, :, -1].sum().backward()
    assert actions.grad is not None and (actions.grad[:, :, 0] != 0).any()


@pytest.mark.parametrize("kind", MODELS)
def test_folder_keeps_what_it_imagines(kind: str, tmp_path: Path) -> None:
    model_of(kind).save_pretrained(str(tmp_path / "first"))
    model = WorldModel.from_pretrained(str(tmp_path / "first"))  # rounded, as folders store it
    model.save_pretrained(str(tmp_path / "second"))
    again = WorldModel.from_pretrained(str(tmp_path / "second"))
    torch.testing.assert_close(future(again).latents_BKHCHW, future(model).latents_BKHCHW)


def test_what_it_cannot_do_is_said() -> None:
    model = model_of("no attention")
    frames, past, states = history(1, 1)
    context = model.observe(frames, past, "pick can", states)
    rollout = model.rollout(context, candidate_actions(1, 2, 2))
    with pytest.raises(ValueError, match="cannot propose or refine actions: it only imagines"):
        model.propose(context, 2, 2)
    with pytest.raises(ValueError, match="cannot propose or refine"):
        model.refine(context, rollout.actions_BKHA, 0.5)
    with pytest.raises(ValueError, match="cannot tell progress"):
        model.progress(context, rollout)
    with pytest.raises(ValueError, match="cannot compare with a goal"):
        model.encode_goal(frames[:, 0], states[:, 0])
    with pytest.raises(ValueError, match="cannot infer actions"):
        model.infer_actions(history(1, 3)[0])
