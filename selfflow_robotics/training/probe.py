"""Fits a linear probe of the state: ridge regression from the features of clean frames."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from ..data.clips import LatentEpisodes
from ..data.episode import Dataset
from ..data.fitted import fitted
from ..data.latents.encoding import encode_episodes
from ..data.split import SIDES, Fewer, OneSide, Side
from ..model.tokens import patchify
from ..world_model.clean_frames import clean_pass
from ..world_model.probe import StateProbe, network_digest, seen_by_probe
from ..world_model.world_model import WorldModel

_AHEAD = 4  # frames after the history in a clip, as many as plans look ahead
_BATCH = 64  # clips
_VARIES = 1e-6  # variance of a normalised entry below which there is nothing to read


def fit_probe(
    world_model: WorldModel, train: LatentEpisodes, held_out: LatentEpisodes, ridge: float = 1e-3
) -> StateProbe:
    """Closed form, in float64, on standardised features and states.

    Frames are seen as planning sees those that it imagines: after a history, with the actions that
    led to them and with proprioception.

    Args:
        train: encoded with the statistics of the world model's specifications.
        held_out: the same, of other episodes: what the explained variances are measured on.
        ridge: penalty, as a share of each standardised feature's variance.

    Raises:
        ValueError: the model knows no proprioception, the episodes have none or no actions, or are
            all shorter than a clip.
    """
    spec = world_model.state_spec
    if spec is None:
        raise ValueError(
            "this world model knows no proprioception and cannot say what its entries mean; "
            "fine-tune one on episodes that have it"
        )
    seen_SF, state_SP = probe_rows(world_model, train)
    tested_SF, truth_SP = probe_rows(world_model, held_out)
    mean_F, std_F = seen_SF.mean(dim=0), seen_SF.std(dim=0).clamp(min=1e-6)
    middle_P = state_SP.mean(dim=0)
    standard_SF = (seen_SF - mean_F) / std_F
    gram_FF = standard_SF.T @ standard_SF
    gram_FF.diagonal().add_(ridge * len(standard_SF))
    weight_FP = torch.linalg.solve(gram_FF, standard_SF.T @ (state_SP - middle_P)) / std_F[:, None]
    bias_P = middle_P - mean_F @ weight_FP

    left_P = (tested_SF @ weight_FP + bias_P - truth_SP).square().mean(dim=0)
    spread_P = truth_SP.var(dim=0, correction=0)
    explained = [
        1 - float(left / spread) if spread > _VARIES else None
        for left, spread in zip(left_P, spread_P, strict=True)
    ]
    scale_P, offset_P = (torch.tensor(v, dtype=torch.float64) for v in (spec.std, spec.mean))
    return StateProbe(
        names=spec.names,
        image_tokens=world_model.config.network.modalities[0].tokens,
        weight_FP=(weight_FP * scale_P).float(),
        bias_P=(bias_P * scale_P + offset_P).float(),
        network=network_digest(world_model),
        held_out_r2=tuple(explained),
    )


@torch.no_grad()
def probe_rows(world_model: WorldModel, episodes: LatentEpisodes) -> tuple[Tensor, Tensor]:
    """What a probe sees (S, F) of frames that follow a history, and their states (S, P), float64.

    Raises:
        ValueError: the episodes have no actions or states, or are all too short.
    """
    if episodes.actions is None or episodes.states is None:
        raise ValueError("a probe of the state needs episodes with actions and proprioception")
    history = world_model.config.history_len
    starts = episodes.starts(history + _AHEAD)[::_AHEAD]
    if not len(starts):
        raise ValueError(
            f"no episode has the {history + _AHEAD} frames that a probe is fitted to; collect "
            "longer ones"
        )
    image_tokens = world_model.config.network.modalities[0].tokens
    rows: list[Tensor] = []
    for chosen in tqdm(np.array_split(starts, -(-len(starts) // _BATCH)), desc="features"):
        clips = episodes.clips(chosen, history + _AHEAD)
        assert clips.action_BTA is not None and clips.state_BTP is not None
        features_BTMD = clean_features(
            world_model, clips.latents_BTCHW, clips.action_BTA, clips.state_BTP
        )
        seen = seen_by_probe(features_BTMD[:, history:].float(), image_tokens)
        rows.append(rearrange(seen, "b t f -> (b t) f").double().cpu())
    index = starts[:, None] + history + np.arange(_AHEAD)
    return torch.cat(rows), torch.from_numpy(episodes.states[index.ravel()]).double()


def clean_features(
    world_model: WorldModel, latents_BTCHW: Tensor, led_to_BTA: Tensor, state_BTP: Tensor
) -> Tensor:
    """Features (B, T, M, D) of clean frames; the action that led to the first is not known."""
    device, layer = world_model.device, world_model.feature_layer
    latents = latents_BTCHW.to(device, world_model.dtype)
    video = patchify(latents, world_model.config.patch)
    led_to, state = led_to_BTA.to(device), state_BTP.to(device)
    out = clean_pass(world_model.network, video, led_to, state, layer, features_alone=True)
    return out.features[layer]


def probe_of(
    world_model: WorldModel, source: Dataset, name: str = "the world model", most: int = 400
) -> StateProbe:
    """Fit a probe to episodes of a data set, and say how well it reads those held out.

    Args:
        name: of the world model, in messages.
        most: episodes of each side of the split, spread over the data set.

    Raises:
        ValueError: data without actions or proprioception, or of another robot, or too few.
    """
    actions, states = source.action_spec, source.state_spec
    if actions is None:
        raise ValueError(f"{source.name} has no actions, which a probe's episodes need")
    if states is None or world_model.state_spec is None:
        lacking = source.name if world_model.state_spec else name
        raise ValueError(f"{lacking} has no proprioception to read; use one that has it")
    world_model.step_spec.require_match(actions, name, source.name)
    world_model.state_spec.require_match(states, name, source.name)
    train, held_out = (_encoded(world_model, source, side, most) for side in SIDES)
    probe = fit_probe(world_model, train, held_out)
    print(
        f"fitted to {len(train.ids)} episodes; variance explained in {len(held_out.ids)} held out:"
    )
    for entry, explained in zip(probe.names, probe.held_out_r2, strict=True):
        print(f"  {entry:16} " + ("never varies" if explained is None else f"{explained:8.4f}"))
    return probe


def _encoded(world_model: WorldModel, source: Dataset, side: Side, most: int) -> LatentEpisodes:
    """Episodes of one side, spread over the data set."""
    episodes = OneSide(source, side)
    if not len(episodes):
        raise ValueError(
            f"{source.name} has {len(source)} episodes, none of them {side}; collect more, 5% of "
            "all are held out"
        )
    return encode_episodes(
        Fewer(fitted(episodes, world_model.image_fit), most),
        world_model.tokenizer,
        actions=world_model.step_spec,
        states=world_model.state_spec,
        title=f"encoding {side}",
    )
