from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from selfflow_robotics.cli.config import compose
from selfflow_robotics.cli.help import describe
from selfflow_robotics.cli.presets import choices_of
from selfflow_robotics.storage.keys import key
from selfflow_robotics.storage.typed_yaml import ConfigError


class Precision(enum.Enum):
    FULL = "fp32"
    HALF = "bf16"


@dataclass(frozen=True)
class Model:
    depth: int = 2
    width: int = 32
    dropout: float = 0.0


@dataclass(frozen=True)
class Trainer:
    steps: int = key("optimizer steps", 100)
    schedule: Model = field(default_factory=Model)


@dataclass(frozen=True)
class Train:
    output: Path
    network: Model = field(default_factory=lambda: Model(depth=3))
    trainer: Trainer = field(default_factory=Trainer)
    objective: Literal["self-flow", "flow"] = "self-flow"
    precision: Precision = Precision.FULL
    size: tuple[int, int] = (64, 80)
    tasks: tuple[str, ...] = ()
    instruction: str = "pick coke can"
    seed: int | None = None
    weights: dict[str, float] = field(default_factory=dict)
    resume: bool = False


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "small.yaml").write_text("depth: 4\nwidth: 64\n")
    (tmp_path / "network" / "large.yaml").write_text("depth: 24\nwidth: ${network.depth}\n")
    (tmp_path / "network" / "broken.yaml").write_text("dept: 24\n")
    return tmp_path


def train(*arguments: str, presets: Path | None = None) -> Train:
    return compose("train", Train, ["output=runs/a", *arguments], presets)


def test_defaults_come_from_the_dataclass() -> None:
    assert train() == Train(output=Path("runs/a"))


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("trainer.steps=5", "trainer.steps", 5),
        ("trainer.steps=1e5", "trainer.steps", 100_000),
        ("trainer.schedule.depth=7", "trainer.schedule.depth", 7),
        ("network.dropout=1", "network.dropout", 1.0),
        ("objective=flow", "objective", "flow"),
        ("precision=HALF", "precision", Precision.HALF),
        ("size=[8,16]", "size", (8, 16)),
        ("size=8,16", "size", (8, 16)),
        ("tasks=selfflow/MoveNear-v0", "tasks", ("selfflow/MoveNear-v0",)),
        ("tasks=a,b", "tasks", ("a", "b")),
        ("seed=3", "seed", 3),
        ("seed=null", "seed", None),
        ("weights.drawer=2", "weights", {"drawer": 2.0}),
        ("resume=true", "resume", True),
        ("instruction=move can, then = stop: 'now'", "instruction", "move can, then = stop: 'now'"),
        ("instruction=12", "instruction", "12"),
        ("output=/tmp/with space/a,b=c", "output", Path("/tmp/with space/a,b=c")),
    ],
)
def test_values_take_the_declared_type(argument: str, name: str, value: object) -> None:
    found: Any = train(argument)
    for part in name.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value) or isinstance(value, Path)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("trainer.stepz=5", 'no configuration key "trainer.stepz"; did you mean "trainer.steps"?'),
        ("steps=5", 'no configuration key "steps"; did you mean "trainer.steps"?'),
        ("instrction=x", 'did you mean "instruction"?'),
        ("zzz=5", '"selfflow train --help" lists them'),
        ("seed.x=5", 'no configuration key "seed.x"'),
        ("trainer.steps=many", "trainer.steps takes an integer, got 'many'"),
        ("trainer.steps=2.5", "trainer.steps takes an integer, got 2.5"),
        ("trainer.steps=true", "trainer.steps takes an integer, got True"),
        ("trainer.steps=null", "trainer.steps takes an integer, got None"),
        ("trainer.steps=1,2", "trainer.steps takes one value, got several: 1,2"),
        ("trainer.steps=", "trainer.steps takes an integer, got ''"),
        ("network.dropout=x y", "network.dropout takes a number, got 'x y'"),
        ("resume=maybe", "resume takes true|false, got 'maybe'"),
        ("objective=flows", "objective takes self-flow|flow, got 'flows'"),
        ("precision=low", "precision takes FULL|HALF, got 'low'"),
        ("size=[1,2,3]", "size takes [integer,integer], got [1, 2, 3]"),
        ("size=[1,x]", r"size[1] takes an integer, got 'x'"),
        ("trainer=fast", 'trainer has no preset "fast"'),
        ("resume", '"resume" is not of the form key=value'),
    ],
)
def test_a_mistake_is_one_sentence_naming_key_and_remedy(argument: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        train(argument)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_without_default_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r'"selfflow train" needs a value for output'):
        compose("train", Train)


def test_preset_sets_a_section_and_single_keys_win(presets: Path) -> None:
    config = train("network.width=48", "network=small", presets=presets)
    assert config.network == Model(depth=4, width=48)


