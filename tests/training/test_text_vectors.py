"""Captions as a frozen text encoder's vectors, and a network that is told them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoder import write_encoder
from tiny_text_encoder import WIDTH, write_clip, write_t5
from tiny_world import FACTOR, IMAGE, PATCH, streams

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.latents.encoding import encode_episodes
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.flow.noising import Noising
from selfflow_robotics.flow.objectives import FlowMatching, SelfFlow
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, TrainerConfig
from selfflow_robotics.training.recipe import build_world_model, start_from
from selfflow_robotics.training.text_vectors import TextEncoder, tell_vectors
from selfflow_robotics.training.trainer import Trainer
from selfflow_robotics.world_model.world_model import WorldModel

TEXTS = ["a cat", "the dog runs far away", "", "cat a", "rain", *(f"{a} rain" for a in "abcdefgh")]


def write_clip_text(folder: Path) -> Path:
    return write_clip(folder, whole=False)


@pytest.fixture(params=[write_t5, write_clip, write_clip_text], ids=["t5", "clip", "clip-text"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> TextEncoder:
    write: Callable[[Path], Path] = request.param
    return TextEncoder(str(write(tmp_path / "encoder")))


def test_a_text_has_its_vector_whatever_it_comes_with(encoder: TextEncoder) -> None:
    assert encoder.width == WIDTH
    together = encoder.encode([*TEXTS, TEXTS[0]], "cpu")
    assert together.shape == (len(TEXTS) + 1, WIDTH)
    assert np.array_equal(together[0], together[-1])
    backwards = encoder.encode(TEXTS[::-1], "cpu")[::-1]
    alone = np.concatenate([encoder.encode([text], "cpu") for text in TEXTS])
    for found in (backwards, alone):
        np.testing.assert_allclose(found, together[:-1], atol=1e-5)
    assert not together[2].any()
    told = np.delete(together[:-1], 2, axis=0)
    np.testing.assert_allclose(told.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(told.std(axis=1), 1, atol=1e-3)
    apart = np.abs(told[:, None] - told[None]).max(axis=-1) + np.eye(len(told))
    assert apart.min() > 1e-3


def test_vectors_are_the_mean_of_the_last_hidden_state(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = write_t5(tmp_path / "encoder")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(["the dog"], return_tensors="pt")
    model = transformers.T5EncoderModel.from_pretrained(folder).eval()
    with torch.no_grad():
        mean = model(**tokens).last_hidden_state.mean(dim=1)
    expected = (mean - mean.mean()) / mean.std(correction=0)
    found = TextEncoder(str(folder)).encode(["the dog"], "cpu")
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


def test_a_long_text_is_cut(encoder: TextEncoder) -> None:
    made = encoder.encode(["a b " * 2000, "a b " * 3000], "cpu")
    assert np.isfinite(made).all() and np.array_equal(made[0], made[1])


def test_what_is_no_text_model_is_a_sentence(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "dinov2")
    with pytest.raises(ValueError, match=r"text_encoder=.*dinov2 cannot be used .* a text model"):
        TextEncoder(str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="cannot be used"):
        TextEncoder(str(tmp_path / "empty"))
    whole = write_t5(tmp_path / "t5")
    (whole / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be used"):
        TextEncoder(str(whole)).encode(["a"], "cpu")


def video(caption: str, number: int) -> Episode:
    """Grey that becomes bright, or dark, as the caption says."""
    step = {"bright": 40, "dark": -40}[caption]
    levels = 128 + step * np.arange(4)
    images = np.broadcast_to(levels[:, None, None, None], (4, *IMAGE, 3)).clip(0, 255)
    return Episode(
        images=images.astype(np.uint8),
        actions=None,
        states=None,
        instructions=(caption,) * 4,
        success=None,
        source="video",
        id=f"{caption}/{number}",
    )


@pytest.fixture
def videos() -> LatentEpisodes:
    made = [video(caption, i) for i in range(4) for caption in ("bright", "dark")]
    return encode_episodes(made, Patches(FACTOR))


@pytest.fixture
def told(videos: LatentEpisodes, tmp_path: Path) -> LatentEpisodes:
    encoder = TextEncoder(str(write_t5(tmp_path / "encoder")))
    return tell_vectors(videos, encoder, tmp_path / "captions.npz", "cpu")


def test_vectors_are_made_once_a_run(videos: LatentEpisodes, tmp_path: Path) -> None:
    encoder = TextEncoder(str(write_t5(tmp_path / "encoder")))
    kept = tmp_path / "training" / "captions.npz"
    first = tell_vectors(videos, encoder, kept, "cpu").vectors
    assert first is not None and first.shape == (2, WIDTH)
    (tmp_path / "encoder" / "model.safetensors").unlink()
    again = TextEncoder(str(tmp_path / "encoder"))
    assert np.array_equal(tell_vectors(videos, again, kept, "cpu").vectors, first)
    other = TextEncoder(str(write_clip(tmp_path / "other")))
    with pytest.raises(ValueError, match=r"begun with text_encoder=.*encoder, whose vectors"):
        tell_vectors(videos, other, kept, "cpu")
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"captions.npz is truncated or damaged"):
        tell_vectors(videos, again, kept, "cpu")


def test_clips_are_told_and_without_a_caption_nothing(told: LatentEpisodes) -> None:
    assert told.vectors is not None
    clips = told.clips(np.array([0, 4]), 3)
    assert clips.text_BTE is not None and clips.text_BTE.shape == (2, 3, WIDTH)
    for row, caption in enumerate(("bright", "dark")):
        expected = told.vectors[told.texts.tolist().index(caption)]
        assert np.array_equal(clips.text_BTE[row, 2].numpy(), expected)
    nothing = replace(told, texts=np.array(["", ""]))
    encoder = TextEncoder.__new__(TextEncoder)
    encoder.name = "t5"
    with pytest.raises(ValueError, match=r"no caption for text_encoder=t5 .* NAME.txt beside"):
        tell_vectors(nothing, encoder, Path("nowhere"), "cpu")


def model(text_dim: int = WIDTH) -> WorldModel:
    torch.manual_seed(0)
    return build_world_model(
        ModelConfig(preset="tiny", patch=PATCH),
        Patches(FACTOR),
        IMAGE,
        RT1_ACTIONS,
        RT1_STATE,
        Vocabulary(()),
        text_encoder="t5" if text_dim else None,
        text_dim=text_dim,
    )


CONFIG = TrainerConfig(
    steps=60,
    batch_size=8,
    frames=3,
    warmup=5,
    learning_rate=3e-3,
    ema=0.9,
    save_every=60,
    precision="fp32",
)
NOISING = Noising(TimestepDistribution(shift=5.0), 0.0, min_prefix=0)


def test_the_network_learns_to_use_captions(told: LatentEpisodes, tmp_path: Path) -> None:
    objective = FlowMatching(NOISING, PATCH)
    trained = Trainer(model(), objective, told, CONFIG, tmp_path / "run").fit()
    assert trained is not None
    network = trained.network
    clips = told.clips(np.arange(0, 32, 4).repeat(8), 3)
    always = FlowMatching(replace(NOISING, text_drop=0.0), PATCH)
    assert clips.text_BTE is not None
    swapped = replace(clips, text_BTE=clips.text_BTE.roll(8, dims=0))
    unsaid = replace(clips, text_BTE=torch.zeros_like(clips.text_BTE))
    losses = []
    with torch.no_grad():
        for given in (clips, swapped, unsaid):
            noised = always.noise(given, streams(64))
            losses.append(float(always(network, network, torch.nn.Identity(), noised).total))
    true, false, none = losses
    assert true < 0.9 * none and true < 0.5 * false, losses


class PowerFailureError(Exception):
    """Ends training as if it were killed."""


def kill(trained: WorldModel, step: int) -> dict[str, float]:
    if step == 3:
        raise PowerFailureError
    return {}


def test_training_with_captions_resumes_bit_for_bit(told: LatentEpisodes, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=6, save_every=3)
    objective = SelfFlow(replace(NOISING, mask_ratio=0.1), PATCH)
    whole = Trainer(model(), objective, told, config, tmp_path / "whole")
    assert whole.fit() is not None
    broken = Trainer(model(), objective, told, config, tmp_path / "broken", kill)
    with pytest.raises(PowerFailureError):
        broken.fit()
    broken.checkpoints.wait()
    resumed = Trainer(model(), objective, told, config, tmp_path / "broken")
    assert resumed.fit() is not None
    expected, found = whole.state.tensors(), resumed.state.tensors()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert any(value.any() for name, value in found.items() if "conditioning.text" in name)


def test_new_text_says_nothing_yet_and_adds_one_matrix() -> None:
    with_text, without = model(), model(0)
    count = [sum(p.numel() for p in m.network.parameters()) for m in (with_text, without)]
    assert count[0] - count[1] == WIDTH * with_text.config.network.width
    names = with_text.state_dict().keys() - without.state_dict().keys()
    assert names == {"network.conditioning.text.weight"}
    assert not with_text.network.state_dict()["conditioning.text.weight"].any()


@pytest.mark.parametrize("encoder", ["t5", "another"])
def test_what_captions_say_is_taken_over_from_the_same_encoder_alone(
    tmp_path: Path, encoder: str
) -> None:
    given = model()
    torch.nn.init.ones_(given.network.get_parameter("conditioning.text.weight"))
    given.config = replace(given.config, text_encoder=encoder)
    given.save_pretrained(str(tmp_path / "given"))
    taking = model()
    start_from(taking, tmp_path / "given")
    taken = taking.network.get_parameter("conditioning.text.weight")
    assert bool(taken.any()) == (encoder == "t5")
