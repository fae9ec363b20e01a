"""Videos that a command reads: files, and generated scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..data.episode import EpisodeSource


def open_video(
    videos: str | None,
    physics_episodes: int,
    image_size: tuple[int, int],
    seed: int,
    **clips: Any,
) -> list[EpisodeSource]:
    """What was asked for; `clips` says how files are cut, see :class:`VideoClips`."""
    from ..data.video.source import VideoClips
    from ..envs.physics_video import PhysicsVideo

    sources: list[EpisodeSource] = []
    if videos is not None:
        sources.append(VideoClips(videos, image_size, **clips))
    if physics_episodes:
        sources.append(PhysicsVideo(physics_episodes, 24, image_size, seed=seed))
    return sources
