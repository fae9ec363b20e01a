"""What is noised and what is learnt; objectives by name: a file here and a line in this table."""

_HERE = "selfflow_robotics.flow.objectives"

OBJECTIVES = {
    "self_flow": f"{_HERE}:SelfFlow",
    "flow_matching": f"{_HERE}:FlowMatching",
    "diffusion_forcing": f"{_HERE}:DiffusionForcing",
    "sra": f"{_HERE}:Sra",
    "repa": f"{_HERE}:Repa",
    "unrolled": "selfflow_robotics.flow.unrolled:Unrolled",
}
"""Classes derived from `FlowMatching` and made with `(noising, patch, weights)`, as it is."""
