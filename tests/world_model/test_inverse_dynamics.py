"""Actions inferred from frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_dataset import SIZE, rt1_episode
from tiny_world import IMAGE, history, streams, world_model

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.rt1.writer import Rt1Writer


def test_an_action_a_step_within_the_bounds_whatever_else_is_in_the_batch() -> None:
    model = world_model()
    frames, _, states = history(2, 5)
    actions = model.infer_actions(frames, states=states, generator=streams(2))
    assert actions.shape == (2, 4, model.action_spec.size)
    low, high = (torch.tensor(bound) for bound in (model.action_spec.low, model.action_spec.high))
    assert (actions >= low).all() and (actions <= high).all()
    alone = model.infer_actions(frames[1:], states=states[1:], generator=streams(2)[1:])
    torch.testing.assert_close(alone, actions[1:], atol=1e-5, rtol=0)


def test_an_action_depends_on_the_frame_it_led_to_and_on_none_after() -> None:
    model = world_model()
    frames, _, states = history(1, 5)
    before = model.infer_actions(frames, states=states)
    changed = frames.copy()
    changed[:, 3] = 255 - changed[:, 3]
    after = model.infer_actions(changed, states=states)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert not torch.equal(after[:, 2], before[:, 2])


def test_one_frame_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="1 frames; give at least 2"):
        world_model().infer_actions(np.zeros((1, 1, *IMAGE, 3), np.uint8))


def test_what_a_diverged_model_infers_is_an_error_not_nan() -> None:
    model, (frames, _, states) = world_model(), history(1, 3)
    with torch.no_grad():
        next(model.network.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="actions inferred are not finite"):
        model.infer_actions(frames, states=states)


def test_the_command_writes_actions_and_says_how_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world_model().save_pretrained(str(tmp_path / "model"))
    with Rt1Writer(tmp_path / "data", SIZE) as writer:
        for seed, steps in enumerate((4, 4, 1)):
            writer.add(rt1_episode(seed, steps))
    data = tmp_path / "data"
    words = [f"world_model={tmp_path / 'model'}", f"data={data}", f"out={tmp_path / 'a.npz'}"]
    assert main(["infer", *words, "steps=1"]) == 0
    said = capsys.readouterr().out
    assert "mean action  of 6 steps" in said and "gripper" in said
    assert "left out train/2: 1 frames" in said
    with np.load(tmp_path / "a.npz") as found:
        assert {name: found[name].shape for name in found} == {
            "train/0": (3, 7),
            "train/1": (3, 7),
        }


def test_data_without_actions_get_some_and_no_error_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world_model().save_pretrained(str(tmp_path / "model"))
    data = tmp_path / "data"
    with Rt1Writer(data, SIZE) as writer:
        writer.add(rt1_episode(0, 4))
    (data / "action_spec.json").unlink()
    mapping = {
        "image": "observation/image",
        "actions": [],
        "action_spec": RT1_ACTIONS.to_json(),
    }
    words = [f"world_model={tmp_path / 'model'}", f"data={data}", f"out={tmp_path / 'a.npz'}"]
    words += [f"data.mapping={tmp_path / 'mine.yaml'}", "steps=1"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mapping))
    assert main(["infer", *words]) == 0
    assert "3 actions of 1 episodes; how good they are is not known" in capsys.readouterr().out
    with np.load(tmp_path / "a.npz") as found:
        assert found["train/0"].shape == (3, 7)
    # What they would be has to be what the model gives, its rate too.
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({**mapping, "action_spec": {**RT1_ACTIONS.to_json(), "rate_hz": 30.0}})
    )
    assert main(["infer", *words]) == 1
    assert "mean different things: rate_hz 3.0 and 30.0;" in capsys.readouterr().err
