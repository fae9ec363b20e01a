from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_world import IMAGE, VOCABULARY, world_model

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.flow.objectives import SelfFlow
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig
from selfflow_robotics.training.recipe import (
    build_objective,
    build_world_model,
    load_tokenizer,
    start_from,
)
from selfflow_robotics.world_model import WorldModel


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
    chosen = build_objective(ObjectiveConfig(action_weight=0.5, representation=0.3), 2, 1)
    assert isinstance(chosen, SelfFlow)
    assert chosen.weights["action"] == 0.5 and chosen.weights["representation"] == 0.3
    assert chosen.noising.mask_ratio == 0.1
    plain = build_objective(ObjectiveConfig("flow_matching"), 2, 0)
    assert plain.name == "flow_matching"
    assert (plain.noising.mask_ratio, plain.noising.min_prefix) == (0.0, 0)
