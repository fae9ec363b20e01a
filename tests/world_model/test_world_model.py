from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_world import (
    GRID,
    IMAGE,
    PATCH,
    VOCABULARY,
    A,
    N,
    P,
    candidate_actions,
    history,
    seeded,
    world_model,
)
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.model.dit import Conditions
from selfflow_robotics.model.tokens import Frames, patchify, unpatchify
from selfflow_robotics.storage.model_folder import write_model
from selfflow_robotics.world_model.values import Context, Rollout
from selfflow_robotics.world_model.world_model import WorldModel

B, S, K, H = 3, 2, 4, 4


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return world_model()


def observe(model: WorldModel, batch: int = B, count: int = S) -> Context:
    frames, actions, states = history(batch, count)
    known = states if model.state_spec else None
    return model.observe(frames, actions, "pick can", known)


def tensors(rollout: Rollout) -> list[Tensor]:
    assert rollout.states_BKHP is not None
    return [rollout.latents_BKHCHW, rollout.features_BKHMD, rollout.states_BKHP]


# -- imagine -------------------------------------------------------------------------------------


def imagined_without_cache(
    model: WorldModel,
    frames: np.ndarray,
    past_actions: np.ndarray,
    states: np.ndarray,
    actions_HA: Tensor,
    steps: int,
    stream: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """One candidate of one environment; each step sends the whole sequence through the network."""
    spec, state_spec = model.action_spec, model.state_spec
    assert state_spec is not None
    video = list(patchify(model.tokenizer.encode(frames), PATCH))
    state = list(state_spec.normalize(torch.from_numpy(states)))
    action = [
        torch.zeros(A),
        *spec.normalize(torch.cat((torch.from_numpy(past_actions), actions_HA))),
    ]
    shown = len(video)

    def network(video: list[Tensor], state: list[Tensor], t: float) -> Any:
        """The newest frame is at time t, the others are clean."""
        count = len(video)
        times = torch.zeros(1, count, N + 2)
        times[:, -1] = t
        times[:, :, N] = 0.0  # actions are known
        times[:, 0, N] = 1.0  # but that to the first frame
        known = torch.ones(1, count)
        known[:, 0] = 0.0
        led_to = torch.stack(action[:count])[None]
        anchor = torch.stack([torch.zeros_like(video[0]), *video[:-1]])[None]
        told = None
        if model.config.network.step_sizes:  # the newest frame hears how far it goes
            told = torch.zeros(1, count)
            told[:, -1] = (t > 0) / steps
        return model.network(
            Frames(torch.stack(video)[None], anchor, led_to, torch.stack(state)[None]),
            Conditions(times, action_BTA=led_to, action_known_BT=known, step_BT=told),
            feature_layers=(model.feature_layer,),
        )

    features = []
    for _ in range(len(actions_HA)):
        x = torch.randn(1, 1, *video[0].shape, generator=stream)[0, 0]
        p = torch.randn(1, 1, P, generator=stream)[0, 0]
        for i in range(steps, 0, -1):
            out = network([*video, x], [*state, p], i / steps)
            x, p = x - out.video_BTNC[0, -1] / steps, p - out.state_BTP[0, -1] / steps
        video.append(x)
        state.append(p)
        features.append(network(video, state, 0.0).features[model.feature_layer][0, -1])
    return (
        unpatchify(torch.stack(video[shown:]), PATCH, GRID),
        torch.stack(features),
        torch.stack(state[shown:]),
    )


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("step_sizes", [False, True])
@torch.no_grad()
def test_cached_rollout_equals_an_uncached_one(steps: int, step_sizes: bool) -> None:
    model = world_model(step_sizes=step_sizes)
    frames, past, states = history(B, S)
    actions = candidate_actions(B, K, H)
    streams = [seeded(10 + b) for b in range(B)]
    rollout = model.rollout(
        model.observe(frames, past, None, states), actions, steps, generator=streams
    )
    assert rollout.passes == B * K * H * (steps + 1)
    for b in range(B):
        for k in range(K):
            uncached = imagined_without_cache(
                model, frames[b], past[b], states[b], actions[b, k], steps, seeded(10 + b)
            )
            for cached, expected in zip(tensors(rollout), uncached, strict=True):
                torch.testing.assert_close(cached[b, k], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("frame", range(H - 1))
def test_frame_does_not_change_when_later_actions_do(model: WorldModel, frame: int) -> None:
    context, actions = observe(model), candidate_actions(B, K, H)
    changed = actions.clone()
    changed[:, :, frame + 1 :] = candidate_actions(B, K, H, seed=1)[:, :, frame + 1 :]
    before, after = model.rollout(context, actions), model.rollout(context, changed)
    for a, b in zip(tensors(before), tensors(after), strict=True):
        assert torch.equal(a[:, :, : frame + 1], b[:, :, : frame + 1])
        assert (a[:, :, frame + 1] - b[:, :, frame + 1]).abs().max() > 1e-4


def test_a_row_depends_neither_on_other_rows_nor_on_the_number_of_candidates(
    model: WorldModel,
) -> None:
    frames, past, states = history(B, S)
    actions = candidate_actions(B, K, H)
    words = ["pick can", "open top drawer", "pick apple"]
    streams = [seeded(b) for b in range(B)]
    together = model.rollout(
        model.observe(frames, past, words, states), actions, 2, generator=streams
    )
    for b in range(B):
        own = slice(b, b + 1)
        context = model.observe(frames[own], past[own], words[own], states[own])
        for k in range(K):
            alone = model.rollout(context, actions[own, k : k + 1], 2, generator=[seeded(b)])
            for one, many in zip(tensors(alone), tensors(together), strict=True):
                torch.testing.assert_close(one[0, 0], many[b, k], atol=1e-5, rtol=0)


def test_candidates_differ_by_their_actions_alone(model: WorldModel) -> None:
    actions = candidate_actions(B, 1, H).expand(-1, 2, -1, -1)
    for part in tensors(model.rollout(observe(model), actions)):
        torch.testing.assert_close(part[:, 0], part[:, 1], atol=1e-6, rtol=0)


def test_rollout_repeats_without_random_streams(model: WorldModel) -> None:
    actions = candidate_actions(B, K, H)
    first, second = (model.rollout(observe(model), actions) for _ in range(2))
    assert torch.equal(first.latents_BKHCHW, second.latents_BKHCHW)


def test_imagination_follows_history_actions_and_proprioception(model: WorldModel) -> None:
    frames, past, states = history(1, S)
    actions = candidate_actions(1, 1, 1)

    def imagined(frames: np.ndarray, past: np.ndarray, states: np.ndarray | None) -> Tensor:
        context = model.observe(frames, past, None, states)
        return model.rollout(context, actions).latents_BKHCHW

    plain = imagined(frames, past, states)
    older = frames.copy()
    older[:, 0] = 255 - older[:, 0]
    for other in (
        imagined(older, past, states),
        imagined(frames, past + 0.1, states),
        imagined(frames, past, states + 1),
        imagined(frames, past, None),
    ):
        assert (plain - other).abs().max() > 1e-3


def test_a_model_without_proprioception_works() -> None:
    model = world_model(states=False)
    rollout = model.rollout(observe(model), candidate_actions(B, K, H))
    assert rollout.states_BKHP is None
    assert model.decode(rollout).shape == (B, K, H, *IMAGE, 3)
    assert model.propose(observe(model), K, H).shape == (B, K, H, A)


def test_decoded_frames_are_images(model: WorldModel) -> None:
    rollout = model.rollout(observe(model), candidate_actions(B, K, H))
    for video in (model.decode(rollout), model.decode(rollout.latents_BKHCHW)):
        assert video.shape == (B, K, H, *IMAGE, 3)
        assert video.dtype == np.uint8


# -- propose -------------------------------------------------------------------------------------


def test_proposed_actions_are_inside_their_bounds(model: WorldModel) -> None:
    actions = model.propose(observe(model), 16, H)
    assert actions.shape == (B, 16, H, A)
    low, high = torch.tensor(RT1_ACTIONS.low), torch.tensor(RT1_ACTIONS.high)
    assert ((actions >= low) & (actions <= high)).all()


def test_proposals_repeat_with_their_streams_and_differ_among_candidates(model: WorldModel) -> None:
    def proposed(seed: int) -> Tensor:
        streams = [seeded(seed + b) for b in range(B)]
        return model.propose(observe(model), K, H, generator=streams)

    assert torch.equal(proposed(0), proposed(0))
    assert not torch.equal(proposed(0), proposed(9))
    assert (proposed(0)[:, 0] - proposed(0)[:, 1]).abs().max() > 1e-3


def test_proposals_of_a_row_do_not_depend_on_other_rows(model: WorldModel) -> None:
    frames, past, states = history(B, S)
    words = ["pick can", "open top drawer", "pick apple"]
    together = model.propose(
        model.observe(frames, past, words, states), K, H, generator=[seeded(b) for b in range(B)]
    )
    for b in range(B):
        own = slice(b, b + 1)
        context = model.observe(frames[own], past[own], words[b], states[own])
        alone = model.propose(context, K, H, generator=[seeded(b)])
        torch.testing.assert_close(alone[0], together[b], atol=1e-5, rtol=0)


def test_proposals_follow_the_instruction(model: WorldModel) -> None:
    frames, past, states = history(1, S)
    one, other = (
        model.propose(model.observe(frames, past, told, states), 1, 1)
        for told in ("pick can near apple", "pick apple near can")
    )
    assert (one - other).abs().max() > 1e-4


def test_a_guess_is_the_priors_of_the_last_frame(model: WorldModel) -> None:
    frames, past, states = history(B, S)
    context = model.observe(frames, past, "pick can", states)
    guess = model.guess(context, K, H)
    assert guess.shape == (B, K, H, A)
    assert torch.equal(guess[:, 0], guess[:, 1])
    assert torch.equal(guess[:, :, -1], guess[:, :, 1])  # the prior of the tests knows two steps
    last = model.observe(frames[:, -1:], past[:, :0], "pick can", states[:, -1:])
    torch.testing.assert_close(model.guess(last, K, H), guess)
    other = model.observe(frames, past, "open top drawer", states)
    assert not torch.equal(model.guess(other, K, H), guess)
    low, high = torch.tensor(RT1_ACTIONS.low), torch.tensor(RT1_ACTIONS.high)
    assert ((guess >= low) & (guess <= high)).all()


def test_reacting_is_guessing_without_history(model: WorldModel) -> None:
    frames, past, states = history(B, S)
    guess = model.guess(model.observe(frames, past, "pick can", states), 1, 1)[:, 0, 0]
    torch.testing.assert_close(model.react(frames[:, -1], "pick can", states[:, -1]), guess)
    blind = model.guess(model.observe(frames, past, "pick can"), 1, 1)[:, 0, 0]
    torch.testing.assert_close(model.react(frames[:, -1], "pick can"), blind)
    with pytest.raises(ValueError, match="frames have shape"):
        model.react(frames, "pick can")


def test_a_guess_needs_a_prior_and_an_instruction(model: WorldModel) -> None:
    frames, past, states = history(B, S)
    with pytest.raises(ValueError, match="policy prior, and an instruction"):
        model.guess(model.observe(frames, past, None, states), 1, 1)


# -- judge ---------------------------------------------------------------------------------------


def test_judgements_are_one_a_frame_and_in_range(model: WorldModel) -> None:
    context = observe(model)
    rollout = model.rollout(context, candidate_actions(B, K, H))
    progress = model.progress(context, rollout)
    assert progress.shape == (B, K, H)
    assert ((progress > 0) & (progress < 1)).all()
    frames, _, states = history(B, S)
    for known in (states[:, 0], None):
        goal = model.encode_goal(frames[:, 0], known)
        assert goal.shape == (B, N + 2, 32)
        steps = model.steps_to_goal(rollout, goal)
        assert steps.shape == (B, K, H)
        assert (steps >= 0).all()


def test_progress_depends_on_the_instruction_of_its_own_row(model: WorldModel) -> None:
    frames, past, states = history(2, S)
    frames[1], past[1], states[1] = frames[0], past[0], states[0]
    context = model.observe(frames, past, ["pick can", "open top drawer"], states)
    actions = candidate_actions(1, 1, 1).expand(2, -1, -1, -1)
    one, other = model.progress(context, model.rollout(context, actions)).flatten()
    assert abs((one - other).item()) > 1e-4


# -- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"frames": np.zeros((B, S, 8, 10, 4), np.uint8)}, r"frames has shape \(3, 2, 8, 10, 4\)"),
        (
            {"frames": np.full((B, S, *IMAGE, 3), 2.0, np.float32)},
            "float32 from 2 to 2; give uint8, or floats from 0 to 1",
        ),
        ({"frames": np.zeros((B, *IMAGE, 3), np.uint8)}, "frames have shape"),
        ({"frames": np.zeros((B, 4, *IMAGE, 3), np.uint8)}, "4 frames of history; give 1 to 3"),
        ({"frames": np.zeros((B, 0, *IMAGE, 3), np.uint8)}, "0 frames of history"),
        ({"past_actions": np.zeros((B, S, A), np.float32)}, r"2 frames need \(3, 1, 7\)"),
        ({"past_actions": np.zeros((B, S - 1, 6), np.float32)}, "past_actions has shape"),
        ({"states": np.zeros((B, S, 3), np.float32)}, r"states have shape .* give \(3, 2, 8\)"),
        ({"instruction": ["pick can"]}, "1 instructions for 3 rows; give one a row"),
        ({"instruction": "pick cam"}, 'not trained on the word "cam".*did you mean "can"'),
        ({"instruction": "pick " * 17}, "more than 16 words"),
    ],
)
def test_wrong_history_is_a_sentence(
    model: WorldModel, wrong: dict[str, Any], sentence: str
) -> None:
    frames, past, states = history(B, S)
    right = {"frames": frames, "past_actions": past, "states": states, "instruction": "pick can"}
    with pytest.raises(ValueError, match=sentence):
        model.observe(**{**right, **wrong})


