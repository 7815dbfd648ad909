"""MLflow, TensorBoard and CSV, through Lightning's own loggers: a logger per stage, and one for the whole."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from stackae.errors import in_a_line
from stackae.tracking.predicted import Predicted
from stackae.tracking.summary import figures_of, headline

Kind = Literal["mlflow", "tensorboard", "csv"]
Open = Callable[[str], Any]
"""Opens Lightning's logger of a stage; the name WHOLE stands for the run as a whole."""

WHOLE = "run"
# What is not written by then, after a stage, is given up, and the tracker with it.
STAGE_SECONDS = 15.0
# The model is uploaded too.
WHOLE_SECONDS = 60.0
# Where nobody wants to wait: after Ctrl-C.
HURRY_SECONDS = 1.0


class LoggerTracker:
    """Gives each stage a logger of Lightning's, and never fails or stalls one.

    All that is logged is written by a thread, in order. The first fault, or a thread that is not done in time
    when a stage ends, costs one line to `warn`, and the run goes on without this tracker.
    """

    def __init__(
        self, kind: Kind, *, project: str, group: str, folder: Path, warn: Callable[[str], None]
    ) -> None:
        self._kind, self._folder, self._warn = kind, folder, warn
        self._open: Open
        match kind:
            case "mlflow":
                self._open = _Mlflow(project, group, folder / kind)
            case "tensorboard":
                self._open = _tensorboard(folder / kind)
            case "csv":
                self._open = _csv(folder / kind)
        self._off = False

    @contextmanager
    def stage(
        self, name: str, config: Mapping[str, Any], parents: Sequence[str], key: str = ""
    ) -> Iterator[LoggerStageLog]:
        """Open a logger for the stage `name`; it is finished on exit, as failed if an exception passes."""
        from pytorch_lightning.utilities import rank_zero_only

        if self._kind == "mlflow" and not self._off:
            # On a busy machine this takes long, and is not the server's fault.
            try:
                import mlflow  # noqa: F401
            except Exception as fault:
                self._failed(name, fault)
        off = self._off or bool(getattr(rank_zero_only, "rank", 0))
        log = LoggerStageLog(name, None if off else self._open, self._failed)
        log.do(lambda logger: logger.log_hyperparams({**config, "parents": list(parents)}))
        try:
            yield log
        except BaseException as error:
            log.close("failed", STAGE_SECONDS if isinstance(error, Exception) else HURRY_SECONDS)
            raise
        log.close("success", WHOLE_SECONDS if name == WHOLE else STAGE_SECONDS)

    def conclude(
        self,
        config: Mapping[str, Any],
        results: Mapping[str, Any],
        report: Path | None,
        predicted: Predicted | None = None,
        *,
        anew: bool,
    ) -> None:
        """Log the figures of a run as a whole, where something was trained anew; to MLflow also its model."""
        if not anew or self._off:
            return
        with self.stage(WHOLE, config, []) as log:
            log.do(lambda logger: logger.log_metrics(headline(results), step=0))
            if isinstance(self._open, _Mlflow):
                model = self._folder / "model"
                log.do(lambda logger: _log_to_mlflow(logger, model, report))

    def curve(self, config: Mapping[str, Any], errors: Mapping[str, Mapping[int, float]]) -> None:
        """Log a label curve: the test errors are figures, and the step is the number of labels."""
        with self.stage(WHOLE, config, []) as log:
            for labels in sorted({labels for line in errors.values() for labels in line}):
                figures = {f"{name}_error": line[labels] for name, line in errors.items() if labels in line}
                log.do(partial(_log_figures, figures=figures, step=labels))

    def _failed(self, name: str, fault: Exception) -> None:
        if not self._off:
            self._off = True
            why = in_a_line(fault) or type(fault).__name__
            if isinstance(fault, ModuleNotFoundError):
                why = f"it is not installed: pip install 'stackae[{self._kind}]'"
            self._warn(f"{self._kind}: logging {name} failed ({why}); the run goes on without {self._kind}")


