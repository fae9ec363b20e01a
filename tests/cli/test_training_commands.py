"""`selfflow pretrain` and `selfflow finetune` from their command line to a model that acts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_dataset import SIZE, rt1_episode, write_dataset
from tiny_encoder import write_encoder
from tiny_text_encoder import WIDTH, write_t5
from videos import write_video

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.rt1.writer import Rt1Writer
from selfflow_robotics.data.split import split_of
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.world_model.world_model import WorldModel

EPISODES = 25  # the 13th and the last are held out
TINY = ["model=tiny", "trainer.steps=3", "trainer.batch_size=2", "trainer.frames=3"]
FINETUNED = [*TINY, "prior.steps=3"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "train", EPISODES)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tokenizer"
    stored.save(Patches(4), folder)
    return folder


def act(folder: Path) -> torch.Tensor:
    """Observe, propose, imagine and judge with the model of a folder."""
    model = WorldModel.from_pretrained(str(folder))
    frames = np.zeros((2, 2, *SIZE, 3), np.uint8)
    context = model.observe(frames, np.zeros((2, 1, 7), np.float32), "pick apple")
    assert model.guess(context, 3, 2).shape == (2, 3, 2, 7)
    actions = model.propose(context, 3, 2)
    rollout = model.rollout(context, actions)
    assert model.decode(rollout).shape == (2, 3, 2, *SIZE, 3)
    assert model.progress(context, rollout).shape == (2, 3, 2)
    return actions


def test_finetune_makes_a_model_that_acts_and_is_finished_when_run_again(
    dataset: Path, tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert [split_of(i) for i in range(EPISODES)].count("held-out") == 2
    output = tmp_path / "out"
    words = [f"data={dataset}", f"tokenizer={tokenizer}", f"cache={tmp_path / 'cache'}"]
    command = ["finetune", f"out={output}", *words, *FINETUNED]
    assert main(command) == 0
    said = capfd.readouterr()
    assert f"wrote {output}" in said.out
    assert "step 3: next_frame" in said.out + said.err
    assert "shuffled_ratio" in said.out + said.err
    names = {"config.json", "model.safetensors", "training"}
    assert {p.name for p in output.iterdir()} == names
    assert len(list((tmp_path / "cache").iterdir())) == 2
    actions = act(output)

    weights = (output / "model.safetensors").read_bytes()
    assert main(command) == 0
    assert (output / "model.safetensors").read_bytes() == weights

    # The same command in another folder gives the same model, whatever ran before it.
    torch.manual_seed(99)
    assert main(["finetune", f"out={tmp_path / 'twin'}", *words, *FINETUNED]) == 0
    for name, value in load_file(output / "model.safetensors").items():
        again = load_file(tmp_path / "twin" / "model.safetensors")[name]
        # Convolutions on CPU round by where their numbers lie in memory.
        close = torch.allclose(again, value, atol=2e-3) and name.startswith("prior.")
        assert torch.equal(value, again) or close, name
    assert torch.equal(act(tmp_path / "twin"), actions)


def test_pretrained_video_model_is_where_finetuning_starts(
    dataset: Path, tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "video"
    words = [f"tokenizer={tokenizer}", "physics_episodes=2", "image_size=[16,24]", *TINY]
    assert main(["pretrain", f"out={video}", *words]) == 0
    assert WorldModel.from_pretrained(str(video)).image_size == SIZE
    robot = tmp_path / "robot"
    words = [f"data={dataset}", f"start={video}", *FINETUNED, "objective=flow_matching"]
    assert main(["finetune", f"out={robot}", *words]) == 0
    assert f"weights of {video}" in capfd.readouterr().out
    act(robot)


@pytest.fixture
def captioned(tokenizer: Path, tmp_path: Path) -> list[str]:
    """The words of a pretraining on two videos, of which one has a caption."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(folder / name, frames=20)
    (folder / "a.txt").write_text("a wall turns white")
    encoder = write_t5(tmp_path / "t5")
    words = [f"videos={folder}", "frames=6", f"text_encoder={encoder}", "image_size=[16,24]"]
    return [f"tokenizer={tokenizer}", *words, *TINY]