def test_preset_may_refer_to_other_keys(presets: Path) -> None:
    assert train("network=large", "network.depth=5", presets=presets).network.width == 5


def test_wrong_preset_names_the_nearest(presets: Path) -> None:
    assert {"broken", "large", "small"} <= set(choices_of("network", presets))
    with pytest.raises(ConfigError, match=r'network has no preset "smal"; did you mean "small"?'):
        train("network=smal", presets=presets)
    with pytest.raises(ConfigError, match=r"there are: .*large.*small"):
        train("network=qqq", presets=presets)


def test_preset_with_an_unknown_key_is_an_error(presets: Path) -> None:
    with pytest.raises(ConfigError, match=r'unknown key "network.dept"; did you mean "depth"?'):
        train("network=broken", presets=presets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth: [1, 2\nwidth: 3\n", "faulty.yaml, line 2: expected ',' or ']'"),
        ("depth: 4\n\twidth: 3\n", "faulty.yaml, line 2: found character '\\t'"),
        ("depth: 4\ndepth: 5\n", "faulty.yaml, line 2: found duplicate key depth"),
        ("depth: 4\n---\ndepth: 5\n", "faulty.yaml, line 2: but found another document"),
        ("depth: 4\n\nwidht: 5\n", 'line 3: unknown key "network.widht"; did you mean "width"?'),
        ("- 4\n", "faulty.yaml holds no keys; give those of network"),
        ("null\n", "faulty.yaml holds no keys"),
        ("3: 4\n", 'faulty.yaml, line 1: unknown key "network.3"'),
        ("? [1, 2]\n: 3\n", "faulty.yaml, line 1: unknown key"),
        ("depth: \x07\n", "faulty.yaml is no readable YAML: unacceptable character"),
        ("depth: \udcff\n", "faulty.yaml is no readable YAML: 'utf-8' codec"),
        ("depth: !!python/name:os.system\n", "faulty.yaml, line 1: could not determine"),
        ("depth: ${\n", "network=faulty cannot be read"),
        ("depth: ${nothing}\n", "Interpolation key 'nothing' not found"),
        ("defaults: 3\n", "network=faulty cannot be read: Invalid defaults list"),
        ("depth: many\n", "network.depth takes an integer, got 'many'"),
    ],
)
def test_a_mistake_in_a_preset_is_shown_as_that(presets: Path, text: str, message: str) -> None:
    path = presets / "network" / "faulty.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as error:
        train("network=faulty", presets=presets)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["null", "7", "1e3", "a b", "a=b", "it's", "a,b", "é", "a\\'b"])
def test_presets_and_their_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"{name} ${{x}} #'"
    (folder / "network").mkdir(parents=True)
    (folder / "network" / f"{name}.yaml").write_text("depth: 4\n")
    assert train(f"network={name}", presets=folder).network.depth == 4


def test_help_shows_every_key_with_default_and_type(presets: Path) -> None:
    text = describe(Train, presets)
    assert "output=(required)" in text
    assert "network.depth=3" in text
    line = next(line for line in text.splitlines() if "trainer.steps=100" in line)
    assert line.split(maxsplit=2) == ["trainer.steps=100", "integer", "optimizer steps"]
    assert "size=[64,80]" in text and "[integer,integer]" in text
    assert "objective=self-flow" in text and "self-flow|flow" in text
    assert "seed=null" in text and "integer or null" in text
    assert "broken|large|small" in text


@dataclass(frozen=True)
class Numbers:
    count: int = key("how many", 1, least=1)
    rate: float = key("how fast", 1.0, above=0)
    share: float | None = key("how much", None, most=1)
    seed: int = 0
    size: tuple[int, int] = key("how large", (1, 1), least=1)
    target: dict[str, float] = key("where to", dict, least=None)
    price: float = key("how dear", 0.0, infinite=True)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("count=0", "count=0: give whole numbers from 1 on"),
        ("rate=0", "rate=0.0: give numbers above 0"),
        ("rate=nan", "rate=nan: give finite numbers above 0"),
        ("rate=inf", "rate=inf: give finite numbers above 0"),
        ("share=1.5", "share=1.5: give numbers from 0 to 1"),
        ("seed=-1", "seed=-1: give whole numbers from 0 on"),
        ("size=[3,0]", "size=[3, 0]: give whole numbers from 1 on"),
        ("target.x=inf", "target.x=inf: give finite numbers"),
    ],
)
def test_numbers_that_a_key_cannot_mean(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        compose("numbers", Numbers, [word])


def test_numbers_at_the_ends_of_a_range() -> None:
    words = ["count=1", "share=1", "target.x=-2.5", "price=inf"]
    assert compose("numbers", Numbers, words) == Numbers(
        share=1.0, target={"x": -2.5}, price=math.inf
    )
