from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from tiny_encoder import write_encoder
from tiny_world import IMAGE, VOCABULARY, candidate_actions, history, world_model

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE, ActionSpec, StateSpec
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.flow.objectives import FlowMatching, SelfFlow
from selfflow_robotics.flow.shortcut import Shortcut
from selfflow_robotics.model.modality import PUBLISHED
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig
from selfflow_robotics.training.recipe import (
    build_objective,
    build_world_model,
    load_tokenizer,
    start_from,
)
from selfflow_robotics.world_model.world_model import WorldModel


def build(preset: str = "tiny", vocabulary: Vocabulary = VOCABULARY) -> WorldModel:
    return build_world_model(
        ModelConfig(preset), Patches(2), IMAGE, RT1_ACTIONS, RT1_STATE, vocabulary
    )


def test_training_starts_from_what_fits_of_a_pretrained_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pretrained, model = build(vocabulary=Vocabulary(())), build()
    pretrained.save_pretrained(str(tmp_path))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    taken = start_from(model, tmp_path)
    given = {k: v for k, v in pretrained.state_dict().items() if not k.startswith("tokenizer.")}
    assert taken == sum(v.numel() for v in given.values())
    for name, value in model.state_dict().items():
        expected = given[name].bfloat16().float() if name in given else before[name]
        if "positions" not in name:
            assert torch.equal(value, expected), name
    assert "network.instruction.word.weight" in before
    assert "network.instruction.word.weight" not in given


def test_words_are_taken_over_only_where_they_are_the_same(tmp_path: Path) -> None:
    build(vocabulary=Vocabulary(("pick", "can"))).save_pretrained(str(tmp_path))
    same, other = (build(vocabulary=Vocabulary(w)) for w in (("pick", "can"), ("can", "pick")))
    before = other.network.instruction.word.weight.clone()  # type: ignore[union-attr]
    assert start_from(same, tmp_path) > start_from(other, tmp_path)
    assert torch.equal(other.network.instruction.word.weight, before)  # type: ignore[union-attr]


def test_a_start_of_another_size_is_a_sentence(tmp_path: Path) -> None:
    world_model().save_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match=r"no block of .* fits this network of width 64"):
        start_from(build(), tmp_path)


def test_images_that_do_not_divide_into_patches_are_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"latents of 4x6 do not divide into patches of 4; change"):
        build_world_model(
            ModelConfig("tiny", 4), Patches(2), IMAGE, RT1_ACTIONS, RT1_STATE, VOCABULARY
        )


def test_tokenizer_is_the_one_given_or_that_of_the_start(tmp_path: Path) -> None:
    stored.save(Patches(4), tmp_path / "tokenizer")
    world_model().save_pretrained(str(tmp_path / "model"))
    assert load_tokenizer(tmp_path / "model", tmp_path / "tokenizer").factor == 4
    found = load_tokenizer(tmp_path / "model", None)
    assert found.factor == 2
    assert not any(p.requires_grad for p in found.parameters())
    with pytest.raises(ValueError, match="there is no tokenizer: give tokenizer=FOLDER"):
        load_tokenizer(None, None)
    with pytest.raises(ValueError, match="there is no tokenizer"):
        load_tokenizer(tmp_path / "image.pt", None)


def test_objective_is_the_one_chosen() -> None:
    given = ObjectiveConfig(action_weight=0.5, representation=0.3)
    chosen = build_objective(given, 2, 1, Patches(2))
    assert isinstance(chosen, SelfFlow)
    assert chosen.weights["action"] == 0.5 and chosen.weights["representation"] == 0.3
    assert chosen.noising.mask_ratio == 0.1
    plain = build_objective(ObjectiveConfig("flow_matching"), 2, 0, Patches(2))
    assert type(plain) is FlowMatching
    assert (plain.noising.mask_ratio, plain.noising.min_prefix) == (0.0, 0)
    assert not plain.noising.per_frame and plain.noising.gap == 0


def test_each_objective_is_noised_and_weighted_as_published(tmp_path: Path) -> None:
    encoder = str(write_encoder(tmp_path / "encoder"))
    found = {
        name: build_objective(ObjectiveConfig(name, encoder=encoder), 2, 1, Patches(2))
        for name in get_args(get_type_hints(ObjectiveConfig)["name"])
    }
    assert {name: made.weights.get("representation") for name, made in found.items()} == {
        "self_flow": 0.8,
        "flow_matching": None,
        "diffusion_forcing": None,
        "sra": 0.2,
        "repa": 0.5,
    }
    for name, made in found.items():
        noising = made.noising
        assert noising.mask_ratio == (0.1 if name == "self_flow" else 0)
        assert noising.per_frame == (name == "diffusion_forcing")
        assert noising.gap == (0.2 if name == "sra" else 0)
    sizes = {
        name: sum(p.numel() for p in m.projector(1152).parameters()) for name, m in found.items()
    }
    # The head of the released checkpoint, and REPA's of three layers to the encoder's width.
    assert sizes["self_flow"] == sizes["sra"] == 5_311_872
    inner = 2048
    assert sizes["repa"] == 1153 * inner + (inner + 1) * inner + (inner + 1) * 24


def test_the_published_times_are_those_declared_of_video() -> None:
    made = build_objective(ObjectiveConfig(distribution="published"), 2, 1, Patches(2))
    times = made.noising.distribution
    assert (times.kind, times.shift) == ("logit-normal", 2.95)
    assert made.noising.mask_ratio == PUBLISHED["video"].mask_ratio == 0.1