@pytest.mark.parametrize("shape", [(B, K, H, 6), (B + 1, K, H, A), (B, H, A), (B, 0, H, A)])
def test_wrong_actions_are_a_sentence(model: WorldModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"actions have shape .*\(3, K, H, 7\)"):
        model.rollout(observe(model), torch.zeros(shape))


def test_a_missing_instruction_and_missing_streams_are_sentences(model: WorldModel) -> None:
    frames, past, states = history(B, S)
    untold = model.observe(frames, past, None, states)
    rollout = model.rollout(untold, candidate_actions(B, K, H))
    with pytest.raises(ValueError, match="progress needs an instruction"):
        model.progress(untold, rollout)
    with pytest.raises(ValueError, match="proposing actions needs an instruction"):
        model.propose(untold, K, H)
    with pytest.raises(ValueError, match="1 random streams for 3 rows"):
        model.rollout(untold, candidate_actions(B, K, H), generator=[seeded(0)])
    with pytest.raises(ValueError, match="float32 from 3 to 3; give uint8"):
        model.encode_goal(np.full((B, 4, 4, 3), 3.0, np.float32))


# -- on disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_sizes", [False, True])
def test_saved_model_comes_back_to_bfloat16(tmp_path: Path, step_sizes: bool) -> None:
    model = world_model(step_sizes=step_sizes)
    model.save_pretrained(str(tmp_path / "model"))
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    again = WorldModel.from_pretrained(str(tmp_path / "model"))
    assert again.config == model.config
    assert not again.training
    for name, value in model.state_dict().items():
        exact = name.startswith("tokenizer.") or "positions" in name
        rounded = value if exact else value.bfloat16().float()
        assert torch.equal(again.state_dict()[name], rounded), name
    # What is already rounded comes back bit for bit, and may replace what was there.
    again.save_pretrained(str(tmp_path / "model"))
    actions = candidate_actions(B, K, H)
    third = WorldModel.from_pretrained(str(tmp_path / "model"))
    a, b = (m.rollout(observe(m), actions).latents_BKHCHW for m in (again, third))
    assert torch.equal(a, b)


