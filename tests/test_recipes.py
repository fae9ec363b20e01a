"""CONTRIBUTING's recipes, each followed in a copy of the package by the files it names alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Recipe:
    """A new file, an entry in another, and what then has to work."""

    name: str  # as CONTRIBUTING calls it
    file: str  # new, relative to the project; "" for none
    text: str
    entry: str  # the file that gets lines; "" for none
    after: str  # the text that the line comes after
    line: str
    run: str
    needs: tuple[str, str] = ("", "")  # where the line's import comes after, and it


RECIPES = (
    Recipe(
        "A task",
        "envs/raise_hand.py",
        """
from selfflow_robotics.envs.base import TabletopEnv
from selfflow_robotics.envs.close_drawer import STIFF
from selfflow_robotics.envs.scene import build


class RaiseHand(TabletopEnv):
    def _choose(self, rng):
        return "bare table"

    def _build(self, key):
        return build(self.robot, (), 0.0, slide=STIFF)

    def _arrange(self, rng):
        self._place_robot(0.7, float(rng.uniform(-0.1, 0.1)))
        return "raise hand", None

    def _judge(self, episode):
        return episode, self.tool_position[2] > HIGH


HIGH = 1.1  # metres above the robot's base
""",
        "envs/__init__.py",
        "_TASKS = {\n",
        '    "selfflow/RaiseHand-v0": ("raise_hand:RaiseHand", 20),\n',
        """
import numpy as np
import selfflow_robotics.envs
from selfflow_robotics.envs.names import task_ids
from selfflow_robotics.evaluation.evaluate import evaluate

class Up:
    name = "up"
    def reset(self, rows, seeds): ...
    def act(self, observations, rows):
        assert set(observations.instruction) == {"raise hand"}
        return np.tile(np.float32([0, 0, 0.1, 0, 0, 0, 0]), (len(rows), 1))

(task,) = task_ids(("RaiseHand",))
assert evaluate(task, lambda envs: Up(), range(2), image_size=(32, 40)).successes == 2
""",
    ),
    Recipe(
        "A solver",
        "selfflow_robotics/planning/solvers/shooting.py",
        """
from dataclasses import dataclass

from selfflow_robotics.planning.search import Search


@dataclass(eq=False)
class RandomShooting(Search):
    initial_std: float = 0.5

    def sample(self, run):
        return run.mean_BHA[:, None] + self.initial_std * run.noise(self.candidates)

    def update(self, run, elites_BKHA, cost_BK):
        pass
""",
        "selfflow_robotics/planning/solvers/__init__.py",
        "SOLVERS = {\n",
        '    "shooting": f"{_HERE}.shooting:RandomShooting",\n',
        """
from selfflow_robotics.planning.config import PlannerConfig, make_solver
from tiny_world import history, world_model

model = world_model()
frames, actions, states = history(2, 2)
solver = make_solver(model, PlannerConfig(solver="shooting", candidates=4, start="joint"))
plan = solver.plan(model.observe(frames, actions, "pick can", states))
assert type(solver).__name__ == "RandomShooting" and plan.actions_BHA.shape == (2, 3, 7)
""",
    ),
    Recipe(
        "An objective of planning",
        "selfflow_robotics/planning/objectives/downwards.py",
        """
class Downwards:
    def __init__(self, world_model, discount=1.0):
        self.z = world_model.action_spec.names.index("z")

    def __call__(self, context, rollout):
        return rollout.actions_BKHA[..., self.z].mean(-1)
""",
        "selfflow_robotics/planning/objectives/__init__.py",
        "OBJECTIVES = {",
        '"downwards": f"{_HERE}.downwards:Downwards", ',
        """
from selfflow_robotics.planning.config import PlannerConfig, make_solver
from tiny_world import history, world_model

model = world_model()
frames, actions, states = history(1, 2)
config = PlannerConfig(objective="downwards", candidates=16, initial_std=0.5, min_gain=0.0)
plan = make_solver(model, config).plan(model.observe(frames, actions, "pick can", states))
assert plan.cost_B[0] < plan.initial_cost_B[0]
""",
    ),
    Recipe(
        "An objective of training",
        "selfflow_robotics/flow/steady.py",
        """
from .objectives import SelfFlow


class Steady(SelfFlow):
    masks, gap = False, 0.1

    def distance(self, early, target):
        return (early - target).abs().mean(-1)
""",
        "selfflow_robotics/flow/__init__.py",
        "OBJECTIVES = {\n",
        '    "steady": "selfflow_robotics.flow.steady:Steady",\n',
        """
