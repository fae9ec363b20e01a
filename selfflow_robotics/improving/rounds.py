"""A planner that gets better by its own failures: it acts, an expert counts, all is fitted anew.

What loses a plan is a critic that never saw where a maximiser goes (DAgger's problem, arXiv
1011.0686, for values). So every round's data are the planner's own states, and it is judged on
others of these.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from selfflow_robotics.collecting.assignments import SHARES, assign
from selfflow_robotics.collecting.collect import collect
from selfflow_robotics.collecting.labels import check_labels
from selfflow_robotics.collecting.novices import planner_of
from selfflow_robotics.collecting.workers import Playing, environment
from selfflow_robotics.data.episode import Dataset
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.loader import ClipLoader
from selfflow_robotics.data.rlds.source import STEPS_LEFT_FILE
from selfflow_robotics.model.critic import Critic
from selfflow_robotics.planning.config import suited
from selfflow_robotics.storage.model_folder import WEIGHTS
from selfflow_robotics.storage.one_writer import only_writer
from selfflow_robotics.storage.whole_file import write_whole
from selfflow_robotics.streams import derive_seed
from selfflow_robotics.training.fitted_critic import critic_sizes
from selfflow_robotics.training.fitted_part import digest_of
from selfflow_robotics.training.ranks import Ranks
from selfflow_robotics.training.refit import encoded_sides, refit, require_refittable
from selfflow_robotics.training.run_config import RunSettings
from selfflow_robotics.world_model.world_model import WorldModel

from .config import Improvement
from .judging import Judged, from_json, judge

_MAY_CHANGE = ("rounds", "workers")
_MOST_TIMES = 4  # that an episode of a planner's own comes in an epoch
_STARTS = 20  # whose instructions are looked at


@dataclass(frozen=True)
class Round:
    """One round: 0 is the planner as it begins."""

    number: int
    world: str  # name or folder of the world model after it
    frames: int  # labelled in this round and before
    tasks: dict[str, Judged]


def improve(
    out: Path,
    world_model: str,
    data: Sequence[Dataset],
    settings: Improvement,
    *,
    cache: Path | None = None,
    device: str = "cpu",
) -> list[Round] | None:
    """Play, label, fit and judge, round by round. The same call goes on where it was.

    Args:
        out: folder to write: `round-N/` with `data`, `world`, `judged` and `judged.json`, and
            `improve.json`, the table over rounds.
        world_model: where it starts; without a critic it gets one first, from `data`.
        data: fitted to in every round, with what the rounds before recorded, which comes several
            times where it is less than half as many episodes.
        cache: folder that keeps latents; by default in `out`.
        device: to train on; playing is the processor's.

    Returns:
        The rounds; None if it was asked to stop.

    Raises:
        ValueError: before anything is played, what would fail later: labels that nobody can give,
            no critic, data that mean something else; or `out` holds rounds of other settings.
    """
    run = _Run(out, settings, tuple(data), cache or out / "latents", device)
    found, model = run.ready(world_model)
    with only_writer(out):
        found.write()
        run.read(model)
        rounds: list[Round] = []
        for number in range(settings.rounds + 1):
            done = run.round(number, rounds[-1].world if rounds else world_model, model)
            if done is None:
                return None
            rounds.append(done[0])
            model = done[1]
            table = {"world_model": world_model, "rounds": [asdict(one) for one in rounds]}
            write_whole(out / "improve.json", json.dumps(table, indent=1) + "\n")
            print(said(rounds), flush=True)
    return rounds


def said(rounds: Sequence[Round]) -> str:
    """The table over rounds, of each task successes, median error and rank correlation."""
    tasks = list(rounds[-1].tasks)
    rows = [f"{'round':5} {'frames':>8} " + " ".join(f"{task:>20}" for task in tasks)]
    for one in rounds:
        cells = " ".join(f"{one.tasks[task]!s:>20}" for task in tasks)
        rows.append(f"{one.number:5} {one.frames:8} {cells}")
    rows.append("successes, the critic's median error in steps and rank correlation, on new states")
    return "\n".join(rows)


@dataclass(frozen=True)
class _Run:
    out: Path
    settings: Improvement
    data: tuple[Dataset, ...]
    cache: Path
    device: str

    def ready(self, name: str) -> tuple[RunSettings, WorldModel]:
        """Refuse what cannot be gone through with; what the run is known by, and its first model.

        Raises:
            ValueError: see :func:`improve`.
        """
        settings = self.settings
        there = {path.name for path in self.out.iterdir()} if self.out.is_dir() else set()
        if there and "training" not in there:
            raise FileExistsError(
                f"{self.out} exists and is not a folder of rounds (it holds {min(there)}); choose "
                "another folder"
            )
        if not self.data:
            raise ValueError(
                'there are no episodes: add data=FOLDER ("selfflow collect labels=teacher" makes '
                "one), which every round is fitted to as well"
            )
        if not settings.critic.steps:
            raise ValueError(
                "critic.steps=0 leaves the critic as it is, which is what rounds are to mend; give "
                "it steps, as critic.steps=4000"
            )
        model = WorldModel.from_pretrained(name)
        found = self._known_by(model)
        found.require_same("rounds")
        require_refittable(model, name, self.data, settings.objective, settings.trainer)
        self._require_playable(model)
        return found, model

    def _known_by(self, model: WorldModel) -> RunSettings:
        weights = [value.float().numpy() for value in model.state_dict().values()]
        names = {setting.name for setting in fields(Improvement)}.difference(_MAY_CHANGE)
        asked = {name: getattr(self.settings, name) for name in sorted(names)}
        data = [dict(one.identity) for one in self.data]
        found = {"data.identity": data, "world_model.weights": digest_of(weights)}
        return RunSettings.of(self.out / "training", asked, found)

    def _require_playable(self, model: WorldModel) -> None:
        """Refuse planners that cannot be made, and tasks that nobody labels or has words for."""
        settings = self.settings
        counting = copy.deepcopy(model)
        if model.critic is None:
            counting.critic = Critic(critic_sizes(model))
        for from_nothing in (False, True):
            planner_of(counting, settings.planner, from_nothing)
        playing = self._playing(model, "", 1)
        count = settings.episodes
        assigned = assign(settings.tasks, count, None, seed=settings.seed, **self._shares)
        tasks = sorted({one.task for one in assigned})
        envs = [environment(task, playing.image_size, playing.robot) for task in tasks]
        check_labels(envs, settings.labels, settings.seed)
        for env in envs:
            told = [env.reset(seed=seed)[0]["instruction"] for seed in range(_STARTS)]
            model.config.vocabulary.encode(told)

    @property
    def _shares(self) -> dict[str, float]:
        return {**dict.fromkeys(SHARES, 0.0), **self.settings.players}

    def _playing(self, model: WorldModel, name: str, number: int) -> Playing:
        """How a round is played; number 0 is where planners are judged."""
        settings, planner = self.settings, self.settings.planner
        if not number:
            planner = replace(planner, start=suited(planner, model).start)
        seed = derive_seed(settings.seed, number) % 2**31
        return Playing(
            seed,
            model.camera_size,
            world_model=name,
            planner=planner,
            labels=settings.labels if number else "expert",
        )

    def read(self, model: WorldModel) -> None:
        """Encode the data, and so find out before anything is played whether they can be read."""
        specs = model.action_spec, model.state_spec
        parts = encoded_sides(self.data, model.tokenizer, model.image_fit, self.cache, specs)
        for part in parts:
            part.with_words(model.config.vocabulary)
        trainer = self.settings.trainer
        if trainer.steps:
            ClipLoader(parts[0], trainer.frames, trainer.batch_size)

    def round(self, number: int, before: str, model: WorldModel) -> tuple[Round, WorldModel] | None:
        """Act, fit and judge, each unless that was done; None where it was asked to stop.

        Args:
            before: name or folder of the world model that acts, which is given as well.
        """
        settings, folder = self.settings, self.out / f"round-{number}"
        recorded = [self.out / f"round-{i + 1}" / "data" for i in range(number)]
        if number and not recorded[-1].exists():
            print(f"round {number} of {settings.rounds}: {before} acts", flush=True)
            collect(
                recorded[-1],
                settings.tasks,
                settings.episodes,
                None,
                container="array_record",
                playing=self._playing(model, before, number),
                workers=settings.workers,
                **self._shares,
            )
        world = before
        if number or model.critic is None:
            world = str(folder / "world")
            if not (folder / "world" / WEIGHTS).is_file():
                trained = self._refit(number, before, [open_dataset(path) for path in recorded])
                if trained is None:
                    return None
                trained.save_pretrained(world)
            model = WorldModel.from_pretrained(world)
        written = folder / "judged.json"
        if not written.exists():
            playing = self._playing(model, world, 0)
            judged = judge(
                model, settings.tasks, settings.judged, playing, folder / "judged", settings.workers
            )
            tasks = {task: asdict(one) for task, one in judged.items()}
            write_whole(written, json.dumps(tasks, indent=1) + "\n")
        frames = sum(_frames(path) for path in recorded)
        return Round(number, world, frames, from_json(json.loads(written.read_text()))), model

    def _refit(self, number: int, before: str, recorded: list[Dataset]) -> WorldModel | None:
        settings = self.settings
        trainer, prior = settings.trainer, settings.prior
        if not number:
            trainer = replace(trainer, steps=0)
        if number < settings.rounds:
            prior = replace(prior, steps=0)
        return refit(
            WorldModel.from_pretrained(before, self.device),
            before,
            [*self.data, *recorded * _times(self.data, recorded)],
            self.out / f"round-{number}" / "training",
            cache=self.cache,
            objective=settings.objective,
            trainer=trainer,
            prior=prior,
            critic=settings.critic,
            ranks=Ranks(device=self.device),
        )


def _times(data: Sequence[Dataset], recorded: Sequence[Dataset]) -> int:
    """How often the planner's own states come for once of the data: a third are to be its own.

    They are few and matter most. Off-policy learners draw half from each (RLPD, arXiv 2302.02948),
    which here would show a first round's states to a critic thirty times.
    """
    third = sum(map(len, data)) / (2 * max(1, sum(map(len, recorded))))
    return min(max(1, round(third)), _MOST_TIMES)


def _frames(recorded: Path) -> int:
    """How many frames of a round's data are labelled."""
    labels = json.loads((recorded / STEPS_LEFT_FILE).read_text())["train"]
    return sum(len(one.split()) for one in labels)
