"""A run that is killed, runs beside another, or loses its clock or its store, ends as one left alone."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .lives import begin_forked_life, forked_life
from .place import EVERY_BATCH, SELDOM, Place
from .torment import torment
from .victim import Point

# To draw a report takes longer than all else that these runs do.
UNREPORTED = ["report=false"]
OFTEN, RARELY = [*EVERY_BATCH, *UNREPORTED], [*SELDOM, *UNREPORTED]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the victims are watched through /proc")

# Each is one run, killed at these points in turn; the count begins anew with each life.
DEATHS = [
    [
        Point(1, "data", "half chunk features-train.npy"),
        Point(5, "pretrain-1", "batch"),
        Point(4, "pretrain-1", "half checkpoint.ckpt.part"),
        Point(1, "pretrain-1", "half weights.safetensors"),
    ],
    [
        Point(2, "pretrain-1", "epoch"),
        Point(7, "pretrain-2", "replaced checkpoint.ckpt"),
        Point(1, "pretrain-2", "half chunk features-val.npy"),
        Point(1, "pretrain-2", "half manifest.json.part"),
    ],
    [
        Point(1, "unroll", "validation"),
        Point(1, "unroll", "replace manifest.json"),
        Point(2, "finetune", "epoch over"),
        Point(1, "finetune", "half manifest.json.part"),
        Point(1, "finetune", "remove checkpoint.ckpt"),
    ],
    [
        Point(5, "scratch", "step"),
        Point(1, "scratch", "sync logits-folds.npy"),
        Point(7, "probe", "regression"),
        Point(1, "results", "half model/classifier.safetensors"),
    ],
]
HELD_OUT = [*OFTEN, "finetune.validation={share: 0.3}"]
DEATHS_WITH_ROWS_HELD_OUT = [
    Point(2, "length", "epoch"),
    Point(1, "length", "half manifest.json.part"),
    Point(2, "finetune", "batch"),
    Point(3, "scratch-length", "step"),
    Point(1, "scratch", "epoch over"),
]
LADDER = "finetune.semi_supervised={type: ladder, weights: [1, 1], batch_size: 200}"
JOINT = [*OFTEN, "unroll.epochs=0", "finetune.validation=none", "compare.scratch=false", LADDER]
DEATHS_WITH_UNLABELLED_ROWS = [
    Point(7, "finetune", "batch"),
    Point(1, "finetune", "epoch over"),
    Point(3, "finetune", "step"),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run that was left alone, but for being watched."""
    place = Place(tmp_path_factory.mktemp("alone"))
    ended = forked_life(place, place.words(OFTEN), place.orders("life"))
    assert ended.code == 0, ended.said
    return place


def trained(*logs: Sequence[dict[str, Any]]) -> Counter[str]:
    """How many batches of each stage were trained on."""
    return Counter(event["stage"] for log in logs for event in log if event["kind"] == "batch")


@pytest.mark.parametrize("deaths", DEATHS, ids=lambda deaths: ", ".join(map(str, deaths)))
def test_a_killed_run_ends_with_the_same_bits(alone: Place, tmp_path: Path, deaths: list[Point]) -> None:
    place, reported = Place(tmp_path), deaths is DEATHS[-1]
    settings = EVERY_BATCH if reported else OFTEN
    kills = torment(place, deaths, settings, alone.fingerprint(), forked_life, every_batch=True)
    assert not [f"{kill.where}: {fault}" for kill in kills for fault in kill.faults]
    assert [kill.where for kill in kills] == [str(point) for point in deaths]
    assert (place.out / "report.html").exists() == reported
    lives = [place.events(f"life-{number}") for number in range(1, len(deaths) + 1)]
    again = trained(*lives, place.events("last")) - trained(alone.events("life"))
    assert again.total() <= len(deaths), f"batches that were trained on again: {dict(again)}"


@pytest.mark.parametrize(
    ("settings", "deaths"),
    [(HELD_OUT, DEATHS_WITH_ROWS_HELD_OUT), (JOINT, DEATHS_WITH_UNLABELLED_ROWS)],
    ids=["rows held out", "unlabelled rows"],
)
def test_other_ways_to_learn_labels_end_with_the_same_bits(
    tmp_path: Path, settings: list[str], deaths: list[Point]
) -> None:
    alone = Place(tmp_path / "alone")
    ended = forked_life(alone, alone.words(settings), alone.orders("life"))
    assert ended.code == 0, ended.said
    place, expected = Place(tmp_path / "killed"), alone.fingerprint()
    kills = torment(place, deaths, settings, expected, forked_life, every_batch=True)
    assert not [f"{kill.where}: {fault}" for kill in kills for fault in kill.faults]
    assert [kill.where for kill in kills] == [str(point) for point in deaths]


def test_a_run_that_saves_seldom_ends_with_the_same_bits(alone: Place, tmp_path: Path) -> None:
    deaths = [Point(7, "pretrain-2", "batch"), Point(1, "unroll", "half chunk features-train.npy")]
    kills = torment(Place(tmp_path), deaths, RARELY, alone.fingerprint(), forked_life, every_batch=False)
    assert not [f"{kill.where}: {fault}" for kill in kills for fault in kill.faults]
    assert [kill.where for kill in kills] == [str(point) for point in deaths]


def test_two_runs_on_one_store_train_each_stage_once(alone: Place, tmp_path: Path) -> None:
    place = Place(tmp_path)
    outs = [place.folder / "first", place.folder / "second"]
    ends = [
        begin_forked_life(place, place.words(OFTEN, out), place.orders(out.name, out=out)) for out in outs
    ]
    for ended in [end() for end in ends]:
        assert ended.code == 0, ended.said
        assert "Traceback" not in ended.said
    stages = [{stage["stage"]: stage["reused"] for stage in place.results(out)["stages"]} for out in outs]
    assert all(stages[0][stage] != stages[1][stage] for stage in stages[0]), stages
    assert trained(*(place.events(out.name) for out in outs)) == trained(alone.events("life"))
    for out in outs:
        assert place.fingerprint(out) == alone.fingerprint()


def test_a_clock_that_runs_backwards_changes_nothing(alone: Place, tmp_path: Path) -> None:
    place = Place(tmp_path)
    point = Point(7, "pretrain-2", "step")
    died = forked_life(place, place.words(OFTEN), place.orders("life", point, clock="backwards"))
    assert died.code == -9, died.said
    ended = forked_life(place, place.words(OFTEN), place.orders("last", clock="backwards"))
    assert ended.code == 0, ended.said
    assert place.fingerprint() == alone.fingerprint()
    assert trained(place.events("life"), place.events("last")) == trained(alone.events("life"))


@pytest.mark.parametrize("settings", [OFTEN, RARELY], ids=["saved after every batch", "saved seldom"])
def test_a_store_that_is_deleted_costs_no_more_than_a_second_start(
    alone: Place, tmp_path: Path, settings: list[str]
) -> None:
    place = Place(tmp_path)
    orders = place.orders("life", Point(5, "pretrain-2", "batch"), action="vanish")
    ended = forked_life(place, place.words(settings), orders)
    assert "Traceback" not in ended.said, ended.said
    assert ended.code in (0, 1), ended.said
    if ended.code:
        assert str(place.store) in ended.said.splitlines()[-1]
    again = forked_life(place, place.words(settings), place.orders("again"))
    assert again.code == 0, again.said
    assert place.fingerprint() == alone.fingerprint()