import tempfile
from pathlib import Path

from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.recipe import build_objective
from selfflow_robotics.training.trainer import Trainer
from tiny_world import latent_episodes, world_model

objective = build_objective(ObjectiveConfig("steady", mask_ratio=0.3), 2, 1, Patches(2))
assert objective.noising.mask_ratio == 0 and objective.noising.gap == 0.1
settings = TrainerConfig(steps=2, batch_size=2, frames=3)
folder = Path(tempfile.mkdtemp())
assert Trainer(world_model(), objective, latent_episodes(), settings, folder).fit()
""",
    ),
    Recipe(
        "A size",
        "",
        "",
        "selfflow_robotics/model/presets.py",
        "PRESETS: dict[str, Preset] = {\n",
        '    "nano": Preset(32, 2, 2),\n',
        """
from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.recipe import build_world_model

sizes = ModelConfig("nano"), Patches(2), (8, 12), RT1_ACTIONS, None, Vocabulary.of(["pick can"])
assert build_world_model(*sizes).config.network.width == 32
from selfflow_robotics.cli.main import main
assert main(["estimate", "model.preset=nano"]) == 0
""",
    ),
    Recipe(
        "A data set",
        "",
        "",
        "selfflow_robotics/data/rlds/mappings.py",
        "for mapping in (RT1, ",
        'RldsMapping("hands", RT1.image, RT1.actions, RT1_ACTIONS), ',
        """
from pathlib import Path
from selfflow_robotics.data.formats import open_dataset
from tiny_dataset import write_dataset

episode = open_dataset(write_dataset(Path("hands"), 1), "hands")[0]
assert episode.actions.shape == (6, 7) and episode.states is None
""",
    ),
    Recipe(
        "A data format",
        "selfflow_robotics/data/npz.py",
        '''
from pathlib import Path

import numpy as np

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.checked import Checked
from selfflow_robotics.data.episode import Episode


class NpzFolder:
    """A file an episode, with "images" and "actions"; the folder's name is the instruction."""

    action_spec, state_spec, image_size = RT1_ACTIONS, None, (16, 24)

    def __init__(self, path, mapping="rt1", split="train"):
        self.name, self.files, self.split = str(path), sorted(path.glob("*.npz")), split

    @property
    def identity(self):
        return {"format": "npz", "bytes": [file.stat().st_size for file in self.files]}

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        stored = np.load(self.files[index])
        told = (self.files[index].parent.name,) * len(stored["images"])
        where = f"{self.split}/{index}"
        return Episode(stored["images"], stored["actions"], None, told, True, "expert", where)


def is_npz(path: Path) -> bool:
    return any(path.glob("*.npz"))


def check_npz(path, mapping, workers):
    steps = sum(len(episode.images) for episode in map(NpzFolder(path).__getitem__, range(3)))
    return [Checked("train", 3, steps, 0, ())]
''',
        "selfflow_robotics/data/formats.py",
        "FORMATS: Mapping[str, Format] = {\n",
        '    "npz": Format(is_npz, check_npz, NpzFolder),\n',
        """
from pathlib import Path
import numpy as np
from selfflow_robotics.cli.main import main
from selfflow_robotics.world_model.world_model import WorldModel

random = np.random.default_rng(0)
for number in range(3):
    actions = random.uniform(-0.1, 0.1, (6, 7)).astype(np.float32)
    images = random.integers(0, 255, (6, 16, 24, 3), dtype=np.uint8)
    Path("move can").mkdir(exist_ok=True)
    np.savez(f"move can/{number}.npz", images=images, actions=actions)
small = "model=tiny trainer.steps=1 trainer.batch_size=2 trainer.frames=3 prior.steps=1".split()
assert main(["data", "check", "data=move can"]) == 0
assert main(["tokenizer", "out=tokenizer", "kind=patches", "data=move can", "factor=4"]) == 0
assert main(["finetune", "out=world", "tokenizer=tokenizer", "data=move can", *small]) == 0
assert "move" in WorldModel.from_pretrained("world").config.vocabulary.words
""",
        needs=(
            "from selfflow_robotics.data.lerobot.meta import INFO_FILE\n",
            "from selfflow_robotics.data.npz import NpzFolder, check_npz, is_npz\n",
        ),
    ),
    Recipe(
        "A modality",
        "",
        "",
        "",
        "",
        "",
        """
from dataclasses import replace
from pathlib import Path
import numpy as np, tempfile
from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.model.modality import Modality
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.recipe import build_objective, build_world_model
from selfflow_robotics.training.trainer import Trainer
from tiny_world import VOCABULARY, candidate_actions, history, latent_episodes

touch = Modality("touch", size=2, tokens=1, mask_ratio=0.5, weight=0.1)
given = latent_episodes()
felt = np.zeros((given.offsets[-1], touch.tokens, touch.size), np.float32)
sizes = ModelConfig("tiny"), Patches(2), (8, 12), RT1_ACTIONS, RT1_STATE, VOCABULARY
model = build_world_model(*sizes, more=(touch,))
objective = build_objective(ObjectiveConfig(), 2, 1, Patches(2), (touch,))
settings = TrainerConfig(steps=1, batch_size=2, frames=3)
episodes = replace(given, more={"touch": felt})
trained = Trainer(model, objective, episodes, settings, Path(tempfile.mkdtemp())).fit()
frames, actions, states = history(1, 2)
context = trained.eval().observe(frames, actions, "pick can", states)
imagined = trained.rollout(context, candidate_actions(1, 3, 2)).more["touch"]
assert imagined.shape == (1, 3, 2, 1, 2)
""",
    ),
    Recipe(
        "A command",
        "selfflow_robotics/cli/greet.py",
        '''
