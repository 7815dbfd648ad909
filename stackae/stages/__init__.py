"""The work of each stage: one function each.

A stage is given its context, the plan, and the finished stages by name; it writes files into its folder, and
returns the metrics and the names of its files. Committing them is the runner's. Lightning takes seconds to
import, so that is left to the stages that train.
"""

from collections.abc import Callable, Mapping

from stackae.plan import Plan
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.baselines import baselines
from stackae.stages.blend import blend
from stackae.stages.finetune import (
    finetune,
    labels_alone,
    labels_alone_length,
    length,
    scratch,
    scratch_length,
)
from stackae.stages.importance import importance
from stackae.stages.prepare import prepare
from stackae.stages.pretrain import pretrain, unroll
from stackae.stages.probe import probe
from stackae.store import Entry

WORK: Mapping[str, Callable[[StageContext, Plan, Mapping[str, Entry]], StageOutput]] = {
    "data": prepare,
    "pretrain": pretrain,
    "unroll": unroll,
    "length": length,
    "finetune": finetune,
    "importance": importance,
    "scratch-length": scratch_length,
    "scratch": scratch,
    "labels-alone-length": labels_alone_length,
    "labels-alone": labels_alone,
    "probe": probe,
    "baselines": baselines,
    "blend": blend,
}
"""The function that carries out a stage, by its kind in the plan."""

TRAINED = frozenset(WORK) - {"data", "importance", "probe", "baselines", "blend"}
"""The kinds of stages that all processes of a team carry out together; the leader does the others alone."""
