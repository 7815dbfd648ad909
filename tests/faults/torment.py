"""One run, killed again and again, and what must be true of it afterwards."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .lives import Ended, Life, real_life
from .place import Files, Place
from .victim import Point

# Where a kill from outside hits, for all that is known.
ANY = "any"


@dataclass
class Kill:
    """One kill that hit: where, what was finished then, what was lost, and what was wrong afterwards."""

    where: str
    stage: str
    kind: str
    kept: list[str]
    seconds_lost: float
    batches_lost: int | None  # None: not known, the victim was not watched
    faults: list[str] = field(default_factory=list)


def torment(
    place: Place,
    deaths: Sequence[Point | float],
    settings: Sequence[str],
    reference: Mapping[str, Any],
    life: Life,
    *,
    every_batch: bool,
) -> list[Kill]:
    """Kills a run at each of the deaths in turn, lets it end, and says what hit and what was wrong.

    A death is a point, or seconds after which the process is killed from outside. One that its life does not
    reach hits nothing, and ends the torment: the run is done. `every_batch`: the settings ask for a
    checkpoint after each batch, so no more than one may be lost.
    """
    kills: list[Kill] = []
    untouched: Files = {}
    words = place.words(settings)
    lives = [f"life-{number}" for number in range(1, len(deaths) + 1)]
    for number, (name, death) in enumerate(zip(lives, deaths, strict=True), 1):
        if isinstance(death, Point):
            ended = life(place, words, place.orders(name, death))
        else:
            ended = life(place, words, until=death)
        if ended.code != -signal.SIGKILL:
            break
        untouched = place.finished() | untouched
        kills.append(_kill(place, death, lives[:number], ended, every_batch=every_batch))
    else:
        ended = life(place, words, None if life is real_life else place.orders("last"))
    if ended.code:
        faults = [f"exit code {ended.code}: {ended.said.strip()[-2000:]}"]
    else:
        faults = _said_wrong(ended) + _redone(place, untouched) + _different(reference, place.fingerprint())
    for kill in kills:
        kill.faults += faults
    return kills


def _kill(
    place: Place, death: Point | float, lives: Sequence[str], ended: Ended, *, every_batch: bool
) -> Kill:
    if isinstance(death, Point):
        last, lost = place.events(lives[-1])[-1], place.batches_lost(lives)
        stage, kind, where = last["stage"], last["kind"], str(Point(last["n"], last["stage"], last["kind"]))
    else:
        stage, kind, lost, where = ANY, ANY, None, f"after {death:.2f} s"
    faults = _said_wrong(ended)
    if every_batch and lost is not None and lost > 1:
        faults.append(f"{lost} batches lost")
    kept = [folder.rpartition("-")[0] for folder in place.finished()]
    seconds = place.seconds_lost(ended.started, ended.started + ended.seconds)
    return Kill(where, stage, kind, kept, seconds, lost, faults)


def _said_wrong(ended: Ended) -> list[str]:
    """Lines that no kill accounts for: a file is whole or not there, and nothing fails because of it."""
    wrong = ("Traceback", "damaged", "does not match")
    return [f"it said: {line}" for line in ended.said.splitlines() if any(word in line for word in wrong)]


def _redone(place: Place, untouched: Files) -> list[str]:
    """Of the stages that were finished at a kill, those that were not left as they were then."""
    now, results = place.finished(), place.results()
    reused = {"data", *(stage["stage"] for stage in results["stages"] if stage["reused"])}
    faults = []
    for folder, files in untouched.items():
        stage = folder.rpartition("-")[0]
        if stage not in reused:
            faults.append(f"{stage} was finished, and done again")
        elif now.get(folder) != files:
            faults.append(f"{stage} was finished, and its files were written again")
    return faults


def _different(reference: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    names = reference.keys() | found.keys()
    return [f"{name} differs" for name in sorted(names) if reference.get(name) != found.get(name)]
