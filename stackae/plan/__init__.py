"""The plan of a run: its stages, each described once, with shapes and chained keys. Trains nothing."""

from stackae.plan.layers import PlannedLayer
from stackae.plan.networks import Member, build_members, learn_side_by_side, mirrored, stacked
from stackae.plan.run_plan import Plan, make_plan, make_plans
from stackae.plan.stage import Stage

__all__ = [
    "Member",
    "Plan",
    "PlannedLayer",
    "Stage",
    "build_members",
    "learn_side_by_side",
    "make_plan",
    "make_plans",
    "mirrored",
    "stacked",
]
