"""An evaluation as one web page that needs nothing else: tables, plots, videos."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from selfflow_robotics.envs.names import short_name
from selfflow_robotics.evaluation.results import Results, TaskResult
from selfflow_robotics.evaluation.video.psnr import Imagination, imagine_episode
from selfflow_robotics.evaluation.video.writing import EncodedVideo, encode, side_by_side
from selfflow_robotics.storage.whole_file import write_whole
from selfflow_robotics.world_model.protocol import Observes

_SPEED = 2.0  # of videos, to real time
_UNKNOWN_FPS = 6.0  # of videos of tasks that do not tell their rate
_COLOURED = ("planner", "joint", "expert", "random", "zero")  # the same in every report

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2024;--soft:#60646c;--line:#dfe2e6;
--card:#f6f7f9;--c0:#2f6fde;--c1:#12876a;--c2:#8e4ec6;--c3:#d9730d;--c4:#7d828a;--c5:#c2298a;--c6:#0b7fa5}
@media(prefers-color-scheme:dark){:root{--paper:#15171a;--ink:#e8eaed;--soft:#9aa0a8;--line:#33373d;
--card:#1d2024;--c0:#6ea1ff;--c1:#3cc9a0;--c2:#bf8cf0;--c3:#f5a356;--c4:#9ba1a9;--c5:#ee77c0;--c6:#4fc3e8}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 8px}
h3{font-size:15px;margin:24px 0 8px}
p{margin:6px 0;max-width:75ch}.soft{color:var(--soft)}small{color:var(--soft);font-size:12.5px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;min-width:560px;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:8px 10px;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;white-space:nowrap}thead th{color:var(--soft);font-size:13px}
td b{font-size:16px}td small{display:block;white-space:nowrap}
.number td,.number thead th+th{text-align:right}
.swatch{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
svg{display:block;width:100%;height:auto;max-width:1000px}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .soft{fill:var(--soft)}
svg .task{font-weight:600;font-size:13px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(440px,1fr));gap:16px}
@media(max-width:520px){.grid{grid-template-columns:1fr}}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;
overflow:hidden}
figure video,figure img{display:block;width:100%;height:auto;background:#181a1e}
figcaption{padding:8px 12px;font-size:13.5px}
.good{color:var(--c1);font-weight:600}.bad{color:var(--c3);font-weight:600}
details{margin-top:8px}code{font-size:12.5px;overflow-wrap:anywhere}
"""


@dataclass(frozen=True)
class EpisodeVideo:
    """What happened in one recorded episode, beside what was imagined."""

    task: str
    policy: str
    seed: int
    success: bool
    steps: int
    imagined: bool
    rate_hz: float | None  # steps a second, where the task tells
    video: EncodedVideo


def episode_videos(
    tasks: Iterable[TaskResult], world_model: Observes | None, horizon: int = 4, most: int = 1
) -> tuple[EpisodeVideo, ...]:
    """Videos of recorded episodes.

    Args:
        world_model: imagines H frames from every H-th seen one, with the actions taken and, where
            the policy plans, with those it planned; None shows what happened alone.
        horizon: H.
        most: videos a task and policy.
    """
    videos = []
    for task in tasks:
        for recording in task.recorded[:most]:
            episode = recording.episode
            columns = [("happened", episode.images[1:])]
            if world_model is not None and episode.actions is not None:
                columns.append(
                    ("imagined: actions taken", imagine_episode(world_model, episode, horizon))
                )
                planned = recording.planned_actions(horizon)
                if planned is not None:
                    imagined = imagine_episode(world_model, episode, horizon, planned)
                    columns.append(("imagined: as planned", imagined))
            videos.append(
                EpisodeVideo(
                    task=task.task,
                    policy=task.policy,
                    seed=recording.seed,
                    success=bool(episode.success),
                    steps=len(episode) - 1,
                    imagined=len(columns) > 1,
                    rate_hz=task.rate_hz,
                    video=encode(side_by_side(columns), fps=_frames_a_second(task.rate_hz)),
                )
            )
    return tuple(videos)


