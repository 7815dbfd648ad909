"""The Lightning modules of the stages, thin."""

from stackae.tasks.finetuning import FinetuneTask
from stackae.tasks.pretraining import PretrainTask
from stackae.tasks.task import SUMS, Task

__all__ = ["SUMS", "FinetuneTask", "PretrainTask", "Task"]
