"""The study that the trials of `tune` are kept in: a file beside them, or a database that machines share."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from stackae.config import Config
from stackae.errors import ConfigError, StorageError, in_a_line

if TYPE_CHECKING:
    import optuna

# A trial whose process was killed is taken up again once it has been silent for so long.
HEARTBEAT_SECONDS = 30
RACES = 5
"""How often a process may come second in making the tables of a new database."""
SEARCHED = "searched"
"""The attribute of a study that says what is searched in it."""
DRIVERS = {"postgresql": "psycopg[binary]", "mysql": "mysqlclient", "mariadb": "mysqlclient"}
"""The packages by which Python speaks to a database, where the address names no other."""


@dataclass(frozen=True)
class Place:
    """A database by its address, as Optuna takes it, the study's name in it, and what errors call it."""

    url: str
    name: str
    called: str


def place_of(url: str | None, name: str, folder: Path) -> Place:
    """Return the place of a config's study: in the database at `url`, or a file in the folder."""
    if url is None:
        return Place(f"sqlite:///{folder.absolute()}/study.db", "stackae", str(folder / "study.db"))
    optuna_itself()
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        # Without its password, which errors are not to show.
        shown = make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise ConfigError(
            f"--study: '{in_a_line(url)}' is no database's URL; write postgresql://user@host/database"
        ) from None
    return Place(url, name, f"--study '{shown}'")


def what_is_searched(settings: Config, space: Mapping[str, Any], fingerprint: str) -> str:
    """Return a digest of all that makes errors of two trials comparable: the config, its data, the space.

    Where data lie, what they are computed on and who is told of it makes no difference.
    """
    plain = settings.model_dump(
        mode="json",
        exclude_defaults=True,
        exclude={
            **dict.fromkeys(("name", "trainer", "tracking", "report", "compare", "repeats"), True),
            "data": {"source", "test", "unlabelled", "target", "root"},
        },
    )
    text = json.dumps([plain, {key: repr(values) for key, values in space.items()}, fingerprint])
    return hashlib.sha256(text.encode()).hexdigest()


def begin(place: Place, searched: str) -> optuna.Study:
    """Open the study, a new one if there is none; ConfigError where something else is searched in it."""
    study = open_study(place)
    with database_faults(place):
        known = study.user_attrs.get(SEARCHED)
        if known is None:
            study.set_user_attr(SEARCHED, searched)
        elif known != searched:
            raise ConfigError(
                f"{place.called}: its study '{place.name}' was begun with another config, other data or "
                "another space, so errors cannot be compared; go on with those, or write another 'name' or "
                "--out"
            )
    return study


def open_study(place: Place) -> optuna.Study:
    """Open the study, a new one if there is none."""
    library = optuna_itself()
    with quiet_optuna(), database_faults(place):
        study: optuna.Study = library.create_study(
            study_name=place.name,
            storage=_storage(place, library),
            load_if_exists=True,
            direction="minimize",
            pruner=library.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=5),
        )
    return study


def _storage(place: Place, library: ModuleType) -> Any:
    from sqlalchemy.exc import DatabaseError, IntegrityError

    def connected() -> Any:
        return library.storages.RDBStorage(
            place.url,
            # A trial may take longer than a server, or what lies on the way to it, keeps a silent connection.
            engine_kwargs={"pool_pre_ping": True},
            heartbeat_interval=HEARTBEAT_SECONDS,
            heartbeat_stale_trial_callback=library.storages.RetryHeartbeatStaleTrialCallback(),
        )

    # Where two make the tables at once, one of them fails, and then finds what the other has made.
    for _ in range(RACES):
        try:
            return connected()
        except DatabaseError as fault:
            if not (isinstance(fault, IntegrityError) or "already exists" in str(fault)):
                raise
    return connected()


@contextmanager
def database_faults(place: Place) -> Iterator[None]:
    """Raise what a database does not do as one line; ConfigError where a package is missing."""
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    scheme = place.url.partition(":")[0]
    try:
        yield
    except (ImportError, NoSuchModuleError) as fault:
        cause = fault.__cause__ or fault
        dialect, _, driver = scheme.partition("+")
        package = driver or DRIVERS.get(dialect, f"the driver of {dialect}")
        raise ConfigError(
            f"{place.called}: {scheme}:// needs a package ({in_a_line(str(cause))}); pip install '{package}'"
        ) from None
    except (SQLAlchemyError, optuna_itself().exceptions.StorageInternalError) as fault:
        cause = fault if isinstance(fault, SQLAlchemyError) else fault.__cause__
        told = in_a_line(str(getattr(cause, "orig", None) or cause))
        raise StorageError(
            f"{place.called}: the database did not answer as it should ({told}); is it up, and are address "
            "and password right? then start the search again"
        ) from None


def optuna_itself() -> ModuleType:
    """Return Optuna; ConfigError where it is not installed."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise ConfigError("tuning needs Optuna: pip install 'stackae[tune]'") from None
    return optuna


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Hide what Optuna says of each trial, and of what it calls experimental."""
    library = optuna_itself()
    library.logging.set_verbosity(library.logging.WARNING)
    with warnings.catch_warnings():
        # A killed trial is taken up again by what Optuna still calls experimental.
        warnings.simplefilter("ignore", library.exceptions.ExperimentalWarning)
        yield
