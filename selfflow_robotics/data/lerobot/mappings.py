"""Where a LeRobot data set keeps what we read: one declaration a data set."""

from __future__ import annotations

from dataclasses import dataclass, replace

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE, ActionSpec, StateSpec
from selfflow_robotics.data.rlds.mappings import BRIDGE, MAPPINGS, RldsMapping, mapping_named

EXPORTED_IMAGE = "observation.images.image"
ACTION = "action"
STATE = "observation.state"


@dataclass(frozen=True)
class LeRobotMapping:
    """Features of a data set, as its `meta/info.json` names them.

    Several action or state features are concatenated in the order given.
    """

    name: str
    image: str  # a video, or images
    action_spec: ActionSpec
    actions: tuple[str, ...] = (ACTION,)
    action_entries: tuple[int, ...] = ()  # of the concatenation; () for all
    states: tuple[str, ...] = ()  # () for no proprioception
    state_entries: tuple[int, ...] = ()  # of the concatenation; () for all
    state_spec: StateSpec | None = None
    success: str | None = None  # a truth value of a step: a success where it is true in any
    # Whether the folder has to say itself what its actions mean, as exports from here do. Other
    # writers use the same names and sizes for other conventions.
    self_described: bool = False


def as_exported(mapping: RldsMapping) -> LeRobotMapping:
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


def lerobot_mapping_named(mapping: str | RldsMapping | LeRobotMapping) -> LeRobotMapping:
    """The declared mapping of that name, or the mapping itself.

    The name of an RLDS mapping, or one, stands for what was exported with it.

    Raises:
        ValueError: no mapping is called that.
    """
    if isinstance(mapping, LeRobotMapping):
        return mapping
    if isinstance(mapping, str) and mapping in LEROBOT_MAPPINGS:
        return LEROBOT_MAPPINGS[mapping]
    try:
        return as_exported(mapping_named(mapping))
    except ValueError as error:
        raise ValueError(
            f'no mapping is called "{mapping}"; choose one of '
            f"{sorted(LEROBOT_MAPPINGS)} or, for what was exported from here, {sorted(MAPPINGS)}, "
            "or declare a LeRobotMapping"
        ) from error