def write_report(path: Path, results: Results, videos: Sequence[EpisodeVideo] = ()) -> Path:
    """Write the page atomically, with videos from :func:`episode_videos`; returns its path."""
    write_whole(path, render(results, videos))
    return path


def render(results: Results, videos: Sequence[EpisodeVideo] = ()) -> str:
    """The page as HTML that loads nothing from elsewhere."""
    model = results.settings.world_model
    title = f"Evaluation of {model}" if model else "Evaluation"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=soft>{escape(_provenance(results))}</p>",
        "<h2>Success</h2>",
        _success_table(results.tasks),
        _success_plot(results.tasks),
    ]
    if results.imagination is not None:
        parts += ["<h2>Imagination</h2>", _imagination(results.imagination)]
    if videos:
        parts += ["<h2>Imagined beside what happened</h2>", _videos(videos)]
    parts += ["<h2>Planning time</h2>", _time_plot(results.tasks), _settings(results)]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _provenance(results: Results) -> str:
    settings = results.settings
    count = len(settings.seeds)
    said = [
        f"{count} episode{'s' if count != 1 else ''} per task and policy",
        f"seeds {_ranges(settings.seeds)}",
    ]
    if settings.image_size is not None:
        said.append(f"images {settings.image_size[0]}x{settings.image_size[1]}")
    if results.revision:
        said.append(f"code {results.revision[:10]}{'-dirty' * results.revision.endswith('dirty')}")
    return " · ".join(said)


def _ranges(seeds: Sequence[int]) -> str:
    first, last = seeds[0], seeds[-1]
    if list(seeds) == list(range(first, last + 1)) and len(seeds) > 1:
        return f"{first} to {last}"
    return ", ".join(map(str, seeds[:12])) + (", …" if len(seeds) > 12 else "")


def _colours(tasks: Sequence[TaskResult]) -> dict[str, str]:
    """Of each policy, in the order of their first appearance."""
    policies = dict.fromkeys(task.policy for task in tasks)
    known = [*_COLOURED, *(policy for policy in policies if policy not in _COLOURED)]
    return {policy: f"var(--c{known.index(policy) % 7})" for policy in policies}


def _table(head: str, body: str, kind: str = "") -> str:
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<div class=scroll><table{kind}>{head}<tbody>{body}</tbody></table></div>"


