"""Where an RLDS data set keeps what we read: one declaration a data set."""

from __future__ import annotations

from dataclasses import dataclass

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE, ActionSpec, StateSpec


@dataclass(frozen=True)
class RldsMapping:
    """Keys of a data set, as paths such as "observation/image".

    Keys of a step are relative to "steps"; keys of an episode to the whole example. Several action
    or state keys are concatenated in the order given.
    """

    name: str
    image: str  # step key of an RGB image
    actions: tuple[str, ...]  # step keys
    action_spec: ActionSpec
    states: tuple[str, ...] = ()  # step keys; () for no proprioception
    state_spec: StateSpec | None = None
    instruction: str | None = None  # step key of a text
    success: str | None = None  # episode key of a bool
    success_known: str | None = None  # episode key of a bool: whether success was rated
    source: str | None = None  # episode key of a text: who acted

    @property
    def step_keys(self) -> tuple[str, ...]:
        """All keys read from a step."""
        text = () if self.instruction is None else (self.instruction,)
        return (self.image, *self.actions, *self.states, *text)

    @property
    def episode_keys(self) -> tuple[str, ...]:
        """All keys read from an episode."""
        return tuple(k for k in (self.success, self.success_known, self.source) if k is not None)


RT1 = RldsMapping(
    name="rt1",
    image="observation/image",
    actions=(
        "action/world_vector",
        "action/rotation_delta",
        "action/gripper_closedness_action",
    ),
    action_spec=RT1_ACTIONS,
    states=("observation/base_pose_tool_reached", "observation/gripper_closed"),
    state_spec=RT1_STATE,
    instruction="observation/natural_language_instruction",
    success="aspects/success",
    success_known="aspects/has_aspects",
    source="attributes/collection_mode_name",
)
"""fractal20220817_data, and what `selfflow collect` writes."""

BRIDGE = RldsMapping(
    name="bridge",
    image="observation/image_0",
    actions=("action",),
    action_spec=ActionSpec(
        names=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
        units=("m", "m", "m", "rad", "rad", "rad", "1"),
        frame="robot base axes, displacement of the tool",
        rotation="roll-pitch-yaw",
        gripper="absolute, 1 open, 0 closed",
        rate_hz=5.0,
        low=(-0.05, -0.05, -0.05, -0.25, -0.25, -0.25, 0.0),
        high=(0.05, 0.05, 0.05, 0.25, 0.25, 0.25, 1.0),
        q01=(-0.0287273, -0.0417035, -0.0260939, -0.0809211, -0.0928870, -0.2071828, 0.0),
        q99=(0.0283097, 0.0408553, 0.0401616, 0.0819205, 0.0779285, 0.2038257, 1.0),
    ),
    states=("observation/state",),
    state_spec=StateSpec(
        names=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
        mean=(0.27396, -0.02498, 0.15420, -0.03533, -0.19275, -0.02545, 0.92588),
        std=(0.03480, 0.06270, 0.04213, 0.22284, 0.13002, 0.32422, 0.17733),
    ),
    instruction="language_instruction",
)
"""BridgeData V2 as RLDS, its first camera. Action quantiles are those published for the whole data
set (OpenVLA, `bridge_orig`); state statistics are of the 25 episodes of Octo's debugging copy."""

MAPPINGS: dict[str, RldsMapping] = {mapping.name: mapping for mapping in (RT1, BRIDGE)}


def mapping_named(mapping: str | RldsMapping) -> RldsMapping:
    """The declared mapping of that name, or the mapping itself.

    Raises:
        ValueError: no mapping is called that.
    """
    if isinstance(mapping, RldsMapping):
        return mapping
    if mapping not in MAPPINGS:
        raise ValueError(
            f'no mapping is called "{mapping}"; choose one of {sorted(MAPPINGS)} or declare an '
            "RldsMapping"
        )
    return MAPPINGS[mapping]
