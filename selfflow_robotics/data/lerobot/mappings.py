"""Where a LeRobot data set keeps what we read: one declaration a data set.

A data set that is not declared here needs a short YAML with the fields of :class:`LeRobotMapping`,
and its file's name wherever a mapping's name is taken::

    image: observation.images.front
    actions: [action]
    action_spec:
      names: [shoulder, elbow, gripper]
      units: [deg, deg, "%"]
      frame: joints, absolute
      rotation: none
      gripper: absolute, 100 open, 0 closed
      rate_hz: 30
      low: [-180, -180, 0]
      high: [180, 180, 100]        # q01 and q99 may follow; left out, they are measured
    states: [observation.state]
    state_spec: {names: [shoulder, elbow, gripper]}    # mean and std likewise
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE, ActionSpec, StateSpec
from selfflow_robotics.data.mapping_file import declared, is_mapping_file, read_keys
from selfflow_robotics.data.rlds.mappings import BRIDGE, MAPPINGS, RldsMapping

EXPORTED_IMAGE = "observation.images.image"
ACTION = "action"
STATE = "observation.state"


@dataclass(frozen=True)
class LeRobotMapping:
    """Features of a data set, as its `meta/info.json` names them.

    Several action or state features are concatenated in the order given.

    Example:
        >>> LeRobotMapping("mine", "observation.images.front", RT1_ACTIONS).actions
        ('action',)
    """

    name: str
    image: str  # a video, or images
    action_spec: ActionSpec
    # () where there are none; action_spec then says what they would be, and at which rate.
    actions: tuple[str, ...] = (ACTION,)
    action_entries: tuple[int, ...] = ()  # of the concatenation; () for all
    states: tuple[str, ...] = ()  # () for no proprioception
    state_entries: tuple[int, ...] = ()  # of the concatenation; () for all
    state_spec: StateSpec | None = None
    success: str | None = None  # a truth value of a step: a success where it is true in any
    # Whether the folder has to say itself what its actions mean, as exports from here do. Other
    # writers use the same names and sizes for other conventions.
    self_described: bool = False


def as_exported(mapping: RldsMapping | LeRobotMapping) -> LeRobotMapping:
    """How to read what `selfflow data export lerobot` made of a data set with that mapping."""
    return LeRobotMapping(
        name=mapping.name,
        image=EXPORTED_IMAGE,
        action_spec=mapping.action_spec,
        states=() if mapping.state_spec is None else (STATE,),
        state_spec=mapping.state_spec,
        self_described=True,
    )


FRACTAL_MIRROR = LeRobotMapping(
    name="fractal20220817_data_lerobot",
    image="observation.images.image",
    action_spec=replace(
        RT1_ACTIONS,
        gripper="absolute, 1 open, 0 closed",
        low=(*RT1_ACTIONS.low[:6], 0.0),
        high=(*RT1_ACTIONS.high[:6], 1.0),
        q01=(*RT1_ACTIONS.q01[:6], 0.0),
        q99=(*RT1_ACTIONS.q99[:6], 1.0),
    ),
    states=(STATE,),
    state_spec=RT1_STATE,
)
"""IPEC-COMMUNITY/fractal20220817_data_lerobot (v2.0): RT-1, its gripper action made absolute."""

BRIDGE_MIRROR = LeRobotMapping(
    name="bridge_orig_lerobot",
    image="observation.images.image_0",
    action_spec=BRIDGE.action_spec,
    states=(STATE,),
    state_entries=(0, 1, 2, 3, 4, 5, 7),  # entry 6 is padding
    state_spec=BRIDGE.state_spec,
)
"""IPEC-COMMUNITY/bridge_orig_lerobot (v2.0), its first camera. Its displacements are those between
the states that were reached, and its gripper action is 0 or 1."""

LEROBOT_MAPPINGS: dict[str, LeRobotMapping] = {
    mapping.name: mapping for mapping in (FRACTAL_MIRROR, BRIDGE_MIRROR)
}


def lerobot_mapping_named(
    mapping: str | RldsMapping | LeRobotMapping, *, exported: bool = False
) -> LeRobotMapping:
    """The declared mapping of that name, the one a YAML file declares, or the mapping itself.

    The name of an RLDS mapping, or one, stands for what was exported with it.

    Args:
        mapping: a name, or a mapping.
        exported: whether it is for a folder that was exported from here. Then a mapping that
            reads what no export has is that of the data set it was exported from.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no mapping is called that, or the file declares none; the message says why.
    """
    if isinstance(mapping, LeRobotMapping):
        return mapping
    if isinstance(mapping, RldsMapping):
        return as_exported(mapping)
    if is_mapping_file(mapping):
        keys = read_keys(mapping)
        if exported and not set(keys) <= {field.name for field in fields(LeRobotMapping)}:
            return as_exported(declared(keys, RldsMapping, mapping))
        found = declared(keys, LeRobotMapping, mapping)
    elif mapping in LEROBOT_MAPPINGS:
        found = LEROBOT_MAPPINGS[mapping]
    elif mapping in MAPPINGS:
        return as_exported(MAPPINGS[mapping])
    else:
        raise ValueError(
            f'no mapping is called "{mapping}"; choose one of {sorted(LEROBOT_MAPPINGS)} or, for '
            f"what was exported from here, {sorted(MAPPINGS)}, or give the name of a YAML file "
            "that declares a LeRobotMapping"
        )
    return as_exported(found) if exported and _reads_more(found) else found


def _reads_more(mapping: LeRobotMapping) -> bool:
    """Whether it reads what no export has, whose actions and states have their entries chosen."""
    features = {mapping.image, *mapping.actions, *mapping.states}
    chosen = mapping.action_entries or mapping.state_entries or mapping.success
    return bool(chosen) or not features <= {EXPORTED_IMAGE, ACTION, STATE}
