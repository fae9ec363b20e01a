"""Every frame but the first of an episode is imagined once, 1 to 3 true actions ahead."""

from __future__ import annotations

import numpy as np
import torch
from tiny_world import latent_episodes, world_model

from selfflow_robotics.training.imagined_frames import imagined_frames


def test_frames_are_those_that_true_actions_lead_to() -> None:
    model, episodes = world_model(), latent_episodes((8, 2, 1, 6))
    assert episodes.states is not None and episodes.actions is not None
    dreamt = imagined_frames(model, episodes, ahead=3)
    found = dreamt.episodes
    changed = (np.asarray(found.latents) != np.asarray(episodes.latents)).any(axis=(1, 2, 3))
    firsts = set(episodes.offsets[:-1].tolist())
    assert set(np.flatnonzero(~changed).tolist()) == firsts
    assert dreamt.seen_from.tolist() == [0, 0, 0, 0, 3, 3, 3, 6, 8, 8, 10, 11, 11, 11, 11, 14, 14]
    assert found.states is not None and (found.states != episodes.states)[changed].any(axis=1).all()

    context = model.observe_latents(
        episodes.latents_at(np.array([3]))[:, None],
        torch.zeros(1, 1, 7),
        torch.from_numpy(episodes.states[[3]])[:, None],
        "pick can",
    )
    actions = model.action_spec.denormalize(torch.from_numpy(episodes.actions[4:7]))
    future = model.rollout(context, actions[None, None])
    assert future.states_BKHP is not None
    expected = future.latents_BKHCHW[0, 0].detach().half().float()
    torch.testing.assert_close(found.latents_at(np.arange(4, 7)), expected, atol=5e-3, rtol=1e-2)
    torch.testing.assert_close(
        torch.from_numpy(found.states[4:7]), future.states_BKHP[0, 0].detach(), atol=1e-4, rtol=1e-4
    )


def test_episodes_that_all_divide_leave_nothing_over() -> None:
    model, episodes = world_model(), latent_episodes((7, 4))
    changed = np.asarray(imagined_frames(model, episodes, ahead=3).episodes.latents) != np.asarray(
        episodes.latents
    )
    firsts = episodes.offsets[:-1].tolist()
    assert set(np.flatnonzero(~changed.any(axis=(1, 2, 3))).tolist()) == set(firsts)
