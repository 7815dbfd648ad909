"""Kills many runs, each in a store of its own: `python -m tests.faults --kills 100`.

Prints a line for each kill and a table of where they hit; exits with 1 if a run did not end as one that was
never killed, did a finished stage again, or lost more than it may.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .lives import real_life
from .place import EVERY_BATCH, SELDOM, Place
from .torment import ANY, Kill, torment
from .victim import Point

# What each run of ten is: who kills it, how often it saves, and whether W&B writes beside it.
OFTEN, USUAL, TRACKED, OUTSIDE = "", "usual autosave", "wandb offline", "from outside"
MANNERS = [OFTEN, OFTEN, OUTSIDE, OFTEN, USUAL, OFTEN, OFTEN, TRACKED, OFTEN, OUTSIDE]
SETTINGS = {
    OFTEN: EVERY_BATCH,
    OUTSIDE: EVERY_BATCH,
    USUAL: SELDOM,
    TRACKED: ["tracking.wandb=offline", "trainer.autosave=0"],
}


@dataclass(frozen=True)
class Trial:
    """One run: where it is killed, first, second and third, and in which manner."""

    manner: str
    deaths: Sequence[Point | float]


class Lot:
    """Draws deaths, evenly over kinds and stages, from the events of a run that was left alone."""

    def __init__(self, events: Sequence[Mapping[str, Any]], seconds: float, seed: int) -> None:
        self._rng, self._seconds, self._trials = random.Random(seed), seconds, 0
        self._points = [Point(event["n"], event["stage"], event["kind"]) for event in events]
        self._used: Counter[str] = Counter()

    def trial(self) -> Trial:
        """The next run; each third is killed twice, each ninth three times."""
        self._trials += 1
        manner = MANNERS[self._trials % len(MANNERS)]
        more = (self._trials % 3 == 0) + (self._trials % 9 == 0)
        if manner == OUTSIDE:
            return Trial(manner, [self._rng.uniform(0.05, self._seconds) for _ in range(1 + more)])
        first = self._draw(manner)
        left = len(self._points) - self._points.index(first)
        return Trial(manner, [first, *(Point(self._rng.randint(1, left)) for _ in range(more))])

    def _draw(self, manner: str) -> Point:
        groups: dict[tuple[str, str], list[Point]] = {}
        for point in self._points:
            if manner != USUAL or "checkpoint" not in point.kind:
                groups.setdefault((point.stage, family(point.kind)), []).append(point)
        stage, kind = min(
            groups, key=lambda group: (self._used[group[1]], self._used[group[0]], self._rng.random())
        )
        self._used.update((stage, kind))
        return self._rng.choice(groups[stage, kind])


def family(kind: str) -> str:
    """A kind of event, whichever of the files that are written alike it was."""
    kind = re.sub(r"\S+(?=\.npy|\.safetensors)", "*", kind)
    return re.sub(r"metrics\.csv|config\.yaml|model/config\.json", "text", kind)


def told(kill: Kill, manner: str) -> str:
    """One kill in one line."""
    batches = "" if kill.batches_lost is None else f", {kill.batches_lost} batches"
    verdict = "identical" if not kill.faults else "WRONG: " + "; ".join(kill.faults)
    return (
        f"{kill.where}{f' [{manner}]' if manner else ''} | kept: {', '.join(kill.kept) or 'nothing'} | "
        f"lost: {kill.seconds_lost:.2f} s{batches} | {verdict}"
    )


def table(kills: Sequence[Kill], order: Sequence[str]) -> str:
    """How many kills hit each kind of event in each stage; `!` where one was not survived."""
    stages = [stage for stage in [*order, ANY] if any(kill.stage == stage for kill in kills)]
    kinds = sorted({family(kill.kind) for kill in kills})
    wide = max(map(len, kinds))
    lines = [f"{'':{wide}}  " + "  ".join(stages)]
    for kind in kinds:
        cells = []
        for stage in stages:
            hit = [kill for kill in kills if (kill.stage, family(kill.kind)) == (stage, kind)]
            cell = f"{len(hit) or ''}{'!' * any(kill.faults for kill in hit)}"
            cells.append(f"{cell:>{len(stage)}}")
        lines.append(f"{kind:{wide}}  " + "  ".join(cells))
    return "\n".join(lines)


def carry_out(folder: Path, wanted: int, seed: int, jobs: int) -> int:
    """Kills until `wanted` kills hit; the exit code."""
    plain, watched = Place(folder / "plain"), Place(folder / "watched")
    alone = real_life(plain, plain.words(EVERY_BATCH))
    seen = real_life(watched, watched.words(EVERY_BATCH), watched.orders("life"))
    if alone.code or seen.code:
        print(alone.said, seen.said, sep="\n")
        return 1
    reference = plain.fingerprint()
    if watched.fingerprint() != reference:
        print("A run that is only watched differs from one that is not: nothing to compare with.")
        return 1
    print(f"A run takes {alone.seconds:.1f} s, {seen.seconds:.1f} s when it is watched.", flush=True)

    lot, killed = Lot(watched.events("life"), alone.seconds, seed), list[tuple[str, Kill]]()

    def attempt(number: int, trial: Trial) -> list[Kill]:
        place, often = Place(folder / f"trial-{number:03}"), trial.manner != USUAL
        settings = SETTINGS[trial.manner]
        kills = torment(place, trial.deaths, settings, reference, real_life, every_batch=often)
        if not any(kill.faults for kill in kills):
            shutil.rmtree(place.folder)
        return kills

    tried = 0
    with ThreadPoolExecutor(jobs) as pool:
        while len(killed) < wanted:
            trials = [lot.trial() for _ in range(jobs)]
            numbers = range(tried + 1, tried + 1 + jobs)
            tried += jobs
            for number, trial, kills in zip(numbers, trials, pool.map(attempt, numbers, trials), strict=True):
                for kill in kills:
                    killed.append((trial.manner, kill))
                    print(f"{len(killed):3} (run {number}) {told(kill, trial.manner)}", flush=True)

    stages = list(dict.fromkeys(event["stage"] for event in watched.events("life")))
    print("\n" + table([kill for _, kill in killed], stages) + "\n")
    for manner in dict.fromkeys(MANNERS):
        if lost := [kill.seconds_lost for of, kill in killed if of == manner]:
            name = manner or "autosave after every batch"
            print(f"{name}: {len(lost)} kills, at most {max(lost):.2f} s lost")
    wrong = sum(bool(kill.faults) for _, kill in killed)
    print(f"{len(killed)} kills in {tried} runs, {wrong} not survived as promised.")
    return 1 if wrong else 0


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many; 100 take half an hour on one core")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is drawn")
    parser.add_argument("--keep", type=Path, help="folder for the runs; those that went wrong are left in it")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    given = parser.parse_args()
    if given.keep is not None:
        return carry_out(given.keep.resolve(), given.kills, given.seed, given.jobs)
    with tempfile.TemporaryDirectory() as folder:
        return carry_out(Path(folder), given.kills, given.seed, given.jobs)


if __name__ == "__main__":
    sys.exit(main())