def _success_table(tasks: Sequence[TaskResult]) -> str:
    names, policies = dict.fromkeys(task.task for task in tasks), _colours(tasks)
    found = {(task.task, task.policy): task for task in tasks}
    head = "<th>task</th>" + "".join(
        f'<th><span class=swatch style="background:{colour}"></span>{escape(policy)}</th>'
        for policy, colour in policies.items()
    )
    rows = []
    for name in names:
        cells = [f'<th title="{escape(name)}">{escape(short_name(name))}</th>']
        for policy in policies:
            task = found.get((name, policy))
            cells.append(f"<td>{'-' if task is None else _success_cell(task)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    left_out = sum(len(task.solved_at_start) for task in tasks)
    note = (
        "Successful episodes of all, with Wilson's 95% interval; below, the mean steps to success "
        "and the sub-task that failures mostly got to."
    )
    if left_out:
        note += f" {left_out} episodes that started solved are left out."
    for doubt in dict.fromkeys(task.doubt for task in tasks if task.doubt):
        note += f" {escape(doubt[0].upper() + doubt[1:])}."
    return _table(head, "".join(rows)) + f"<p class=soft>{note}</p>"


def _success_cell(task: TaskResult) -> str:
    interval, steps = task.interval, task.steps_to_success
    lines = [f"{interval.low:.0%} to {interval.high:.0%}"]
    if steps is not None:
        lines.append(f"{steps:.0f} steps")
    failed = [episode.subtask for episode in task.episodes if not episode.success]
    if failed and any(failed):
        usual = max(set(failed), key=failed.count)
        lines.append(f"failures: sub-task {usual}")
    small = "".join(f"<small>{line}</small>" for line in lines)
    return f"<b>{task.successes}/{len(task.episodes)}</b>{small}"


@dataclass(frozen=True)
class _Bar:
    value: float  # of the axis
    low: float
    high: float
    text: str


def _success_plot(tasks: Sequence[TaskResult]) -> str:
    def bar(task: TaskResult) -> _Bar:
        count, interval = len(task.episodes), task.interval
        rate = task.successes / count if count else 0.0
        return _Bar(rate, interval.low, interval.high, f"{task.successes}/{count}")

    ticks = [(value / 4, f"{value * 25}%") for value in range(5)]
    return _bars(tasks, bar, 1.0, ticks, "Success rate with 95% interval, by task and policy")


def _time_plot(tasks: Sequence[TaskResult]) -> str:
    def bar(task: TaskResult) -> _Bar:
        mean, p95 = task.planning.mean, task.planning.p95
        return _Bar(mean, mean, max(mean, p95), f"{_seconds(mean)} · p95 {_seconds(p95)}")

    top = max([bar(task).high for task in tasks] + [1e-6])
    ticks = [(top * i / 4, _seconds(top * i / 4)) for i in range(5)]
    rows = max(
        (round(t.planning.decisions / max(t.planning.calls, 1), 1) for t in tasks), default=1
    )
    note = (
        "Wall time of one call of the policy: mean, and the 95th percentile as a line. A call "
        f"decides for all active environments at once, here for up to {rows:g} on average."
    )
    return f"<p class=soft>{note}</p>" + _bars(
        tasks, bar, top, ticks, "Seconds a decision, by task and policy"
    )


def _bars(
    tasks: Sequence[TaskResult],
    bar_of: Callable[[TaskResult], _Bar],
    top: float,
    ticks: Sequence[tuple[float, str]],
    title: str,
) -> str:
    """A horizontal bar a policy, in groups by task, each with a line from low to high."""
    colours = _colours(tasks)
    left, right, width, row, gap = 96.0, 170.0, 860.0, 20.0, 30.0
    inner = width - left - right
    marks: list[str] = []
    y = 8.0
    for group in dict.fromkeys(short_name(task.task) for task in tasks):
        y += gap
        marks.append(f'<text class=task x="0" y="{y - 9:.0f}">{escape(group)}</text>')
        for task in tasks:
            if short_name(task.task) != group:
                continue
            bar, colour = bar_of(task), colours[task.policy]
            x, low, high = (left + inner * v / top for v in (bar.value, bar.low, bar.high))
            middle = y + row / 2
            marks.append(
                f'<text class=soft x="{left - 8:.0f}" y="{middle + 4:.0f}" text-anchor="end">'
                f"{escape(task.policy)}</text>"
                f'<rect x="{left}" y="{y + 3:.1f}" width="{max(x - left, 1.5):.1f}" '
                f'height="{row - 6:.1f}" rx="2" fill="{colour}" fill-opacity=".55"/>'
                f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 4:.1f}v8'
                f'M{high:.1f} {middle - 4:.1f}v8" stroke="{colour}" stroke-width="1.6"/>'
                f'<text x="{left + inner + 10:.0f}" y="{middle + 4:.0f}">{escape(bar.text)}</text>'
            )
            y += row
    y += 6
    grid = "".join(
        f'<path d="M{left + inner * value / top:.1f} 18V{y:.0f}" stroke="var(--line)"/>'
        f'<text class=soft x="{left + inner * value / top:.1f}" y="{y + 14:.0f}" '
        f'text-anchor="middle">{escape(label)}</text>'
        for value, label in ticks
    )
    return (
        f'<svg viewBox="0 0 {width:.0f} {y + 22:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{grid}{''.join(marks)}</svg>"
    )