class LoggerStageLog:
    """The log of one stage; what is to be logged waits in a queue for the thread that opened the logger."""

    def __init__(self, name: str, open: Open | None, failed: Callable[[str, Exception], None]) -> None:
        self._name, self._open, self._failed = name, open, failed
        self._tasks: queue.SimpleQueue[Callable[[Any], object] | None] = queue.SimpleQueue()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.logger: Any = False
        if open is not None:
            from stackae.tracking.logger import StageLogger

            self.logger = StageLogger(name, self._record)
            self._thread.start()

    def finish(self, manifest: Mapping[str, Any], folder: Path) -> None:
        """Log the figures that the stage ended with."""
        figures = figures_of(manifest.get("metrics", {}))
        self.do(lambda logger: logger.log_metrics(figures, step=int(figures.get("epochs", 0))))

    def do(self, task: Callable[[Any], object]) -> None:
        """Have something done with the logger, when it is its turn."""
        if self._open is not None:
            self._tasks.put(task)

    def close(self, status: Literal["success", "failed"], seconds: float) -> None:
        """Wait for what is left to be done, but not for long, and end the logger's run."""
        if self._open is None:
            return
        self.do(lambda logger: logger.finalize(status))
        self._tasks.put(None)
        self._thread.join(seconds)
        if self._fault is not None:
            self._failed(self._name, self._fault)
        elif self._thread.is_alive():
            self._failed(self._name, TimeoutError(f"not done after {seconds:g} s"))

    def _record(self, metrics: dict[str, float]) -> None:
        step = round(metrics.get("epoch", 0))
        self.do(lambda logger: logger.log_metrics(metrics, step=step))

    def _work(self) -> None:
        assert self._open is not None
        try:
            logger = self._open(self._name)
            while (task := self._tasks.get()) is not None:
                task(logger)
        except Exception as fault:
            self._fault = fault


def _tensorboard(folder: Path) -> Open:
    def open(name: str) -> Any:
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(folder, "", name)

    return open


def _csv(folder: Path) -> Open:
    def open(name: str) -> Any:
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(folder, "", name)

    return open


class _Mlflow:
    """Opens a run of MLflow for the whole, and in it one for each stage, where MLflow is told to log.

    A file in `folder` has the whole's id: other processes log stages of it too, and what was stopped goes on.
    """

    def __init__(self, project: str, group: str, folder: Path) -> None:
        self._project, self._group, self._folder = project, group, folder
        self._whole: Any = None
        # Read when a request is made. Left to itself a dead server costs minutes for each.
        for name, value in (("MAX_RETRIES", "2"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "10")):
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

    def __call__(self, name: str) -> Any:
        for library in ("pytorch_lightning.loggers.mlflow", "mlflow", "alembic"):
            logging.getLogger(library).setLevel(logging.ERROR)
        if self._whole is None:
            self._whole = self._open_whole()
        if name == WHOLE:
            return self._whole
        return self._logger(name, {"mlflow.parentRunId": self._whole.run_id})

    def _open_whole(self) -> Any:
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True)
        note = self._folder / "run"
        with FileLock(self._folder / "lock"):
            noted = note.read_text() if note.exists() else None
            logger = self._logger(self._group, {}, noted if noted and _is_running(noted) else None)
            note.write_text(logger.run_id)
        return logger

    def _logger(self, name: str, tags: dict[str, str], run_id: str | None = None) -> Any:
        import mlflow
        from pytorch_lightning.loggers import MLFlowLogger

        # Else Lightning takes the address that was set when it was imported, or a folder.
        uri = mlflow.get_tracking_uri()
        return MLFlowLogger(self._project, run_name=name, tracking_uri=uri, tags=tags, run_id=run_id)


def _log_figures(logger: Any, figures: dict[str, float], step: int) -> None:
    logger.log_metrics(figures, step=step)


def _is_running(run_id: str) -> bool:
    """Tell whether MLflow has this run, and it has not come to its end."""
    import mlflow

    try:
        return str(mlflow.MlflowClient().get_run(run_id).info.status) == "RUNNING"
    except mlflow.MlflowException:
        # Of another server, or deleted; one that does not answer is found out when a run is opened.
        return False


def _log_to_mlflow(logger: Any, model: Path, report: Path | None) -> None:
    """Log a finished model, which MLflow loads without unpickling, and the report, to the whole's run."""
    import mlflow

    if report is not None:
        logger.experiment.log_artifact(logger.run_id, str(report))
    with mlflow.start_run(run_id=logger.run_id):
        mlflow.pyfunc.log_model(
            name="model",
            loader_module="stackae.model.pyfunc",
            data_path=str(model),
            pip_requirements=["stackae"],
        )
