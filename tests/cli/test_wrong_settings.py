"""Settings that nothing can be made of: a sentence at once, before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfflow_robotics.cli.main import main

RUNS = {
    "finetune": "data=nowhere",
    "pretrain": "tokenizer=nowhere",
    "tokenizer": "data=nowhere",
    "data encode": "data=nowhere tokenizer=nowhere",
    "probe": "data=nowhere",
    "infer": "data=nowhere out=made.npz",
    "plan": "world_model=nowhere",
    "rollout": "world_model=nowhere",
    "evaluate": "world_model=nowhere",
    "improve": "world_model=nowhere",
    "collect": "world_model=nowhere",
    "estimate": "",
}
WRONG = {
    "finetune": [
        *("model.patch=-1", "model.history_len=0", "trainer.steps=-1", "trainer.frames=1"),
        *("trainer.learning_rate=nan", "trainer.clip_norm=0", "objective.world_model=-1"),
        *(
            "objective.mask_ratio=1e12",
            "trainer.save_every=0",
            "prior.noise=-1",
            "image_size=[0,8]",
        ),
        *("trainer.steps=true", "data.repeat.pick=0", "trainer.seed=-1", "trainer.ema=1.5"),
    ],
    "pretrain": ["rate_hz=0", "frames=0", "max_broken=2", "physics_episodes=-1"],
    "tokenizer": [
        "widths=[0]",
        "steps=-1",
        "lr=0",
        "max_frames=0",
        "batch_size=0",
        "factor=0",
        "max_broken=2",
    ],
    "data encode": [
        "tokenizer=",
        "part=0",
        "workers=-1",
        "workers=10000000000000",
        "patch=10000000000000",
    ],
    "probe": ["episodes=0"],
    "infer": ["episodes=-1", "steps=0", "episodes=true"],
    "plan": ["planner.candidates=0", "planner.initial_std=0", "cost.target.x=nan", "threads=0"],
    "rollout": ["episode=-1", "horizon=0", "seed=-1"],
    "evaluate": [
        "bench=none",
        "episodes=0",
        "num_envs=-1",
        "mapping.scale=[nan]",
        "videos=-1",
        "horizon=0",
    ],
    "improve": ["rounds=0", "players.planner=1.5", "judged=0", "critic.imagined=2", "labels=none"],
    "collect": [
        "players.random=1.5",
        "planner.candidates=0",
        "episodes_of.OpenDrawer=-1",
        "workers=0",
        "image_size=[0,0]",
    ],
    "estimate": ["gpus=0", "factor=0", "device=tpu", "words=-1", "temporal=0"],
}


@pytest.mark.parametrize(
    ("command", "word"), [(name, word) for name, words in WRONG.items() for word in words]
)
def test_a_number_that_a_key_cannot_mean(
    command: str,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    out = [] if command in ("estimate", "infer") else ["out=made"]
    assert main([*command.split(), *out, *RUNS[command].split(), word]) == 2
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("error: ") and word.partition("=")[0] in said[0]
    assert not list(tmp_path.iterdir())


def test_an_episode_is_recorded_or_played(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "task=CloseDrawer", "data=somewhere", "out=made.mp4"]) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert "task=CloseDrawer" in said and "data=somewhere" in said and "one of them" in said