def test_large_steps_are_learnt_on_top_of_an_objective_where_that_is_chosen() -> None:
    made = build_objective(ObjectiveConfig(shortcut=0.25), 2, 1, Patches(2))
    assert isinstance(made, Shortcut) and isinstance(made.base, SelfFlow)
    assert made.noising.shortcut == 0.25 and made.weights["representation"] == 0.8
    sizes = ModelConfig("tiny"), Patches(2), IMAGE, RT1_ACTIONS, RT1_STATE, VOCABULARY
    told, plain = build_world_model(*sizes, step_sizes=True), build_world_model(*sizes)
    assert told.network.conditioning.step is not None and plain.network.conditioning.step is None


def test_a_model_that_learns_steps_starts_as_one_that_was_not_told_of_them(tmp_path: Path) -> None:
    pretrained = world_model()
    pretrained.save_pretrained(str(tmp_path))
    model = WorldModel(world_model(step_sizes=True).config, Patches(2)).eval()
    taken = start_from(model, tmp_path)
    assert taken == sum(
        v.numel()
        for k, v in pretrained.state_dict().items()
        if not k.startswith(("tokenizer.", "prior."))
    )
    reference = WorldModel.from_pretrained(str(tmp_path))
    frames, actions, states = history(2, 3)
    candidates = candidate_actions(2, 3, 2)
    one, other = (
        m.rollout(m.observe(frames, actions, states=states), candidates, steps=2)
        for m in (model, reference)
    )
    assert torch.equal(one.latents_BKHCHW, other.latents_BKHCHW)
    assert one.states_BKHP is not None and other.states_BKHP is not None
    assert torch.equal(one.states_BKHP, other.states_BKHP)


def test_a_start_that_knows_large_steps_does_not_lose_them_unsaid(tmp_path: Path) -> None:
    world_model(step_sizes=True).save_pretrained(str(tmp_path))
    assert start_from(world_model(1, step_sizes=True), tmp_path)
    with pytest.raises(ValueError, match=r"large steps, which would be lost; add objective=short"):
        start_from(world_model(1), tmp_path)


def test_repa_without_an_encoder_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"add objective\.encoder=FOLDER"):
        build_objective(ObjectiveConfig("repa"), 2, 1, Patches(2))


def test_an_unknown_objective_is_a_sentence() -> None:
    with pytest.raises(ValueError, match='no "selfflow"; did you mean "self_flow"'):
        ObjectiveConfig("selfflow")
    with pytest.raises(ValueError, match='no timestep distribution "normal"'):
        build_objective(ObjectiveConfig(distribution="normal"), 2, 1, Patches(2))  # type: ignore[arg-type]


def other_robot(entries: int) -> ActionSpec:
    return ActionSpec(
        names=tuple(f"joint{i}" for i in range(entries)),
        units=("rad",) * entries,
        frame="joints",
        rotation="none",
        gripper="none",
        rate_hz=15.0,
        low=(-1.0,) * entries,
        high=(1.0,) * entries,
        q01=(-1.0,) * entries,
        q99=(1.0,) * entries,
    )


@pytest.mark.parametrize("entries", [2, 7, 14])
@pytest.mark.parametrize("older", [False, True])
def test_a_model_of_video_becomes_one_of_any_robot(
    tmp_path: Path, entries: int, older: bool
) -> None:
    """Older ones name the actions of RT-1, which they never saw."""
    specs = (RT1_ACTIONS, RT1_STATE) if older else (None, None)
    sizes = ModelConfig("tiny"), Patches(2), IMAGE
    video = build_world_model(*sizes, *specs, Vocabulary(()))
    video.save_pretrained(str(tmp_path))
    robot = build_world_model(*sizes, other_robot(entries), None, VOCABULARY)
    assert start_from(robot, tmp_path) > 0
    blocks = video.network.blocks.state_dict()
    for name, value in robot.network.blocks.state_dict().items():
        assert torch.equal(value, blocks[name].bfloat16().float()), name


def test_actions_that_were_learned_must_mean_the_same(tmp_path: Path) -> None:
    model = build()
    torch.nn.init.ones_(model.network.conditioning.action[-1].weight)  # type: ignore[index,arg-type]
    model.save_pretrained(str(tmp_path))
    sizes = ModelConfig("tiny"), Patches(2), IMAGE
    robot = build_world_model(*sizes, other_robot(7), RT1_STATE, VOCABULARY)
    with pytest.raises(ValueError, match="mean different things: names "):
        start_from(robot, tmp_path)


def test_a_model_of_video_says_that_it_knows_no_actions(tmp_path: Path) -> None:
    sizes = ModelConfig("tiny"), Patches(2), IMAGE
    build_world_model(*sizes, None, None, Vocabulary(())).save_pretrained(str(tmp_path))
    model = WorldModel.from_pretrained(str(tmp_path))
    frames = np.zeros((1, 1, *IMAGE, 3), np.uint8)
    with pytest.raises(ValueError, match="pretrained on video and never saw an action"):
        model.observe(frames, np.zeros((1, 0, 7), np.float32))


def test_proprioception_of_another_meaning_is_not_taken_over(tmp_path: Path) -> None:
    build().save_pretrained(str(tmp_path))
    renamed = StateSpec(tuple(f"joint{i}" for i in range(RT1_STATE.size)))
    sizes = ModelConfig("tiny"), Patches(2), IMAGE
    robot = build_world_model(*sizes, RT1_ACTIONS, renamed, VOCABULARY)
    before = robot.network.tokens_in.state.weight.clone()  # type: ignore[union-attr]
    start_from(robot, tmp_path)
    assert torch.equal(robot.network.tokens_in.state.weight, before)  # type: ignore[union-attr]
