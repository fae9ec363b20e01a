from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE, ActionSpec, StateSpec
from selfflow_robotics.storage.notice import Notice

unit = arrays(np.float32, (3, 7), elements=st.floats(-1, 1, width=32))


@given(unit)
def test_normalize_undoes_denormalize(normalized: np.ndarray) -> None:
    again = RT1_ACTIONS.normalize(RT1_ACTIONS.denormalize(normalized))
    np.testing.assert_allclose(again, normalized, atol=1e-5)


@given(unit)
def test_torch_and_numpy_agree(normalized: np.ndarray) -> None:
    ours = RT1_ACTIONS.denormalize(normalized)
    theirs = RT1_ACTIONS.denormalize(torch.from_numpy(normalized))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
    np.testing.assert_allclose(
        RT1_ACTIONS.normalize(ours), RT1_ACTIONS.normalize(theirs).numpy(), atol=1e-5
    )


@given(arrays(np.float32, (4, 7), elements=st.floats(-1e6, 1e6, width=32)))
def test_normalized_actions_stay_within_one(actions: np.ndarray) -> None:
    assert np.abs(RT1_ACTIONS.normalize(actions)).max() <= 1.0


@given(arrays(np.float32, (2, 8), elements=st.floats(-5, 5, width=32)))
def test_state_denormalize_undoes_normalize(states: np.ndarray) -> None:
    again = RT1_STATE.denormalize(RT1_STATE.normalize(states))
    np.testing.assert_allclose(again, states, atol=1e-5)


def test_quantiles_map_to_one_and_types_are_kept() -> None:
    q99 = np.array(RT1_ACTIONS.q99, np.float32)
    assert RT1_ACTIONS.normalize(q99).dtype == np.float32
    np.testing.assert_allclose(RT1_ACTIONS.normalize(q99), 1.0, atol=1e-6)
    double = torch.tensor(RT1_ACTIONS.q01, dtype=torch.float64)
    assert RT1_ACTIONS.normalize(double).dtype == torch.float64


def test_an_entry_that_never_varies_becomes_zero() -> None:
    spec = replace(RT1_ACTIONS, q01=(0.0,) * 7, q99=(0.0,) * 6 + (1.0,))
    normalized = spec.normalize(np.full((1, 7), 0.2, np.float32))
    assert normalized[0, :6].tolist() == [0.0] * 6
    assert np.isfinite(normalized).all()


