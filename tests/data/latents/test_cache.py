"""Latents on disk: encoded once, resumed, refused when stale."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_material import Material, files, material, only
from videos import write_video

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.latents.cache import latents_of
from selfflow_robotics.data.latents.encoding import encode_episodes
from selfflow_robotics.data.loader import ClipLoader
from selfflow_robotics.data.video.source import VideoClips
from selfflow_robotics.storage.one_writer import only_writer
from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from selfflow_robotics.tokenizers.patches import Patches

SMALL = AutoencoderConfig(channels=4, widths=(4,))


@pytest.mark.parametrize("part", [2, 7, 100])
def test_latents_are_encoded_once_and_are_those_encoded_in_memory(
    tmp_path: Path, part: int
) -> None:
    first, second = material(), material()
    specs = RT1_ACTIONS, RT1_STATE
    made = encode_episodes(material(), Patches(2), actions=RT1_ACTIONS, states=RT1_STATE)
    for source in (first, second):
        found = latents_of(source, Patches(2), tmp_path, *specs, part_episodes=part)
        for name, value in vars(made).items():
            assert np.array_equal(value, getattr(found, name)), name
    assert (first.reads, second.reads) == (7, 0)
    parts = {p.name for p in only(tmp_path).glob("part-*")}
    assert parts == {f"part-{i:05d}" for i in range(-(-7 // part))}


def test_latents_are_read_where_they_lie(tmp_path: Path) -> None:
    found = latents_of(material(), Patches(2), tmp_path, part_episodes=3)
    assert all(isinstance(part._rows.base, np.memmap) for part in found.latents.parts)
    whole = encode_episodes(material(), Patches(2))
    for frames in (1, 3):
        for step in range(4):
            one, other = (ClipLoader(e, frames, 8).batch(step) for e in (found, whole))
            assert torch.equal(one.clips.latents_BTCHW, other.clips.latents_BTCHW)
            assert one.episodes == other.episodes


def test_video_comes_back_from_the_cache_without_actions(tmp_path: Path) -> None:
    for _ in range(2):
        found = latents_of(material(), Patches(2), tmp_path)
        assert found.actions is None and found.states is None and found.words is None


def test_captions_come_back_from_the_cache(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name)
    (tmp_path / "b.txt").write_text("a wall turns white")
    source = VideoClips(tmp_path, image_size=(8, 12), frames=8)
    for _ in range(2):
        found = latents_of(source, Patches(2), tmp_path / "cache", part_episodes=2)
        told = found.instructions_at(found.offsets[:-1])
        assert told == [""] * 3 + ["a wall turns white"] * 3


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ("weights", "tokenizer.weights"),
        ("tokenizer", "tokenizer.factor"),
        ("size", "image_size"),
        ("statistics", "actions.q99"),
        ("states", "states"),
    ],
)
def test_stale_cache_is_refused_and_says_what_differs(
    tmp_path: Path, other: str, named: str
) -> None:
    torch.manual_seed(0)
    given, tokenizer, spec, states = material(), Autoencoder(SMALL), RT1_ACTIONS, None
    latents_of(given, tokenizer, tmp_path, spec)
    before = files(tmp_path)
    if other == "weights":
        tokenizer = Autoencoder(SMALL)
    elif other == "tokenizer":
        tokenizer = Patches(2)  # type: ignore[assignment]
    elif other == "size":
        given.image_size = (4, 4)
    elif other == "statistics":
        spec = replace(spec, q99=tuple(2 * value for value in spec.q99))
    else:
        states = RT1_STATE
    with pytest.raises(ValueError, match=r"is stale, it was encoded with another") as caught:
        latents_of(given, tokenizer, tmp_path, spec, states)
    assert named in str(caught.value) and "remove this one to encode anew" in str(caught.value)
    assert files(tmp_path) == before


@pytest.mark.parametrize("other", ["episodes", "images", "marks"])
def test_another_data_set_has_another_folder(tmp_path: Path, other: str) -> None:
    given = material()
    latents_of(given, Patches(2), tmp_path, RT1_ACTIONS)
    if other == "episodes":
        given = Material(given.episodes[:-1])
    elif other == "images":
        given = material(seed=1)
    else:
        marked = replace(given.episodes[0], demonstrated=np.zeros(4, np.bool_))
        given = Material([marked, *given.episodes[1:]])
    cached = latents_of(given, Patches(2), tmp_path, RT1_ACTIONS)
    fresh = latents_of(given, Patches(2), None, RT1_ACTIONS)
    assert len(list(tmp_path.iterdir())) == 2
    assert np.array_equal(fresh.latents, cached.latents)
    assert np.array_equal(fresh.demonstrated, cached.demonstrated)


def test_steps_left_come_back_from_a_cache_unknown_where_an_episode_has_none(
    tmp_path: Path,
) -> None:
    left = np.array([np.inf, 2.5, 1, 0], np.float32)
    given = material()
    assert latents_of(given, Patches(2), tmp_path / "none", RT1_ACTIONS).steps_left is None
    given = Material([replace(given.episodes[0], steps_left=left), *given.episodes[1:]])
    for _ in range(2):
        found = latents_of(given, Patches(2), tmp_path / "some", RT1_ACTIONS, part_episodes=2)
        assert found.steps_left is not None and len(found.steps_left) == len(found.latents)
        np.testing.assert_array_equal(found.steps_left[:4], left)
        assert np.isnan(found.steps_left[4:]).all()


def test_encoding_that_fails_names_the_episode_and_goes_on_from_its_part(tmp_path: Path) -> None:
    whole = material()
    broken = Material(whole.episodes)
    broken.episodes = [*whole.episodes[:5], replace(whole.episodes[5], actions=None)]
    broken.episodes.append(whole.episodes[6])
    with pytest.raises(ValueError, match="episode train/5 has no actions"):
        latents_of(broken, Patches(2), tmp_path, RT1_ACTIONS, part_episodes=2)
    assert sorted(p.name for p in only(tmp_path).glob("*part-*")) == ["part-00000", "part-00001"]
    # The parts that are there keep their size, whatever is asked for now.
    found = latents_of(whole, Patches(2), tmp_path, RT1_ACTIONS, part_episodes=100)
    assert whole.reads == 3
    assert np.array_equal(found.latents, encode_episodes(whole, Patches(2)).latents)


def test_latents_that_are_not_finite_are_refused() -> None:
    tokenizer = Patches(2)
    tokenizer.latent_std.fill_(1e-9)
    with pytest.raises(ValueError, match=r"latents of episode train/0 are not finite"):
        encode_episodes(material(), tokenizer)


@pytest.mark.parametrize("file", ["latents.npy", "rows.npz"])
@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_truncated_part_is_named(tmp_path: Path, file: str, kept: float) -> None:
    latents_of(material(), Patches(2), tmp_path, part_episodes=3)
    path = only(tmp_path) / "part-00001" / file
    whole = path.read_bytes()
    size = int(len(whole) * kept) if isinstance(kept, float) else kept
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match=rf"part-00001/{file} is truncated or damaged") as caught:
        latents_of(material(), Patches(2), tmp_path)
    assert "remove" in str(caught.value) and "this part alone is encoded anew" in str(caught.value)
    for one in path.parent.iterdir():
        one.unlink()
    path.parent.rmdir()
    again = material()
    latents_of(again, Patches(2), tmp_path)
    assert again.reads == 3 and path.read_bytes() == whole


@pytest.mark.parametrize("place", [9, 60, 100, -1])
def test_byte_of_the_latents_that_changed_is_noticed_when_it_is_read(
    tmp_path: Path, place: int
) -> None:
    latents_of(material(), Patches(2), tmp_path, part_episodes=3)
    path = only(tmp_path) / "part-00001" / "latents.npy"
    whole = path.read_bytes()
    content = bytearray(whole)
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"part-00001/latents.npy is .*damaged") as caught:
        found = latents_of(material(), Patches(2), tmp_path)
        for batch in islice(ClipLoader(found, 4, 5).batches(0), 8):
            assert torch.isfinite(batch.clips.latents_BTCHW).all()
    assert f"remove {path.parent} and run again, this part alone" in str(caught.value)
    shutil.rmtree(path.parent)
    again = material()
    latents_of(again, Patches(2), tmp_path)
    assert again.reads == 3 and path.read_bytes() == whole


def test_cache_without_checksums_is_stale(tmp_path: Path) -> None:
    latents_of(material(), Patches(2), tmp_path)
    key = only(tmp_path) / "cache.json"
    key.write_text(key.read_text().replace("latents/2", "latents/1"))
    with pytest.raises(ValueError, match=r"is stale, .* another format .*remove this one"):
        latents_of(material(), Patches(2), tmp_path)


def test_damaged_key_is_a_sentence(tmp_path: Path) -> None:
    latents_of(material(), Patches(2), tmp_path)
    (only(tmp_path) / "cache.json").write_text("{")
    with pytest.raises(ValueError, match=r"cache\.json is damaged .* remove"):
        latents_of(material(), Patches(2), tmp_path)


ENCODE = """
import sys, time
sys.path[:0] = {paths!r}
from test_cache import *

