"""What the README tells a reader to type works, block after block, in one folder.

Blocks of Python are executed; they share their names. Blocks of YAML must be valid configs, or parts of
one; one that starts with a comment `# NAME.yaml` is saved under that name. Of the commands, `stackae …` is
carried out, with configs that train for few epochs; scripts are checked, not run.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Cli

from stackae.config_file import dump_config, load_config

README = REPOSITORY / "README.md"
FEW_EPOCHS = ["pretrain.epochs=2", "finetune.epochs=2", "tracking.wandb=disabled"]
FEW_UNROLLED = ["unroll.epochs=2"]  # where the config unrolls


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    for found in re.finditer(r"^```(bash|console|yaml|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 2)


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command; in a console block a command follows `$`, and the rest is output."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        if words := shlex.split(line, comments=True):
            yield words


def save_quick(path: Path, name: str, folder: Path) -> None:
    """Saves a config so that it trains for few epochs."""
    few = FEW_EPOCHS + (FEW_UNROLLED if load_config(path).unroll.epochs else [])
    (folder / name).write_text(dump_config(load_config(path, few)))


def check_yaml(text: str, folder: Path) -> None:
    draft = folder / "draft.yaml"
    draft.write_text(
        text if re.search("^layers:", text, re.MULTILINE) else f"{text}\nlayers: [{{width: 8}}]\n"
    )
    load_config(draft)
    if name := re.match(r"# (\w+\.yaml)\n", text):
        draft.rename(folder / name[1])
        save_quick(folder / name[1], name[1], folder)


def carry_out(words: list[str], folder: Path, cli: Cli) -> None:
    match words:
        case ["bash", script, *_]:
            checked = subprocess.run(["bash", "-n", script], cwd=REPOSITORY, capture_output=True, text=True)
            assert checked.returncode == 0, checked.stderr
        case [("stackae" | ".venv/bin/stackae"), *arguments]:
            done = cli(arguments, folder)
            assert done.returncode == 0, done.stderr
        case _:
            pytest.fail(f"the README has a command that this test does not know: {shlex.join(words)}")


def test_every_block_works(tmp_path: Path, cli: Cli) -> None:
    names: dict[str, Any] = {}
    (tmp_path / "configs").mkdir()
    text = README.read_text()
    for config in (REPOSITORY / "configs").glob("[!s]*.yaml"):
        if f"configs/{config.name}" in text:
            save_quick(config, f"configs/{config.name}", tmp_path)

    for block in blocks(text):
        try:
            if block.language == "yaml":
                check_yaml(block.text, tmp_path)
            elif block.language == "python":
                with contextlib.chdir(tmp_path):
                    exec(compile("\n" * (block.line - 1) + block.text, str(README), "exec"), names)
            else:
                for words in commands(block):
                    carry_out(words, tmp_path, cli)
        except Exception as fault:
            pytest.fail(f"README.md, block at line {block.line}: {type(fault).__name__}: {fault}")


def test_names_the_two_commands() -> None:
    text = README.read_text()

    assert "bash scripts/run.sh" in text
    assert "bash scripts/test.sh" in text


@pytest.mark.parametrize("folder", [".", "docs"])
def test_links_lead_to_files(folder: str) -> None:
    for page in (REPOSITORY / folder).glob("*.md"):
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