from dataclasses import dataclass

from selfflow_robotics.storage.keys import key

HELP = """Greet somebody."""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow greet`."""

    name: str = key("whom", "you")


def run(config: Config) -> int:
    print(f"hello {config.name}")
    return 0
''',
        "selfflow_robotics/cli/main.py",
        "COMMANDS = (\n",
        '    "greet",\n',
        """
import contextlib, io
from selfflow_robotics.cli.main import main

said = io.StringIO()
with contextlib.redirect_stdout(said):
    assert main(["greet", "name=robot"]) == 0
assert said.getvalue() == "hello robot\\n"
with contextlib.redirect_stdout(said):
    assert main(["greet", "--help"]) == 0 and main(["--help"]) == 0
assert "Greet somebody." in said.getvalue() and "whom" in said.getvalue()
""",
    ),
)
RUN_ALL = """
import json, sys, traceback
import selfflow_robotics
assert selfflow_robotics.__file__.startswith(sys.argv[1]), selfflow_robotics.__file__
went = {}
for name, text in json.load(sys.stdin).items():
    try:
        exec(compile(text, name, "exec"), {"__name__": name})
        went[name] = ""
    except BaseException:
        went[name] = traceback.format_exc()
print("\\n" + json.dumps(went))
"""


@pytest.fixture(scope="module")
def went(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each recipe went, all followed in one copy: nothing, or a traceback."""
    home = tmp_path_factory.mktemp("copy")
    package = home / "selfflow_robotics"
    left_out = shutil.ignore_patterns("weights", "__pycache__")
    shutil.copytree(ROOT / "selfflow_robotics", package, ignore=left_out)
    for beside in ("envs", "policies", "configs"):
        shutil.copytree(ROOT / beside, package / beside, ignore=left_out)
    for recipe in RECIPES:
        if recipe.file:
            path = package / recipe.file.removeprefix("selfflow_robotics/")
            assert not path.exists()
            path.write_text(recipe.text)
        if recipe.entry:
            path = package / recipe.entry.removeprefix("selfflow_robotics/")
            text = path.read_text(encoding="utf-8")
            assert text.count(recipe.after) == 1, f"{recipe.entry} lacks {recipe.after!r}"
            for after, line in ((recipe.after, recipe.line), recipe.needs):
                text = text.replace(after, after + line, 1)
            path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, str(home)],
        input=json.dumps({recipe.name: recipe.run for recipe in RECIPES}),
        env={**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{ROOT / 'tests'}"},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
def test_recipe(recipe: Recipe, went: dict[str, str]) -> None:
    assert not went[recipe.name], went[recipe.name]


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
def test_recipe_names_its_files(recipe: Recipe) -> None:
    (paragraph,) = re.findall(rf"^\*\*{recipe.name}\.\*\*.*?\n\n", PAGE + "\n\n", re.S | re.M)
    told = "".join(paragraph.split())
    if recipe.file:
        assert re.search(rf"{Path(recipe.file).parent}/<\w+>\.py", told), paragraph
    if recipe.entry:
        short = recipe.entry.removeprefix("selfflow_robotics/")
        assert short in told, paragraph


def test_lock_chooses_versions_for_every_extra() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r"\[project.optional-dependencies\]\n(.*?)\n\n", project, re.S)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    names = re.findall(r"^(\w+) = ", extras, re.M)
    assert len(names) > 5 and set(re.findall(r"--extra (\w+)", makefile)) == set(names)
