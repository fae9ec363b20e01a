"""A conversion keeps every byte, survives being killed, and says what is wrong with its source."""

from __future__ import annotations

import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from rlds_material import (
    files_of,
    rt1_records,
    rt1_tfrecords,
    without_steps,
    write_tfrecords,
)
from rt1_material import SIZE, altered, sound_record

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.gripper import absolute_gripper
from selfflow_robotics.data.rlds.conversion import convert
from selfflow_robotics.data.rlds.mappings import mapping_named
from selfflow_robotics.data.rlds.shard_conversion import WORK_FOLDER
from selfflow_robotics.data.rt1.features import rt1_features
from selfflow_robotics.data.split import split_of

FIXTURE = Path(__file__).parents[4] / "shared" / "fixtures" / "octo_bridge_debug"
CONVERT = [sys.executable, "-m", "selfflow_robotics.cli.main", "data", "convert", "rlds"]


def start(source: Path, out: Path, limit: int | None = None) -> subprocess.Popen[str]:
    """The command in a process of its own, which can be killed."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = [*CONVERT, f"data={source}", f"out={out}", "workers=2"]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limited
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve shards of two episodes."""
    return rt1_tfrecords(tmp_path_factory.mktemp("source") / "rt1", shards=12)


@pytest.fixture(scope="module")
def unbroken(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source, converted in one go."""
    out = tmp_path_factory.mktemp("unbroken") / "rt1"
    done = convert(str(source), out, workers=2)
    assert done is not None and (done.episodes, done.mapping) == (24, "rt1")
    return out


def test_episodes_stay_what_and_where_they_were(source: Path, unbroken: Path) -> None:
    before, after = open_dataset(source), open_dataset(unbroken)
    assert len(before) == len(after) == 24
    for i in range(24):
        one, other = before[i], after[i]
        assert one.id == other.id and split_of(one.id) == split_of(other.id)
        assert one.instructions == other.instructions and one.success == other.success
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.actions, other.actions)
        np.testing.assert_array_equal(one.states, other.states)
    assert [before._records[i] for i in range(24)] == [after._records[i] for i in range(24)]


def test_tfds_reads_what_was_converted(unbroken: Path) -> None:
    found = tfds.builder_from_directory(unbroken).as_data_source("train")
    assert len(found) == 24
    steps = list(found[5]["steps"])
    assert len(steps) == len(open_dataset(unbroken)[5])
    assert steps[0]["observation"]["image"].shape == (*SIZE, 3)


def test_metadata_tells_the_truth(source: Path, unbroken: Path) -> None:
    info = json.loads((unbroken / "dataset_info.json").read_text())
    (split,) = info["splits"]
    assert info["fileFormat"] == "array_record" and info["name"] == "fractal20220817_data"
    assert split["shardLengths"] == ["2"] * 12
    assert int(split["numBytes"]) == sum(len(record) for record in rt1_records(24))
    assert (unbroken / "features.json").read_bytes() == (source / "features.json").read_bytes()
    assert not (unbroken / WORK_FOLDER).exists()


def test_statistics_are_those_of_every_step(unbroken: Path) -> None:
    opened = open_dataset(unbroken)
    episodes = [opened[i] for i in range(24)]
    actions = np.concatenate([episode.actions for episode in episodes])
    found = json.loads((unbroken / "action_statistics.json").read_text())
    assert (found["num_transitions"], found["num_trajectories"]) == (len(actions), 24)
    np.testing.assert_allclose(found["mean"][:6], actions[:, :6].mean(0, np.float64), rtol=1e-6)
    np.testing.assert_allclose(found["std"][:6], actions[:, :6].std(0, dtype=np.float64))
    for key, share in (("q01", 0.01), ("q99", 0.99), ("min", 0.0), ("max", 1.0)):
        np.testing.assert_allclose(found[key][:6], np.quantile(actions[:, :6], share, axis=0))
    grippers = np.concatenate([absolute_gripper(episode.actions[:, 6]) for episode in episodes])
    assert found["gripper"] == "absolute, 1 open, 0 closed"
    np.testing.assert_allclose(found["mean"][6], grippers.mean())
    states = np.concatenate([episode.states for episode in episodes])
    np.testing.assert_allclose(found["proprio"]["mean"], states.mean(0, np.float64), rtol=1e-6)


def test_the_reader_takes_the_quantiles_but_keeps_the_gripper_relative(unbroken: Path) -> None:
    opened = open_dataset(unbroken)
    found = json.loads((unbroken / "action_statistics.json").read_text())
    assert opened.action_spec.q01[:6] == tuple(found["q01"][:6])
    assert opened.action_spec.q99[:6] == tuple(found["q99"][:6])
    assert (opened.action_spec.q01[6], opened.action_spec.q99[6]) == (-1.0, 1.0)
    assert opened.action_spec.gripper == RT1_ACTIONS.gripper
    assert opened.state_spec is not None
    assert opened.state_spec.mean == tuple(found["proprio"]["mean"])


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_restarted_gives_the_same_bytes(
    source: Path, unbroken: Path, tmp_path: Path, kills: int
) -> None:
    out = tmp_path / "rt1"
    choices = random.Random(kills)
    for moment in sorted(choices.sample(range(12), kills)):
        process = start(source, out)
        while process.poll() is None and len(list(out.glob("*.array_record-*"))) < moment:
            time.sleep(0.001)
        time.sleep(choices.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.array_record-*")}
    last = start(source, out)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    assert files_of(out) == files_of(unbroken)
    for name, written in kept.items():
        assert (out / name).stat().st_mtime_ns == written, f"{name} was converted again"


def test_unfinished_folder_is_no_data_set(source: Path, tmp_path: Path) -> None:
    incomplete = tmp_path / "source"
    shutil.copytree(source, incomplete)
    last = sorted(incomplete.glob("*tfrecord*"))[-1]
    last.write_bytes(last.read_bytes()[:-3])
    with pytest.raises(ValueError, match="1 shards could not be converted"):
        convert(str(incomplete), tmp_path / "out", workers=2)
    with pytest.raises(FileNotFoundError, match=r"no data set: it lacks features.json"):
        open_dataset(tmp_path / "out")


def test_every_fault_names_file_and_episode_and_nothing_sound_is_lost(tmp_path: Path) -> None:
    sound = rt1_records(9)

    def nan(feature: object) -> None:
        feature.float_list.value[4] = float("nan")  # type: ignore[attr-defined]

    def inf(feature: object) -> None:
        feature.float_list.value[0] = float("inf")  # type: ignore[attr-defined]

    def as_integers(feature: object) -> None:
        feature.int64_list.value[:] = [0] * 5  # type: ignore[attr-defined]

    def one_less(feature: object) -> None:
        del feature.float_list.value[-3:]  # type: ignore[attr-defined]

    def stray(feature: object) -> None:
        del feature.float_list.value[-1:]  # type: ignore[attr-defined]

    second = sound_record(1)
    key = "steps/action/world_vector"
    faulty = {
        0: (altered(second, "steps/observation/src_rotation", None), "lacks steps/observation/src"),
        1: (altered(second, key, nan), "has action/world_vector = ["),
        8: (altered(second, "steps/observation/gripper_closed", inf), "gripper_closed = [inf] at"),
        2: (without_steps(second), "has no steps"),
        3: (altered(second, "steps/reward", as_integers), "steps/reward as int64_list"),
        4: (altered(second, key, one_less), "different lengths {'steps/action/world_vector': 4}"),
        5: (altered(second, key, stray), "no multiple of the 3"),
    }
    bad = [[sound[i], faulty[i][0]] if i in faulty else [sound[i]] * 2 for i in range(9)]
    good = [[sound[i], second] if i in faulty else [sound[i]] * 2 for i in range(9)]
    features = rt1_features(SIZE)
    source = write_tfrecords(tmp_path / "source", features, {"train": bad})
    shards = sorted(source.glob("*tfrecord*"))
    shards[6].write_bytes(shards[6].read_bytes()[:-100])
    flipped = bytearray(shards[7].read_bytes())
    flipped[2000] ^= 1
    shards[7].write_bytes(flipped)

    with pytest.raises(ValueError) as caught:
        convert(str(source), tmp_path / "out", workers=2)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("9 shards could not be converted; the others are kept")
    assert len(lines) == 10
    for i, (_, part) in faulty.items():
        (line,) = [line for line in lines if f"0000{i}-of-00009" in line]
        assert line.startswith(f"episode 1 of {shards[i]} ") and part in line, line
    assert any(f"{shards[6]} is truncated within record 1" in line for line in lines)
    assert any(f"record 0 of {shards[7]} disagrees with its checksum" in line for line in lines)

    info = (source / "dataset_info.json").read_bytes()
    write_tfrecords(source, features, {"train": good})
    (source / "dataset_info.json").write_bytes(info)
    done = convert(str(source), tmp_path / "out", workers=2)
    assert done is not None and done.episodes == 18
    assert len(open_dataset(tmp_path / "out")) == 18


def test_faulty_episodes_are_left_out_up_to_the_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = rt1_records(9)
    lacking = altered(sound[4], "steps/observation/src_rotation", None)
    shards = [sound[:4], [lacking], [*sound[5:8], without_steps(sound[8])]]
    source = write_tfrecords(tmp_path / "source", rt1_features(SIZE), {"train": shards})
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="2 shards could not be converted"):
        convert(str(source), out, workers=2)
    with pytest.raises(ValueError, match=r"2 of 9 episodes are faulty, more than the .* of 0.2;"):
        convert(str(source), out, workers=2, max_broken=0.2)
    words = ["data", "convert", "rlds", f"data={source}", f"out={out}", "workers=2"]
    assert main([*words, "max_broken=0.25"]) == 0
    said = capsys.readouterr().out
    names = sorted(path.name for path in source.glob("*tfrecord*"))
    assert "7 episodes" in said
    assert f"left out episode 0 of {source}/{names[1]} lacks steps/observation/src_rot" in said
    assert f"left out episode 3 of {source}/{names[2]} has no steps" in said
    opened = open_dataset(out)
    kept = [*sound[:4], *sound[5:8]]
    assert [opened._records[i] for i in range(len(opened))] == kept
    assert len(json.loads((out / "left_out.json").read_text())) == 2
    statistics = json.loads((out / "action_statistics.json").read_text())
    assert (statistics["num_trajectories"], statistics["num_left_out"]) == (7, 2)
    assert main(["data", "check", f"data={out}", "workers=1"]) == 0
    assert "2 faulty episodes were left out when it was converted:" in capsys.readouterr().out


def test_full_disk_is_one_sentence_and_leaves_what_can_go_on(
    source: Path, unbroken: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rt1"
    process = start(source, out, limit=60_000)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith(f"error: {out}") and "cannot be written (" in last, errors
    assert "run the same command again" in last
    assert not (out / "dataset_info.json").exists()
    assert convert(str(source), out, workers=2) is not None
    assert files_of(out) == files_of(unbroken)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare")
@pytest.mark.slow
def test_disk_that_is_really_full(source: Path, unbroken: Path, tmp_path: Path) -> None:
    convert_it = f"{' '.join(CONVERT)} data={source} out={tmp_path}/disk/rt1 workers=2"
    script = (
        f"mount -t tmpfs -o size=600k tmpfs {tmp_path}/disk || exit 77; "
        f"{convert_it} && exit 78; mount -o remount,size=64M {tmp_path}/disk; "
        f"{convert_it} && cp -r {tmp_path}/disk/rt1 {tmp_path}/copy"
    )
    (tmp_path / "disk").mkdir()
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode in (1, 77) and "error:" not in done.stderr:
        pytest.skip(f"cannot mount: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stderr
    assert files_of(tmp_path / "copy") == files_of(unbroken)


def test_a_second_writer_is_refused_and_a_dead_one_is_not_in_the_way(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rt1"
    out.mkdir()
    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError, match=r"another process writes to .*rt1; wait until"):
        convert(str(source), out)
    os.close(handle)
    assert convert(str(source), out, workers=2) is not None


def test_converting_again_changes_nothing(source: Path, unbroken: Path) -> None:
    before = files_of(unbroken)
    assert convert(str(source), unbroken) is None
    assert files_of(unbroken) == before


def test_what_lies_in_the_folder_is_left_alone(
    source: Path, unbroken: Path, tmp_path: Path
) -> None:
    other = rt1_tfrecords(tmp_path / "other", shards=1, per_shard=5)
    with pytest.raises(FileExistsError, match="another data set already; name another folder"):
        convert(str(other), other)
    (other / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="another data set already"):
        convert(str(other), unbroken)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(FileExistsError, match=r"holds letter.txt; name another folder"):
        convert(str(source), tmp_path / "mine")


def test_unfinished_conversion_of_another_source(source: Path, tmp_path: Path) -> None:
    other = rt1_tfrecords(tmp_path / "other", shards=1)
    shard = next(other.glob("*tfrecord*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match="truncated"):
        convert(str(other), tmp_path / "out", workers=1)
    with pytest.raises(FileExistsError, match="unfinished conversion of another source"):
        convert(str(source), tmp_path / "out")


@pytest.mark.parametrize(
    ("module", "lengths"),
    [
        ("tensorflow_datasets.robotics.rtx.rtx", ["4", "1", "1"]),
        ("rlds_dataset_mod.multithreaded_adhoc_tfds_builder", None),
        ("", ["2", "2", "2"]),
    ],
)
def test_metadata_as_found_in_the_wild(
    tmp_path: Path, module: str, lengths: list[str] | None
) -> None:
    source = rt1_tfrecords(tmp_path / "source", module=module)
    info = json.loads((source / "dataset_info.json").read_text())
    (split,) = info["splits"]
    split.pop("shardLengths") if lengths is None else split.update(shardLengths=lengths)
    (source / "dataset_info.json").write_text(json.dumps(info))
    assert convert(str(source), tmp_path / "out", workers=1) is not None
    assert len(open_dataset(tmp_path / "out")) == 6
    assert len(tfds.builder_from_directory(tmp_path / "out").as_data_source("train")) == 6


def test_fewer_episodes_than_promised(tmp_path: Path) -> None:
    source = rt1_tfrecords(tmp_path / "source", shards=1)
    text = (source / "dataset_info.json").read_text().replace('["2"]', '["3"]')
    (source / "dataset_info.json").write_text(text)
    with pytest.raises(ValueError, match=r"hold 2 episodes of split train .* promises 3"):
        convert(str(source), tmp_path / "out", workers=1)


def test_what_the_source_says_of_its_actions_is_kept(tmp_path: Path) -> None:
    source = rt1_tfrecords(tmp_path / "source", shards=1)
    own = RT1_ACTIONS.to_json() | {"q01": [-0.125] * 7}
    (source / "action_spec.json").write_text(json.dumps(own))
    (source / "demonstrated.json").write_text(json.dumps({"train": ["110", "1100"]}))
    done = convert(str(source), tmp_path / "out", workers=1)
    assert done is not None and not done.measured
    opened = open_dataset(tmp_path / "out")
    assert opened.action_spec.q01 == (-0.125,) * 7
    assert opened[1].demonstrated is not None and opened[1].demonstrated.tolist() == [1, 1, 0, 0]


def test_other_file_systems(source: Path, unbroken: Path, tmp_path: Path) -> None:
    archive = tmp_path / "source.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for path in source.iterdir():
            writer.write(path, f"rt1/0.1.0/{path.name}")
    with pytest.raises(FileNotFoundError, match=r"lacks features.json; did you mean .*/0.1.0"):
        convert(f"zip://rt1::file://{archive}", tmp_path / "out")
    convert(f"zip://rt1/0.1.0::file://{archive}", tmp_path / "out", workers=2)
    assert files_of(tmp_path / "out") == files_of(unbroken)


def test_missing_sources(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no data set at .*nowhere: the folder does not"):
        convert(str(tmp_path / "nowhere"), tmp_path / "out")
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    (copy / "fractal20220817_data-train.tfrecord-00007-of-00012").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of the 12 .*-00007-of-00012; copy"):
        convert(str(copy), tmp_path / "out")
    (copy / "features.json").write_text("{")
    shutil.copy(source / "fractal20220817_data-train.tfrecord-00007-of-00012", copy)
    with pytest.raises(ValueError, match=r"copy/features.json is unreadable .*download it again"):
        convert(str(copy), tmp_path / "out")
    with pytest.raises(ValueError, match=r'lacks .*image_0.* the mapping "bridge" reads'):
        convert(str(source), tmp_path / "out", mapping_named("bridge"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="workers=0 is too few"):
        convert(str(source), tmp_path / "out", workers=0)


@pytest.mark.skipif(not FIXTURE.is_dir(), reason=f"no Bridge fixture at {FIXTURE}")
def test_real_data_set_with_two_splits(tmp_path: Path) -> None:
    done = convert(str(FIXTURE), tmp_path / "bridge", workers=2)
    assert done is not None
    assert (done.episodes, done.steps, done.mapping) == (50, 500, "bridge")
    for split in ("train", "val"):
        before = open_dataset(FIXTURE, "bridge", split)
        after = open_dataset(tmp_path / "bridge", "bridge", split)
        assert [before._records[i] for i in range(25)] == [after._records[i] for i in range(25)]
        np.testing.assert_array_equal(before[3].images, after[3].images)


def test_tensorflow_stays_out(source: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from selfflow_robotics.data.rlds import conversion;"
        f"conversion.ConversionSource.open({str(source)!r});"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
