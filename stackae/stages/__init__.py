"""What is done in each stage: one function each. A stage reads finished stages, writes files into its
folder, and returns the metrics and the names of its files; committing them is the pipeline's.

Lightning takes seconds to import, so that is left to the stages that train: a run whose stages are all
in the store does without it.
"""

from stackae.stages.finetune import finetune
from stackae.stages.prepare import prepare
from stackae.stages.pretrain import pretrain, unroll
from stackae.stages.probe import probe
from stackae.stages.restore import REPORT, restore

__all__ = ["REPORT", "finetune", "prepare", "pretrain", "probe", "restore", "unroll"]