class Slow(Material):
    def __getitem__(self, i):
        time.sleep({seconds})
        return super().__getitem__(i)

latents_of(Slow(material().episodes), random_autoencoder(), Path({cache!r}), part_episodes=2)
"""


def random_autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(SMALL)


def start(cache: Path, seconds: float = 0.0, **options: object) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    code = ENCODE.format(
        paths=[str(here.parents[1]), str(here.parent), str(here)], seconds=seconds, cache=str(cache)
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def test_killed_encoding_resumes_with_the_same_bytes(tmp_path: Path) -> None:
    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed", 0.15)
    folder = tmp_path / "killed" / only(tmp_path / "whole").name
    wait_for(folder / "part-00001")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "part-00003").exists()
    (folder / ".part-00002-left-partial").mkdir()  # what a kill in the middle of writing leaves
    kept = files(folder)
    assert start(tmp_path / "killed").wait() == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert kept.items() <= files(folder).items()


def test_second_writer_is_refused(tmp_path: Path) -> None:
    latents_of(material(), random_autoencoder(), tmp_path, part_episodes=2)
    (folder,) = tmp_path.iterdir()
    shutil.rmtree(folder / "part-00000")
    with only_writer(folder):
        process = start(tmp_path)
        assert "another process writes to" in process.communicate()[1].decode()
        assert process.returncode != 0
    assert latents_of(material(), random_autoencoder(), tmp_path).offsets[-1] == 49


def test_full_disk_is_a_sentence_and_leaves_no_half_part(tmp_path: Path) -> None:
    """The system refuses to write more, as on a full disk: here by the limit on a file's size."""
    latents_of(material(), random_autoencoder(), tmp_path / "whole", part_episodes=2)
    sizes = [p.stat().st_size for p in (tmp_path / "whole").glob("*/part-*/latents.npy")]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) - 1,) * 2)

    process = start(tmp_path / "full", preexec_fn=limit)
    said = process.communicate()[1].decode()
    assert process.returncode != 0
    assert "could not be written" in said and "make room on its disk" in said
    folder = only(tmp_path / "full")
    assert not list(folder.glob(".part-*")) and list(folder.glob("part-*"))
    assert start(tmp_path / "full").wait() == 0
    assert files(tmp_path / "full") == files(tmp_path / "whole")


