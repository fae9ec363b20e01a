"""Where an RLDS data set keeps what we read: one declaration a data set.

A data set that is not declared here needs a short YAML with the fields of :class:`RldsMapping`, and
its file's name wherever a mapping's name is taken::

    name: my_robot
    image: observation/image
    actions: [action]
    action_spec:
      names: [x, y, gripper]
      units: [m, m, "1"]
      frame: robot base axes, displacement of the tool
      rotation: none
      gripper: absolute, 1 open, 0 closed
      rate_hz: 10
      low: [-0.1, -0.1, 0]
      high: [0.1, 0.1, 1]          # q01 and q99 may follow; left out, a conversion measures them
    states: [observation/state]
    state_spec: {names: [x, y]}    # mean and std likewise
    instruction: language_instruction
"""

from __future__ import annotations

from dataclasses import dataclass

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE, ActionSpec, StateSpec
from selfflow_robotics.data.mapping_file import declared, is_mapping_file, read_keys


@dataclass(frozen=True)
class RldsMapping:
    """Keys of a data set, as paths such as "observation/image".

    Keys of a step are relative to "steps"; keys of an episode to the whole example. Several action
    or state keys are concatenated in the order given.

    Example:
        >>> RldsMapping("mine", "observation/image", ("action",), RT1_ACTIONS).step_keys
        ('observation/image', 'action')
    """

    name: str
    image: str  # step key of an RGB image
    # Step keys; () where there are none: action_spec then says what they would be.
    actions: tuple[str, ...]
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

DROID = RldsMapping(
    name="droid",
    image="observation/exterior_image_1_left",
    actions=("action_dict/cartesian_velocity", "action_dict/gripper_position"),
    action_spec=ActionSpec(
        names=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
        units=("0.075 m", "0.075 m", "0.075 m", "0.15 rad", "0.15 rad", "0.15 rad", "1"),
        frame="robot base axes, displacement of the tool in a step, as a share of the greatest",
        rotation="roll-pitch-yaw",
        gripper="absolute, 0 open, 1 closed",
        rate_hz=15.0,
        low=(-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 0.0),
        high=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ),
    states=("observation/cartesian_position", "observation/gripper_position"),
    state_spec=StateSpec(
        names=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
        mean=(0.5353851, 0.0015335, 0.3146043, 0.3269543, -0.0870143, -0.0483224, 0.1537326),
        std=(0.1164692, 0.1739102, 0.1611651, 2.7485383, 0.3466010, 0.7527546, 0.3339526),
    ),
    instruction="language_instruction",
)
"""DROID as RLDS, its first exterior camera, in the action space that Octo and OpenVLA take. The
features are those of its documentation; the greatest displacement a step, 0.075 m and 0.15 rad, of
its controller (`robot_ik_solver.py`). State statistics of 92,233 episodes are those in FLOWER VLA's
README. Nobody is known to publish quantiles of these actions: they are measured."""

LANGUAGE_TABLE = RldsMapping(
    name="language_table",
    image="observation/rgb",
    actions=("action",),
    action_spec=ActionSpec(
        names=("x", "y"),
        units=("m", "m"),
        frame="robot base axes, displacement of the tool's set point on the table",
        rotation="none",
        gripper="none",
        rate_hz=10.0,
        low=(-0.1, -0.1),
        high=(0.1, 0.1),
    ),
    states=("observation/effector_translation",),
    state_spec=StateSpec(names=("x", "y")),
    instruction="observation/instruction",
)
"""Language-Table, real or simulated. Bounds and rate are those of its environment
(`language_table.py`); its instructions are rows of 512 bytes. Nobody is known to publish quantiles:
they are measured."""

MAPPINGS: dict[str, RldsMapping] = {
    mapping.name: mapping for mapping in (RT1, BRIDGE, DROID, LANGUAGE_TABLE)
}


def mapping_named(mapping: str | RldsMapping) -> RldsMapping:
    """The declared mapping of that name, the one a YAML file declares, or the mapping itself.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no mapping is called that, or the file declares none; the message says why.
    """
    if isinstance(mapping, RldsMapping):
        return mapping
    if is_mapping_file(mapping):
        return declared(read_keys(mapping), RldsMapping, mapping)
    if mapping not in MAPPINGS:
        raise ValueError(
            f'no mapping is called "{mapping}"; choose one of {sorted(MAPPINGS)} or give the name '
            "of a YAML file that declares one"
        )
    return MAPPINGS[mapping]
