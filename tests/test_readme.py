"""What the README tells a reader to type works, block after block, in one folder.

Blocks of Python are executed, each after those before it. Blocks of YAML must be valid configs, or parts
of one; one that starts with a comment `# NAME.yaml` is saved under that name. Of shells every command is
carried out, in a process of its own and a cheap form: configs train for few epochs, studies are small, and
scripts find an environment whose tools only write down that they were started. A command, or a block, that
this file does not know how to carry out is a fault.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY
from documents import Block, anchors, blocks, commands, config_text
from faults import forked

from stackae.config_file import dump_config, load_config

README = REPOSITORY / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").glob("*.md"))]
SMALL = {"curve": ["--labels", "50,100", "--seeds", "1"], "tune": ["--trials", "2"]}
"""Options that come after the README's own, and count instead of them."""
CHECKS = ["ruff check", "ruff format --check", "mypy --no-color-output", "pytest -n 2 --color=no"]
TOOL = """#!/usr/bin/env bash
if [[ $0 == */stackae || $1 == -m ]]; then echo "$@" >> "{told}"; else exec "{python}" "$@"; fi
"""
NO_PYTHON = "#!/usr/bin/env bash\nexit 1\n"


class Reader:
    """Who types what the README says, from top to bottom, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = ""
        self._told = folder / "told"
        shutil.copytree(REPOSITORY / "configs", folder / "configs")
        shutil.copytree(REPOSITORY / "scripts", folder / "scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(REPOSITORY / name, folder)
        rows(300, 0).to_csv(folder / "shop.csv", index=False)
        rows(20, 1).drop(columns="label").to_csv(folder / "new.csv", index=False)
        self._pretend_environment()

    def follow(self, block: Block) -> None:
        match block.language:
            case "text":  # what is printed, or drawn
                pass
            case "yaml":
                self._save(block)
            case "python":
                self.program += block.text
                done = forked.carry_out([], self.folder, program=self.program)
                assert done.returncode == 0, done.stderr
            case "bash" | "sh":
                for words in commands(block):
                    self._type(words)
            case _:
                raise AssertionError(f"nobody knows how to follow a block of '{block.language}'")

    def _save(self, block: Block) -> None:
        first = block.text.partition("\n")[0]
        name = first.removeprefix("# ") if first.startswith("# ") and first.endswith(".yaml") else None
        if name and f"--space {name}" in README.read_text():
            (self.folder / name).write_text(block.text)
            return
        path = self.folder / (name or "draft.yaml")
        path.write_text(config_text(block))
        load_config(path)

    def _type(self, words: list[str]) -> None:
        match words:
            case ["bash", "scripts/run.sh"]:
                (started,) = self._start(words)
                self._type(["stackae", *shlex.split(started)])
            case ["bash", "scripts/test.sh"]:
                assert self._start(words) == [f"-m {check}" for check in CHECKS]
            case ["stackae", command, *arguments]:
                self._carry_out(command, arguments)
            case _:
                raise AssertionError(f"nobody knows how to carry out: {shlex.join(words)}")

    def _carry_out(self, command: str, arguments: list[str]) -> None:
        if command in ("plan", "run", "curve", "tune"):
            shorten(self.folder / arguments[0])
        done = forked.carry_out([command, *arguments, *SMALL.get(command, [])], self.folder)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        for option, value in pairwise(arguments):
            if option in ("-o", "--out"):
                assert (self.folder / value).exists(), f"{command} wrote no {value}"

    def _start(self, words: list[str]) -> list[str]:
        """Starts a script; returns what it started in turn, each with its words."""
        self._told.write_text("")
        # Should it not find the environment ready, it must not make one: there is no Python to make it with.
        env = {**os.environ, "PATH": f"{self.folder / 'no'}:{os.environ['PATH']}"}
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return self._told.read_text().splitlines()

    def _pretend_environment(self) -> None:
        """Makes a .venv that the scripts take for one that is ready."""
        tool = TOOL.format(told=self._told, python=sys.executable)
        for name, text in (("python", tool), ("stackae", tool), ("no/python3", NO_PYTHON)):
            path = self.folder / ("" if "/" in name else ".venv/bin") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        noted = "source scripts/venv.sh && stamp write runtime && stamp write dev"
        subprocess.run(["bash", "-c", noted], cwd=self.folder, check=True)


def rows(count: int, seed: int) -> pd.DataFrame:
    """A table with numbers, categories and missing cells, and a label that follows from them."""
    rng = np.random.default_rng(seed)
    age, city = rng.normal(40, 10, count), rng.choice(["Bern", "Ulm", "Graz"], count)
    label = np.where(age + 10 * (city == "Ulm") > 42, "again", "never")
    fee = np.where(rng.random(count) < 0.1, np.nan, rng.exponential(2, count))
    return pd.DataFrame({"age": age, "fee": fee, "city": city, "label": label})


def shorten(path: Path) -> None:
    """Saves a config so that no stage of it trains for long, tracks nothing, and draws no report."""
    config = load_config(path)
    few = ["tracking.wandb=disabled", "report=false"]
    few += ["pretrain.epochs=2"] if config.pretrain.epochs else []
    few += ["unroll.epochs=2"] if config.unroll.epochs else []
    few += ["finetune.epochs=2"] if config.finetune else []
    path.write_text(dump_config(load_config(path, few)))


def test_every_block_works(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    fences = [line for line in README.read_text().splitlines() if line.lstrip().startswith("```")]
    assert len(fences) == 2 * len(list(blocks(README))), "a block that is indented would be passed over"
    for block in blocks(README):
        try:
            reader.follow(block)
        except Exception as fault:
            pytest.fail(f"README.md, block at line {block.line}: {type(fault).__name__}: {fault}")


def test_fits_on_a_few_screens() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_names_the_two_commands() -> None:
    text = README.read_text()

    assert "bash scripts/run.sh" in text
    assert "bash scripts/test.sh" in text


@pytest.mark.parametrize("page", [*PAGES, *REPOSITORY.glob("C*.md")], ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", page.read_text()):
        name, _, heading = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name} links to {name}, which is not there"
        if heading:
            assert heading in anchors(there), f"{page.name} links to {target}; there is no such heading"
