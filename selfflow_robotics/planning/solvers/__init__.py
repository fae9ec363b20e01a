"""Solvers by name; a new one is a file here and a line in this table."""

_HERE = "selfflow_robotics.planning.solvers"

SOLVERS = {
    "cem": f"{_HERE}.cem:CEM",
    "block-cem": f"{_HERE}.block_cem:BlockCEM",
    "icem": f"{_HERE}.icem:ICEM",
    "mppi": f"{_HERE}.mppi:MPPI",
    "predictive": f"{_HERE}.predictive:PredictiveSampling",
    "adam": f"{_HERE}.adam:Adam",
    "policy-guided": f"{_HERE}.policy_guided:PolicyGuided",
}
"""Subclasses of :class:`~selfflow_robotics.planning.search.Search`."""
