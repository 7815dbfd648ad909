"""The batch size that fits into memory, where the configured one does not."""

from __future__ import annotations

from stackae.data.paired import TrainingBatches
from stackae.errors import TrainingError
from stackae.machine.memory import ran_out
from stackae.stage_context import StageContext
from stackae.tasks import Task
from stackae.training.trial import steps_on_trial


def batch_size_error(context: StageContext, task: Task, train: TrainingBatches) -> TrainingError:
    """Return the error of a fit that ran out of memory; it names a batch size that fits.

    That size is sought by halving the configured one. Leaves the task's weights changed.
    """
    configured = min(train.batch_size, train.rows)
    size = configured // 2
    # With a quarter to spare: a whole fit needs a little more than one step of it.
    while size and not _fits(context, task, train, -(-(size + size // 4) // context.team.size)):
        size //= 2
    remedy = (
        f"{size:,} fit: set {context.setting('batch_size')}={size}"
        if size
        else "not even one row fits: make the layers narrower, or free memory"
    )
    return TrainingError(f"{context.called}: memory ran out on batches of {configured:,} rows; {remedy}")


def _fits(context: StageContext, task: Task, train: TrainingBatches, rows: int) -> bool:
    try:
        steps_on_trial(context, task, train.head(rows))()
    except (RuntimeError, MemoryError) as fault:
        if not ran_out(fault):
            raise
        return False
    finally:
        task.zero_grad(set_to_none=True)
    return True
