"""The reference of the config says what the code says, and what it shows can be typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY
from documents import Block, blocks, commands, config_text
from typer.testing import CliRunner

from stackae.config_file import load_config

PAGE = REPOSITORY / "docs" / "config.md"
SHOWN = [block for block in blocks(PAGE) if block.language == "yaml"]
# Layers that each have what the page's overrides change.
ANY_CONFIG = "layers: [{kind: denoising, width: 8}, {kind: denoising, width: 4}]\n"


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs the script on a copy of the page."""
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    shutil.copy(PAGE, tmp_path / "config.md")
    return CliRunner()


def test_has_the_fields_that_the_schema_has(check: CliRunner, tmp_path: Path) -> None:
    from config_reference import app

    done = check.invoke(app, ["--check", "--docs", str(tmp_path)])

    assert done.exit_code == 0, done.output


def test_a_stale_page_is_told_and_written_anew(check: CliRunner, tmp_path: Path) -> None:
    from config_reference import app

    page = tmp_path / "config.md"
    page.write_text(PAGE.read_text().replace("| `rare` |", "| `common` |"))

    assert check.invoke(app, ["--check", "--docs", str(tmp_path)]).exit_code == 1
    assert "`common`" in page.read_text()
    assert check.invoke(app, ["--docs", str(tmp_path)]).exit_code == 0
    assert page.read_text() == PAGE.read_text()


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: str(block.line))
def test_every_config_that_it_shows_is_valid(block: Block, tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(config_text(block))

    load_config(tmp_path / "shown.yaml")


def test_every_override_that_it_shows_can_be_applied(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(ANY_CONFIG)
    shown = [words for block in blocks(PAGE) if block.language == "bash" for words in commands(block)]

    assert shown
    for program, command, config, *overrides in shown:
        assert (program, command) == ("stackae", "run")
        load_config(tmp_path / config, overrides)