def test_pretraining_reads_videos_and_scenes_and_names_what_it_leaves_out(
    tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, frames=20)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    sources = [f"videos={tmp_path}", "max_broken=0.5", "physics_episodes=2", "image_size=[16,24]"]
    words = [f"tokenizer={tokenizer}", *sources, *TINY, f"cache={tmp_path / 'cache'}"]
    assert main(["pretrain", f"out={tmp_path / 'out'}", *words]) == 0
    assert f"left out {tmp_path}/b.mp4: " in capfd.readouterr().out
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_model_that_was_told_captions_is_where_finetuning_starts(
    dataset: Path, captioned: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video, robot = tmp_path / "video", tmp_path / "robot"
    assert main(["pretrain", f"out={video}", *captioned]) == 0
    assert "50.0% of the frames have a caption" in capfd.readouterr().out
    config = json.loads((video / "config.json").read_text())
    assert config["text_encoder"] == str(tmp_path / "t5")
    assert config["network"]["text_dim"] == WIDTH
    told = load_file(video / "model.safetensors")
    assert "network.conditioning.text.weight" in told
    words = [f"data={dataset}", f"start={video}", "trainer.steps=0", "prior.steps=0"]
    assert main(["finetune", f"out={robot}", *TINY, *words]) == 0
    found = load_file(robot / "model.safetensors")
    assert "network.conditioning.text.weight" not in found
    blocks = [name for name in told if name.startswith("network.blocks.")]
    assert blocks and all(torch.equal(found[name], told[name]) for name in blocks)
    assert json.loads((robot / "config.json").read_text())["text_encoder"] is None
    act_without_prior = WorldModel.from_pretrained(str(robot))
    assert act_without_prior.config.network.text_dim == 0


def test_captions_that_are_not_there_are_a_sentence(
    captioned: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos" / "a.txt").unlink()
    assert main(["pretrain", f"out={tmp_path / 'out'}", *captioned]) == 1
    assert "there is no caption for text_encoder=" in capfd.readouterr().err


@pytest.mark.slow
def test_two_ranks_are_told_what_one_is(captioned: list[str], tmp_path: Path) -> None:
    weights = []
    for ranks in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        words = ["pretrain", f"out={tmp_path / str(ranks)}", *captioned, "trainer.steps=6"]
        process = start(*words, "trainer.precision=fp32", launcher=launcher)
        _, error = process.communicate(timeout=200)
        assert process.returncode == 0, error
        weights.append(load_file(tmp_path / str(ranks) / "model.safetensors"))
    one, two = weights
    assert one["network.conditioning.text.weight"].any()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-3, rtol=2e-2, msg=name)


def test_the_prior_alone_is_fitted_further(dataset: Path, tokenizer: Path, tmp_path: Path) -> None:
    words = [f"tokenizer={tokenizer}", *FINETUNED]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["finetune", f"out={first}", f"data={dataset}", *words]) == 0
    more = write_dataset(tmp_path / "more", 2, 5)
    words += [f"start={first}", f"data=[{dataset},{more}]", "trainer.steps=0"]
    assert main(["finetune", f"out={second}", *words]) == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("prior.") for name in changed)


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
@pytest.mark.parametrize("objective", ["diffusion_forcing", "sra", "repa", "shortcut"])
def test_each_objective_makes_a_model_of_the_same_weights(
    dataset: Path, tokenizer: Path, tmp_path: Path, command: str, objective: str
) -> None:
    output = tmp_path / "out"
    words = [command, f"out={output}", f"tokenizer={tokenizer}", *TINY]
    if command == "finetune":
        words += [f"data={dataset}", "prior.steps=0"]
    else:
        words += ["physics_episodes=2", "image_size=[16,24]"]
    words.append(f"objective={objective}")
    if objective == "repa":
        words.append(f"objective.encoder={write_encoder(tmp_path / 'encoder')}")
    assert main(words) == 0
    # Neither the projector nor the encoder is part of what is trained.
    model = WorldModel.from_pretrained(str(output))
    assert model.config.network.step_sizes == (objective == "shortcut")
    stored_names = set(load_file(output / "model.safetensors"))
    assert stored_names == {k for k in model.state_dict() if not k.endswith("tokens_in.positions")}
    assert not any(part in name for name in stored_names for part in ("projector", "encoder."))