def _imagination(found: Imagination) -> str:
    ahead = range(1, found.horizon + 1)
    head = "<th></th>" + "".join(f"<th>{h} step{'s' if h > 1 else ''} ahead</th>" for h in ahead)
    rows = [
        ("imagined, true actions", found.psnr_H, "dB"),
        ("last frame copied", found.copy_psnr_H, "dB"),
        ("gain over copying", found.gain, "gain"),
        ("imagined, shuffled actions", found.shuffled_psnr_H, "dB"),
        ("imagined, of the mean error", found.pooled_psnr_H, "dB"),
        ("copied, of the mean error", found.pooled_copy_psnr_H, "dB"),
        ("squared error, shuffled / true", found.shuffled_error_ratio_H, "ratio"),
    ]
    body = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{_number(v, kind)}</td>' for v in values)}</tr>"
        for name, values, kind in rows
    )
    note = (
        f"PSNR of uint8 frames at {found.height}x{found.width}, mean over {found.clips} clips of "
        f"{found.episodes} episodes; of the mean error, still scenes count for less. A ratio of 1 "
        "would mean that actions are ignored. "
        "PSNR depends on resolution and scene: compare it within this table only."
    )
    return _table(head, body, " class=number") + f"<p class=soft>{note}</p>"


def _number(value: float, kind: str) -> str:
    if kind == "ratio":
        return f"{value:.2f}"
    if kind == "dB":
        return f"{value:.2f} dB"
    return f"<span class={'good' if value > 0 else 'bad'}>{value:+.2f} dB</span>"


def _videos(videos: Sequence[EpisodeVideo]) -> str:
    note = ""
    if any(video.imagined for video in videos):
        note += (
            "Every few steps the world model sees the true frame again and imagines on from there. "
        )
    parts = [f"<p class=soft>{note}Click to pause.</p>"]
    for task in dict.fromkeys(video.task for video in videos):
        figures = "".join(_figure(video) for video in videos if video.task == task)
        parts.append(f"<h3>{escape(short_name(task))}</h3><div class=grid>{figures}</div>")
    return "".join(parts)


def _figure(video: EpisodeVideo) -> str:
    source = f"data:{video.video.mime};base64,{base64.b64encode(video.video.data).decode()}"
    verdict = "success" if video.success else "failure"
    label = f"{video.policy} in {short_name(video.task)}, seed {video.seed}"
    if video.video.mime.startswith("image/"):
        shown = f'<img src="{source}" alt="{escape(label)}">'
    else:
        shown = (
            f'<video src="{source}" aria-label="{escape(label)}" autoplay loop muted playsinline '
            'onclick="this.paused?this.play():this.pause()"></video>'
        )
    mark = f"<span class={'good' if video.success else 'bad'}>{verdict}</span>"
    return (
        f"<figure>{shown}<figcaption><b>{escape(video.policy)}</b> · seed {video.seed} · {mark} "
        f"after {video.steps} steps · {_speed(video.rate_hz)}</figcaption></figure>"
    )


def _frames_a_second(rate_hz: float | None) -> float:
    return _UNKNOWN_FPS if rate_hz is None else _SPEED * rate_hz


def _speed(rate_hz: float | None) -> str:
    if rate_hz is None:
        return f"{_UNKNOWN_FPS:g} steps a second shown; the task tells no rate"
    return f"{rate_hz:g} Hz, at {_SPEED:g} times real speed"


def _settings(results: Results) -> str:
    settings = results.settings
    rows = {
        "world model": settings.world_model or "none",
        "tasks": ", ".join(settings.tasks),
        "policies": ", ".join(settings.policies),
        "seeds": _ranges(settings.seeds),
        "environments at a time": str(settings.num_envs),
        **settings.options,
        **{f"computed with: {key}": value for key, value in results.computing.items()},
        "code": results.revision or "not a git checkout",
        **{f"{package} version": version for package, version in results.versions.items()},
    }
    body = "".join(
        f"<tr><th>{escape(key)}</th><td><code>{escape(str(value))}</code></td></tr>"
        for key, value in rows.items()
    )
    return (
        "<h2>Settings</h2><p class=soft>The numbers of this page, episode by episode, are in "
        "results.json beside it.</p>"
        f"<details><summary>All settings and versions</summary>{_table('', body)}</details>"
    )


def _seconds(value: float) -> str:
    if value <= 0:
        return "0"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"
