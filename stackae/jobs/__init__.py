"""Work that is done side by side, by processes that share a store: one display, and one signal for all."""

from stackae.jobs.crew import Crew
from stackae.jobs.workers import Workers

__all__ = ["Crew", "Workers"]
