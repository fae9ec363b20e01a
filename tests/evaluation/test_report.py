from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
from counting import TASK, Drunk, Forward

from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.evaluation.report import episode_videos, render, short_name, write_report
from selfflow_robotics.evaluation.results import Results, Settings
from selfflow_robotics.evaluation.video.psnr import Imagination
from selfflow_robotics.images.fit import ImageFit

VOID = {"meta", "img", "br"}


class Balanced(HTMLParser):
    """Checks that tags close in order, and notes every address."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "poster", "data")]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed in itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


class Repeats:
    """Imagines that nothing moves."""

    history_len, image_fit, state_spec, action_block = 2, ImageFit((8, 10)), None, 1

    def observe(self, frames, past_actions, instruction=None, states=None):  # type: ignore[no-untyped-def]
        return frames[:, -1]

    def rollout(self, context, actions_BKHA):  # type: ignore[no-untyped-def]
        future = context[:, None, None]
        return future.repeat(actions_BKHA.shape[1], 1).repeat(actions_BKHA.shape[2], 2)

    def decode(self, rollout):  # type: ignore[no-untyped-def]
        return rollout


def results(name: str = "tiny") -> Results:
    tasks = (
        evaluate(TASK, lambda envs: Forward(), [3, 9], num_envs=2, record=1),
        evaluate(TASK, lambda envs: Drunk(), [3, 9], num_envs=2),
    )
    imagined = Imagination(
        2, 5, 2, 8, 10, (30.0, 25.0), (20.0, 26.0), (19.0, 18.0), (30.0, 25.0), (20.0, 26.0),
        (2.0, 1.5),
    )  # fmt: skip
    settings = Settings(name, (TASK,), ("forward", "drunk"), (3, 9), 2, (8, 10))
    return Results(settings, tasks, imagined)


def test_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    found = results()
    page = write_report(tmp_path / "report.html", found, episode_videos(found.tasks, Repeats(), 2))
    text = page.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(text)
    assert not parser.stack
    assert parser.addresses and all(
        a.startswith("data:video/mp4;base64,") for a in parser.addresses
    )
    assert not re.search(r"https?://|url\(|@import", text)


def test_page_says_what_was_measured() -> None:
    text = render(results())
    assert "<b>2/2</b>" in text
    assert "34% to 100%" in text, "Wilson's interval of 2 in 2"
    assert "+10.00 dB" in text and "-1.00 dB" in text
    assert "Counting" in text and short_name("selfflow/PickCokeCan-v0") == "PickCokeCan"


def test_video_shows_imagination_beside_truth() -> None:
    found = results()
    (video,) = episode_videos(found.tasks, Repeats(), 2)
    assert (video.policy, video.seed, video.success, video.steps) == ("forward", 3, True, 7)
    with av.open(io.BytesIO(video.video.data)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 7
    assert frames[0].shape[1] == 240 * 2 + 4
    happened, imagined = frames[1][100, 100], frames[1][100, 350]
    assert np.abs(happened.astype(int) - 100).max() < 8
    assert np.abs(imagined.astype(int) - 60).max() < 8, "two steps behind"


def test_videos_play_at_the_rate_of_their_task() -> None:
    found = results()
    for rate, fps, said in (
        (3.0, 6, "3 Hz, at 2 times real speed"),
        (20.0, 40, "20 Hz, at 2 times real speed"),
        (None, 6, "6 steps a second shown; the task tells no rate"),
    ):
        tasks = [replace(task, rate_hz=rate) for task in found.tasks]
        (video,) = episode_videos(tasks, None)
        with av.open(io.BytesIO(video.video.data)) as container:
            assert container.streams.video[0].average_rate == fps
        assert said in render(found, [video])


def test_settings_and_what_was_computed_with_are_shown_as_text() -> None:
    found = results()
    settings = replace(found.settings, options={"mapping.text": "<i>push</i>"})
    text = render(replace(found, settings=settings, computing={"precision": "bf16"}))
    assert "&lt;i&gt;push&lt;/i&gt;" in text and "<i>push" not in text
    assert "computed with: precision" in text and "bf16" in text


def test_names_cannot_break_out_of_the_page() -> None:
    assert "<script>" not in render(results("<script>alert(1)</script>"))


def test_report_without_anything_imagined() -> None:
    found = results("")
    videos = episode_videos(found.tasks, None)
    text = render(Results(found.settings, found.tasks), videos)
    assert "Imagination" not in text
    assert base64.b64encode(videos[0].video.data).decode() in text