def test_finetune_on_two_small_data_sets_without_held_out_episodes(
    tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = (write_dataset(tmp_path / name, 2, seed) for name, seed in (("a", 0), ("b", 5)))
    words = [f"out={tmp_path / 'out'}", f"data=[{one},{two}]", f"tokenizer={tokenizer}"]
    assert main(["finetune", *words, *FINETUNED]) == 0
    assert "not enough to judge the model by" in capfd.readouterr().out
    act(tmp_path / "out")


def start(*words: str, launcher: Sequence[str] = (), **more: str) -> subprocess.Popen[str]:
    """The program in a process of its own, with more in its environment."""
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "selfflow_robotics.cli.main", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_when_saved(
    process: subprocess.Popen[str], output: Path, number: int = signal.SIGTERM
) -> None:
    """Sends a signal once training has saved its first checkpoint."""
    while process.poll() is None and not saved_steps(output):
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    process.send_signal(number)


def saved_steps(output: Path) -> list[int]:
    found = output.glob("training/checkpoints/step-*/.metadata")
    return sorted(int(path.parent.name.removeprefix("step-")) for path in found)


LONG = ["trainer.steps=100000", "trainer.save_every=20"]


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_a_script(tokenizer: Path, tmp_path: Path) -> None:
    words = [f"out={tmp_path / 'out'}", f"tokenizer={tokenizer}", *TINY, *LONG]
    process = start("pretrain", *words, "physics_episodes=2", "image_size=[16,24]")
    stop_when_saved(process, tmp_path / "out", signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "the same command goes on from there" in out


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_sigterm_saves_and_the_same_command_goes_on(
    dataset: Path, tokenizer: Path, tmp_path: Path, command: str
) -> None:
    output = tmp_path / "out"
    words = [command, f"out={output}", f"tokenizer={tokenizer}", *TINY]
    if command == "finetune":
        words += [f"data={dataset}", "prior.steps=3"]
    else:
        words += ["physics_episodes=2", "image_size=[16,24]"]
    process = start(*words, *LONG)
    stop_when_saved(process, output)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    *_, last = saved_steps(output)
    assert f"asked to stop: saved step {last}" in out
    assert not (output / "model.safetensors").exists()
    # What was trained so far, as a model; then on from there.
    assert main([*words, f"trainer.steps={last}"]) == 0
    assert WorldModel.from_pretrained(str(output)).image_size == SIZE
    assert saved_steps(output)[-1] == last
    assert main([*words, f"trainer.steps={last + 2}"]) == 0
    assert saved_steps(output)[-1] == last + 2


@pytest.mark.slow
def test_two_ranks_train_a_model_and_stop_when_asked(
    dataset: Path, tokenizer: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["finetune", f"out={output}", f"data={dataset}", f"tokenizer={tokenizer}"]
    words += [*FINETUNED, f"cache={tmp_path / 'cache'}"]
    # As srun starts ranks, each by itself; one of them is asked to stop, and both do.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [
        start(*words, *LONG, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", **there) for rank in "01"
    ]
    stop_when_saved(ranks[1], output)
    (out, error), (nothing, _) = (process.communicate(timeout=60) for process in ranks)
    assert [process.returncode for process in ranks] == [0, 0], error
    *_, last = saved_steps(output)
    assert f"asked to stop: saved step {last}" in out
    assert nothing == ""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = start(*words, f"trainer.steps={last + 2}", launcher=torchrun)
    out, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    assert out.count(f"wrote {output}") == 1
    act(output)


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        ("finetune", [], "there are no episodes: add data=FOLDER"),
        ("finetune", ["data=[{dataset}]"], "there is no tokenizer: give tokenizer=FOLDER"),
        (
            "finetune",
            ["data=[{dataset}]", "tokenizer={tokenizer}", "trainer.frames=40"],
            "no episode has 40 frames",
        ),
        (
            "finetune",
            ["data=[{dataset}]", "tokenizer={tokenizer}", "model.preset=huge"],
            'no preset "huge"; choose one of tiny',
        ),
        ("finetune", ["trainer.step=3"], '"trainer.step"; did you mean "trainer.steps"?'),
        (
            "finetune",
            [
                "data=[{dataset}]",
                "tokenizer={tokenizer}",
                "objective=repa",
                "objective.encoder=null",
            ],
            "repa needs a DINOv2 encoder: add objective.encoder=FOLDER",
        ),
        ("pretrain", ["tokenizer={tokenizer}"], "there is no video: add videos=FOLDER"),
        ("pretrain", ["tokenizer={nothing}", "physics_episodes=1"], "has no config.json"),
    ],
)
def test_what_is_missing_is_one_sentence_and_nothing_is_written(
    dataset: Path,
    tokenizer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    words: list[str],
    sentence: str,
) -> None:
    places = {"dataset": dataset, "tokenizer": tokenizer, "nothing": tmp_path / "nothing"}
    given = [word.format(**places) for word in words]
    assert main([command, f"out={tmp_path / 'out'}", *given]) in (1, 2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert sentence in error
    assert not list(tmp_path.iterdir())


def test_latents_of_several_steps_make_a_model_that_acts_in_blocks(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="needs the extra [diffusers]")
    torch.manual_seed(0)
    vae = {"base_dim": 4, "z_dim": 2, "latents_mean": [0.0] * 2, "latents_std": [1.0] * 2}
    stored.save(stored.build({"tokenizer": "wan", "vae": vae}), tmp_path / "wan")
    data = write_dataset(tmp_path / "data", EPISODES, steps=29, size=(32, 32))
    video, robot = tmp_path / "video", tmp_path / "robot"
    words = [f"tokenizer={tmp_path / 'wan'}", "physics_episodes=2", "image_size=[32,32]", *TINY]
    assert main(["pretrain", f"out={video}", *words]) == 0
    words = [f"data=[{data}]", f"start={video}", *FINETUNED]
    assert main(["finetune", f"out={robot}", *words]) == 0
    model = WorldModel.from_pretrained(str(robot))
    assert (model.action_block, model.action_spec.size, model.step_spec.size) == (4, 28, 7)
    frames = np.zeros((1, 9, 32, 32, 3), np.uint8)
    context = model.observe(frames, np.zeros((1, 8, 7), np.float32), "pick apple")
    future = model.rollout(context, model.propose(context, 2, 3))
    assert model.decode(future).shape == (1, 2, 12, 32, 32, 3)
    words = [f"world_model={robot}", f"data={data}", f"out={tmp_path / 'probe'}"]
    assert main(["probe", *words]) == 0


@pytest.mark.parametrize("command", ["finetune", "pretrain"])
def test_output_that_holds_other_things_is_refused_before_training(
    dataset: Path,
    tokenizer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    source = f"data={dataset}" if command == "finetune" else "physics_episodes=1"
    assert main([command, f"out={tmp_path}", f"tokenizer={tokenizer}", source, *TINY]) == 1
    assert "is not a model's folder (it holds thesis.tex)" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_finetune_reads_a_lerobot_data_set(dataset: Path, tokenizer: Path, tmp_path: Path) -> None:
    exported, output = tmp_path / "exported", tmp_path / "model"
    assert main(["data", "export", "lerobot", f"data={dataset}", f"out={exported}"]) == 0
    words = [f"data=[{exported}]", f"tokenizer={tokenizer}", f"out={output}"]
    assert main(["finetune", *words, *FINETUNED]) == 0
    assert WorldModel.from_pretrained(str(output)).image_size == SIZE


def test_images_that_do_not_divide_are_made_to_and_acting_does_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, tokenizer = write_dataset(tmp_path / "data", 3, size=(20, 34)), tmp_path / "tokenizer"
    stored.save(Patches(4), tokenizer)
    cache, given = f"out={tmp_path / 'cache'}", [f"data={data}", f"tokenizer={tokenizer}"]
    assert main(["data", "encode", cache, *given, "workers=0"]) == 0
    latents = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")}
    words = [*given, f"cache={tmp_path / 'cache'}", *FINETUNED]
    assert main(["finetune", f"out={tmp_path / 'crop'}", *words]) == 0
    assert "images: 20x34 pixels become 16x32: " in capfd.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")} == latents
    model = WorldModel.from_pretrained(str(tmp_path / "crop"))
    assert (model.image_size, model.camera_size, model.image_fit.how) == (
        (16, 32),
        (20, 34),
        "crop",
    )
    frames = np.random.default_rng(0).integers(0, 256, (1, 1, 20, 34, 3), np.uint8)
    past = np.zeros((1, 0, 7), np.float32)
    by_hand = model.image_fit(frames[0])[None]
    one, other = (model.observe(seen, past).anchor_BNC for seen in (frames, by_hand))
    assert torch.equal(one, other)

    words = [*words, "image_size=[24,56]", "image_fit=pad"]
    assert main(["finetune", f"out={tmp_path / 'pad'}", *words]) == 0
    assert "20x34 pixels become 24x56: scaled by 1.2 and padded" in capfd.readouterr().out
    assert WorldModel.from_pretrained(str(tmp_path / "pad")).image_fit.how == "pad"
    words[-2] = "image_size=[24,36]"
    assert main(["finetune", f"out={tmp_path / 'odd'}", *words]) == 1
    said = capfd.readouterr().err
    assert "does not divide into tokens of 8x8 pixels; give [24, 32] or [24, 40]" in said


def test_settings_are_kept_and_another_run_is_refused(
    dataset: Path, tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["finetune", f"out={tmp_path / 'out'}", f"data={dataset}", f"tokenizer={tokenizer}"]
    words += [*TINY, "prior.steps=2", f"cache={tmp_path / 'cache'}"]
    assert main(words) == 0
    kept = json.loads((tmp_path / "out" / "training" / "config.json").read_text())
    assert kept["trainer.batch_size"] == 2 and kept["data.path"] == [str(dataset)]
    assert "wrote the network to " in capfd.readouterr().out  # stopped from here on, that is there
    assert main([*words, "trainer.seed=4", "objective=flow_matching"]) == 1
    said = capfd.readouterr().err
    assert "trainer.seed was 0 and is 4" in said and 'is "flow_matching"' in said
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert main([*words, "trainer.steps=4", "prior.steps=3"]) == 0
    assert "made with other prior.steps; the policy prior is fitted anew" in capfd.readouterr().err
    assert (tmp_path / "out" / "model.safetensors").read_bytes() != weights


def test_play_without_a_success_trains_and_says_so(
    tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Rt1Writer(tmp_path / "data", SIZE) as writer:
        for i, steps in enumerate((4, 4, 2, 4)):
            told = ("Move the block, slowly, to " + "the left and then " * 8,) * steps
            writer.add(replace(rt1_episode(i, steps), success=False, instructions=told))
    words = [f"out={tmp_path / 'out'}", f"data={tmp_path / 'data'}", f"tokenizer={tokenizer}"]
    assert main(["finetune", *words, *FINETUNED]) == 0
    said = capfd.readouterr().out
    assert "no episode succeeds, so there is nothing to imitate" in said
    assert "1 of 4 episodes are not trained on: they have fewer than trainer.frames=3" in said
    model = WorldModel.from_pretrained(str(tmp_path / "out"))
    assert model.prior is None and model.config.vocabulary.length == 37
    assert main(["finetune", *words, *FINETUNED, "prior.steps=0"]) == 0
