"""Episodes that a world model is to imagine in, checked before anything is: stored or fresh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from selfflow_robotics.data.episode import Dataset, Episode
from selfflow_robotics.data.split import OneSide
from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.images.fit import ImageFit
from selfflow_robotics.policies.build import make_policy
from selfflow_robotics.world_model.world_model import WorldModel


def require_actions(source: Dataset) -> Dataset:
    """The data set, whose episodes must have actions.

    Raises:
        ValueError: it has none.
    """
    if source.action_spec is None:
        raise ValueError(
            f"{source.name} has no actions, so nothing tells the world model what to imagine; use "
            "a data set with actions"
        )
    return source


def require_fit(source: Dataset, world_model: WorldModel, name: str) -> None:
    """Refuse a data set whose actions or states mean something else than the world model's.

    Of one without actions it counts what its mapping says they would be.

    Raises:
        ValueError: names both and what differs.
    """
    spec = source.action_spec or getattr(getattr(source, "mapping", None), "action_spec", None)
    if spec is None:
        raise ValueError(f"{source.name} has no actions and does not say what they would be")
    world_model.step_spec.require_match(spec, name, source.name)
    if world_model.state_spec is not None and source.state_spec is not None:
        world_model.state_spec.require_match(source.state_spec, name, source.name)


def read_long_enough(
    source: Dataset, numbers: Iterable[int], horizon: int, most: int, fit: ImageFit
) -> list[Episode]:
    """The first episodes of these with at least `horizon` frames after the first, at most `most`.

    Their pictures are made the size that the world model reads.

    Raises:
        ValueError: none has, or there is but one such frame to start from; or a faulty episode.
    """
    numbers = list(numbers)
    longest, found = 0, []
    for number in numbers:
        episode = source[number]
        longest = max(longest, len(episode))
        if len(episode) > horizon:
            found.append(replace(episode, images=fit(episode.images)))
        if len(found) == most:
            break
    if sum(len(episode) - horizon for episode in found) < 2:
        raise ValueError(
            f"{source.name} has {len(source)} episodes, {len(numbers)} of them to judge by, the "
            f"longest of {longest} frames: too few to imagine {horizon} steps from two of them; "
            "lower horizon, or give more or longer episodes (5% of all are held out)"
        )
    return found


def one_and_others(
    source: Dataset, wanted: int | None, horizon: int, fit: ImageFit, most: int = 16
) -> list[Episode]:
    """The wanted episode, then held-out ones; where these are not two, others too.

    Raises:
        ValueError: no such episode, or too few frames to imagine so many steps ahead.
    """
    if not 0 <= (wanted or 0) < len(source):
        raise ValueError(f"{source.name} has episodes 0..{len(source) - 1}, not {wanted}")
    chosen = list(OneSide(source, "held-out").index)
    if len(chosen) < 2:
        most = 2
        chosen += range(len(source))
    if wanted is not None:
        episode = source[wanted]
        if len(episode) <= horizon:
            raise ValueError(
                f"episode {episode.id} has {len(episode)} frames, too few to imagine "
                f"{horizon} steps; lower horizon, or choose another episode"
            )
        chosen.insert(0, wanted)
    return read_long_enough(source, dict.fromkeys(chosen), horizon, most, fit)


def played_by_expert(task: str, seed: int, image_size: tuple[int, int]) -> list[Episode]:
    """Two fresh episodes of a task of this project.

    Raises:
        ValueError: the task starts solved with the seeds.
    """
    seeds = (seed, seed + 1)
    found = evaluate(
        task, lambda envs: make_policy("expert", None, envs), seeds, 2, image_size, record=2
    )
    if not found.recorded:
        raise ValueError(f"{task} starts solved with the seeds {seeds}; give another seed")
    return [recording.episode for recording in found.recorded]
