"""The W&B run of one stage, or of a run as a whole: what is logged in it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackae.tracking.predicted import Predicted
from stackae.tracking.server import SilentServerError, wait_for
from stackae.tracking.wandb_artifacts import (
    dataset_artifact,
    evidence,
    importance_plot,
    is_best,
    label_curve,
    model_artifact,
)
from stackae.tracking.wandb_service import end_service, in_words

if TYPE_CHECKING:
    import wandb

    from stackae.tracking.logger import StageLogger

# For an edge in the graph of artifacts, which is dispensable.
EDGE_SECONDS = 5.0
# Where nobody wants to wait: after Ctrl-C, and for a server known to be silent.
HURRY_SECONDS = 1.0


class WandbStageLog:
    """The W&B run of one stage; after its first failure it takes everything and keeps nothing."""

    def __init__(
        self,
        run: wandb.Run | None,
        name: str,
        parents: Sequence[str],
        failed: Callable[[str, Exception], object],
    ) -> None:
        from stackae.tracking.logger import StageLogger

        self._run = run
        self._name = name
        self._parents = parents
        self._failed = failed
        self._model: wandb.Artifact | None = None
        self._broken = False
        self._silent = False
        self.logger: StageLogger = StageLogger(name, self._record, self._record_pictures)

    def use_parents(self) -> None:
        """Draw the edges from the parents' artifacts; needs the server."""
        run = self._run
        if run is None:
            return
        for key in self._parents:
            # A parent that was never uploaded has no artifact, which is no fault; its key is in the config.
            with suppress(Exception):
                _wait_for(run, partial(run.use_artifact, f"{_artifact_name(key)}:latest"), limit=EDGE_SECONDS)

    def finish(self, manifest: Mapping[str, Any], folder: Path) -> None:
        """Put the metrics in the run's summary, the manifest in its config, the weights in an artifact."""
        self._attempt(
            "logging the result", lambda run: _wait_for(run, partial(self._log_result, run, manifest, folder))
        )

    def close(self, exit_code: int, *, hurried: bool = False) -> None:
        """Finish the run; `exit_code` 0 marks it as finished, any other as failed.

        `hurried` is for somebody who interrupted the run: what is not uploaded in a moment stays on disk.
        """
        run = self._run
        if run is None:
            return
        try:
            limit = HURRY_SECONDS if hurried or self._silent else None
            _wait_for(run, partial(run.finish, exit_code=exit_code), limit=limit)
        except Exception as error:
            if isinstance(error, SilentServerError):
                end_service()
            if not hurried:
                self._failed(f"finishing the run of {self._name}", error)
        except BaseException:
            end_service()
            raise

    def _record(self, metrics: dict[str, float]) -> None:
        # Needs no server: W&B's own process takes it.
        self._attempt("logging the metrics", lambda run: run.log(metrics))

    def _record_pictures(self, pictures: Mapping[str, Any], epoch: int) -> None:
        import wandb

        def log(run: wandb.Run) -> None:
            run.log({name: wandb.Image(picture) for name, picture in pictures.items()} | {"epoch": epoch})

        self._attempt("logging the pictures", log)

    def conclude(
        self,
        figures: Mapping[str, float],
        verdict: Any,
        report: Path | None,
        predicted: Predicted | None,
        importance: Mapping[str, Any] | None,
    ) -> None:
        """Put a whole run's figures in the summary, its report among the media, its predictions and plots."""
        import wandb

        def log(run: wandb.Run) -> None:
            # Logged, not just summed up: a sweep's metric has a history.
            run.log(dict(figures))
            if verdict:
                run.summary["verdict"] = verdict["text"]
            if report is not None:
                run.log({"report": wandb.Html(report.read_text(), inject=False)})
            if predicted is not None:
                run.log(evidence(predicted))
            if importance is not None and importance["columns"]:
                run.log({"importance": importance_plot(importance)})

        self._attempt("logging the results", lambda run: _wait_for(run, partial(log, run)))

    def record_curve(self, errors: Mapping[str, Mapping[int, float]]) -> None:
        """Log a label curve as a plot."""
        self._attempt("logging the curve", lambda run: run.log({"label_curve": label_curve(errors)}))

    def keep_model(self, name: str, folder: Path, figures: Mapping[str, float], parent: str | None) -> None:
        """Log a whole run's model as an artifact: the best of its name where no other validates better."""

        def log(run: wandb.Run) -> None:
            artifact = model_artifact(name, folder, figures, parent)
            aliases = ["latest"]
            if not run.offline and is_best(run, name, figures.get("val_error")):
                aliases.append("best")
            self._model = run.log_artifact(artifact, aliases=aliases)

        if folder.is_dir():
            self._attempt("logging the model", lambda run: _wait_for(run, partial(log, run)))

    def link_model(self, name: str, registry: str) -> str | None:
        """Link the model to a registry, under its name; return why that did not work, if so."""
        run, model = self._run, self._model
        if run is None or model is None or self._broken:
            return "it is not logged"
        if run.offline:
            return "that needs the server"
        try:
            _wait_for(run, partial(run.link_artifact, model, f"wandb-registry-{registry}/{name}"))
        except Exception as error:
            return in_words(error)
        return None

    def _attempt(self, doing: str, action: Callable[[wandb.Run], object]) -> None:
        if self._run is None or self._broken:
            return
        try:
            action(self._run)
        except Exception as error:
            self._broken = True
            self._silent = isinstance(error, SilentServerError)
            self._failed(f"{doing} of {self._name}", error)

    def _log_result(self, run: wandb.Run, manifest: Mapping[str, Any], folder: Path) -> None:
        metrics = {name: value for name, value in manifest.get("metrics", {}).items() if name != "schema"}
        run.summary.update(metrics)
        rest = {name: value for name, value in manifest.items() if name not in ("metrics", "config")}
        run.config["manifest"] = rest
        weights = folder / "weights.safetensors"
        if self._name == "data":
            run.log_artifact(dataset_artifact(_artifact_name(manifest["key"]), manifest), aliases=["latest"])
        if weights.exists():
            run.log_artifact(self._artifact(manifest["key"], weights), aliases=["latest", self._name])

    def _artifact(self, key: str, weights: Path) -> wandb.Artifact:
        import wandb

        artifact = wandb.Artifact(
            _artifact_name(key),
            type="model",
            metadata={"stage": self._name, "key": key, "parents": list(self._parents)},
        )
        # The store never changes a finished stage, so W&B need not copy the weights to its own folders.
        artifact.add_file(str(weights.absolute()), policy="immutable", skip_cache=True)
        return artifact


def _wait_for(run: wandb.Run, action: Callable[[], object], *, limit: float | None = None) -> None:
    """Carry out what needs the server if the run is online."""
    if run.offline:
        action()
    else:
        wait_for(run.settings.base_url, action, limit=limit)


def _artifact_name(key: str) -> str:
    """Name an artifact by its stage's key, so that a child finds it, whichever run trained it."""
    return f"stage-{key}"