def test_key_is_readable(tmp_path: Path) -> None:
    latents_of(material(), Patches(2), tmp_path, RT1_ACTIONS)
    folder = only(tmp_path)
    assert folder.name.startswith("material-train-")
    key = json.loads((folder / "cache.json").read_text())
    assert key["tokenizer"]["tokenizer"] == "patches" and key["tokenizer"]["factor"] == 2
    assert key["data"]["episodes"] == 7 and key["image_size"] == [8, 12]


@pytest.mark.parametrize("workers", [0, 2])
def test_video_that_turns_out_broken_is_left_out_and_named(tmp_path: Path, workers: int) -> None:
    for name in "abcd":
        write_video(tmp_path / f"{name}.mp4")
    source = VideoClips(tmp_path, (16, 24), frames=8, max_broken=0.3)
    (tmp_path / "b.mp4").unlink()
    cache = tmp_path / "cache"
    found = latents_of(source, Patches(4), cache, part_episodes=5, workers=workers)
    assert [name[0] for name in map(os.path.basename, found.ids)] == list("aaacccddd")
    assert [os.path.basename(video.path) for video in source.broken] == ["b.mp4"]
    # What was left out is still known, and counted, when encoding goes on.
    shutil.rmtree(only(cache) / "part-00002")
    (tmp_path / "d.mp4").unlink()
    again = pickle.loads(pickle.dumps(source))
    again._broken.clear()
    with pytest.raises(ValueError, match=r"2 of 4 video files .* cannot be read"):
        latents_of(again, Patches(4), cache, workers=workers)


@pytest.mark.parametrize("tokenizer", [Patches(2), random_autoencoder()])
def test_workers_give_the_same_bytes(tmp_path: Path, tokenizer: Patches | Autoencoder) -> None:
    latents_of(material(), tokenizer, tmp_path / "0", RT1_ACTIONS, part_episodes=3)
    latents_of(material(), tokenizer, tmp_path / "2", RT1_ACTIONS, part_episodes=3, workers=2)
    assert files(tmp_path / "0") == files(tmp_path / "2")
