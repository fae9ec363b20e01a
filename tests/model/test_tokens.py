from __future__ import annotations

import pytest
import torch

from selfflow_robotics.model.presets import PRESETS, preset
from selfflow_robotics.model.tokens import patchify, sincos_positions, unpatchify


def test_unpatchify_undoes_patchify() -> None:
    latents = torch.randn(2, 3, 4, 6, 10, generator=torch.Generator().manual_seed(0))
    tokens = patchify(latents, 2)
    assert tokens.shape == (2, 3, 15, 16)
    assert torch.equal(unpatchify(tokens, 2, (3, 5)), latents)


def test_token_is_row_major_and_channel_first() -> None:
    latents = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4).float()
    assert patchify(latents, 2)[0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]


def test_positions_hold_column_then_row() -> None:
    positions = sincos_positions(8, (2, 3))[0]
    assert positions.shape == (6, 8)
    # Tokens 0 and 3 share a column, tokens 0 and 1 a row.
    assert torch.equal(positions[0, :4], positions[3, :4])
    assert torch.equal(positions[0, 4:], positions[1, 4:])
    assert not torch.equal(positions[0], positions[4])


def test_unknown_preset_lists_the_known_ones() -> None:
    assert preset("XL").depth == 28
    with pytest.raises(ValueError, match=", ".join(PRESETS)):
        preset("huge")