@pytest.mark.parametrize("spec", [RT1_ACTIONS, RT1_STATE])
def test_specs_survive_json(spec: ActionSpec | StateSpec) -> None:
    assert type(spec).from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_stored_spec_with_other_fields_is_refused() -> None:
    values = RT1_ACTIONS.to_json()
    values["speed"] = values.pop("rate_hz")
    with pytest.raises(ValueError, match=r"lacks the fields \['rate_hz'\].*'speed'"):
        ActionSpec.from_json(values)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(6), r"step 3: an action of shape \(6,\).*7 entries"),
        (np.array([0, np.nan, 0, 0, 0, 0, 0]), "step 3: the action entry y is nan"),
        (np.array([0, 0, 0.5, 0, 0, 0, 0]), r"z is 0.5 m, outside -0.25..0.25"),
        (np.array([0, 0, 0, 0, 0, -1.0, 0]), r"yaw is -1 rad, outside -0.7854..0.7854"),
    ],
)
def test_check_names_the_entry(action: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RT1_ACTIONS.check(action, "step 3")


def test_check_lets_the_bounds_pass() -> None:
    RT1_ACTIONS.check(np.array([RT1_ACTIONS.low, RT1_ACTIONS.high], np.float32), "bounds")


def test_other_statistics_match_but_other_meaning_names_both_sides() -> None:
    RT1_ACTIONS.require_match(replace(RT1_ACTIONS, q01=(-0.5,) * 7), "weights", "data")
    other = replace(RT1_ACTIONS, rotation="roll-pitch-yaw", rate_hz=5.0)
    with pytest.raises(ValueError) as caught:
        RT1_ACTIONS.require_match(other, "the weights tabletop-small", "the data data/mine")
    text = str(caught.value)
    assert "actions of the weights tabletop-small and the data data/mine mean" in text
    assert "rotation 'axis-angle' and 'roll-pitch-yaw';" in text
    assert "rate_hz 3.0 and 5.0;" in text


def test_entries_that_leave_the_range_are_named() -> None:
    wider = replace(RT1_ACTIONS, q99=(RT1_ACTIONS.q99[0] * 3, *RT1_ACTIONS.q99[1:]))
    assert RT1_ACTIONS.left_by(wider) == RT1_ACTIONS.names[:1]
    assert RT1_ACTIONS.left_by(RT1_ACTIONS) == wider.left_by(RT1_ACTIONS) == ()


def test_statistics_leave_the_gripper_its_range() -> None:
    actions = np.random.default_rng(0).normal(0, 0.05, (1000, 7)).astype(np.float32)
    spec = RT1_ACTIONS.with_statistics(actions)
    np.testing.assert_allclose(spec.q99[:6], np.quantile(actions, 0.99, axis=0)[:6])
    assert (spec.q01[6], spec.q99[6]) == (-1.0, 1.0)


def test_spec_of_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="units has 2 entries for 7 names"):
        replace(RT1_ACTIONS, units=("m", "m"))
    with pytest.raises(ValueError, match=r"low of x is 1\.0, above its high"):
        replace(RT1_ACTIONS, low=(1.0, *RT1_ACTIONS.low[1:]))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("low", [float("-inf")] * 7, "low = .*no list of finite numbers"),
        ("q99", [float("nan")] * 7, "q99 = .*no list of finite numbers"),
        ("high", [1e308] * 7, "high = .*no list of finite numbers"),
        ("low", 3, "low = 3, no list of finite numbers"),
        ("low", ["a"] * 7, "no list of finite numbers"),
        ("names", [1] * 7, "no list of texts"),
        ("names", None, "names = None, no list of texts"),
        ("frame", {}, "frame = {}, no text"),
        ("rate_hz", "3", "rate_hz = 3, no finite number"),
        ("rate_hz", True, "rate_hz = True, no finite number"),
        ("rate_hz", 0, "rate_hz is 0; give steps a second, above 0"),
        ("high", [-1.0] * 7, "low of x is -0.25, above its high -1.0; exchange them"),
    ],
)
def test_stored_spec_of_other_values_is_refused(field: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ActionSpec.from_json({**RT1_ACTIONS.to_json(), field: value})


@pytest.mark.parametrize("field", ["mean", "std"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e200])
def test_statistics_that_are_not_finite_are_refused(field: str, value: float) -> None:
    spread = {"mean": (0.0, 1.0), "std": (1.0, 1.0), field: (1.0, value)}
    with pytest.raises(ValueError, match=f"StateSpec.{field} is "):
        StateSpec(("a", "b"), spread["mean"], spread["std"])


def test_what_rarely_moves_keeps_its_range_and_what_rounds_holds_still() -> None:
    random = np.random.default_rng(0)
    actions = random.uniform(-0.2, 0.2, (5000, 7)).astype(np.float32)
    actions[:, 3] = (0.1 + random.normal(0, 1e-8, 5000)).astype(np.float32)
    actions[:, 4] = 0
    moved = random.choice(5000, 40, replace=False)
    actions[moved, 4] = random.choice([-0.5, 0.5], 40)
    with pytest.warns(Notice) as told:
        spec = RT1_ACTIONS.with_statistics(actions)
    assert [str(one.message).split(" of ")[0] for one in told] == ["roll", "pitch"]
    assert (spec.q01[4], spec.q99[4]) == (-0.5, 0.5)
    back = spec.denormalize(spec.normalize(actions))
    np.testing.assert_allclose(back[moved, 4], actions[moved, 4], atol=1e-6)
    assert (spec.normalize(actions)[:, 3] == 0).all()
    np.testing.assert_allclose(back[:, 3], 0.1, atol=1e-6)
    assert spec.q01[0] == pytest.approx(np.quantile(actions[:, 0], 0.01))