@pytest.fixture
def folder(model: WorldModel, tmp_path: Path) -> Path:
    model.save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_truncated_weights_are_a_sentence(folder: Path, size: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated.*copy it again"):
        WorldModel.from_pretrained(str(folder))


@pytest.mark.filterwarnings("ignore:.*has no checksum")
@pytest.mark.parametrize("change", ["lacking", "surplus", "other shape"])
def test_weights_that_do_not_fit_name_the_key(folder: Path, change: str) -> None:
    weights = folder / "model.safetensors"
    state = load_file(weights)
    if change == "surplus":
        state["network.other"] = torch.zeros(1)
    elif change == "lacking":
        del state["network.blocks.0.mlp.0.weight"]
    else:
        state["network.blocks.0.mlp.0.weight"] = torch.zeros(2, 2)
    save_file(state, weights)
    entries = json.loads((folder / "config.json").read_text())
    del entries["weights_sha256"]  # as older models are
    (folder / "config.json").write_text(json.dumps(entries))
    key = r"network\.other" if change == "surplus" else r"network\.blocks\.0\.mlp\.0\.weight"
    with pytest.raises(ValueError, match=rf"does not fit.*{key} is.*expected"):
        WorldModel.from_pretrained(str(folder))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not a model's configuration"),
        ("[1]", "is not a model's configuration"),
        ('{"architectures": ["Llama"]}', "holds a model of format None"),
    ],
)
def test_foreign_configuration_is_a_sentence(folder: Path, text: str, sentence: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        WorldModel.from_pretrained(str(folder))


@pytest.mark.parametrize("key", ["network", "tokenizer", "patch", "action_spec", "vocabulary"])
@pytest.mark.parametrize("value", ["lacking", None, 3])
def test_damaged_configuration_is_a_sentence(folder: Path, key: str, value: Any) -> None:
    entries = json.loads((folder / "config.json").read_text())
    if value == "lacking":
        del entries[key]
    else:
        entries[key] = value
    (folder / "config.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=r"config\.json lacks or has a wrong entry"):
        WorldModel.from_pretrained(str(folder))


def test_missing_model_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model .*nothing: give a folder"):
        WorldModel.from_pretrained(str(tmp_path / "nothing"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors"):
        WorldModel.from_pretrained(str(folder))


def test_saving_among_other_things_changes_nothing(model: WorldModel, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name, sentence in (("mine", "it holds thesis.tex"), ("file", "is a file")):
        with pytest.raises(FileExistsError, match=sentence):
            model.save_pretrained(str(tmp_path / name))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "mine", "thesis.tex"]


def test_a_save_that_fails_leaves_the_old_model_and_nothing_half_written(
    folder: Path, tmp_path: Path
) -> None:
    before = {p: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(TypeError):
        write_model(folder, {"not JSON": object()}, {})
    with pytest.raises(TypeError):
        write_model(tmp_path / "new", {"not JSON": object()}, {})
    assert {p: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_vocabulary_is_that_of_the_configuration(model: WorldModel) -> None:
    assert model.config.vocabulary == VOCABULARY
    assert model.history_len == 3
    assert model.image_size == IMAGE
    assert model.device == torch.device("cpu")
