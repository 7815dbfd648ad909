"""The reference of the commands has all of them, and what the documents call is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli
from documents import sections

PAGES = sorted(
    [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]
)
# What many commands have is said once, at the top.
COMMON = {"--help", "--store", "--quiet", "--out"}
PLACE = re.compile(r"(?<![\w/.])(?:scripts|configs|docs|tests)/[\w/.-]*\w")

Help = Callable[..., str]


@pytest.fixture(scope="module")
def help_of(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Help:
    """What a command says of itself; without one, what the whole command line says."""
    folder = tmp_path_factory.mktemp("help")
    return lambda *command: cli([*command, "--help"], folder).stdout


@pytest.fixture(scope="module")
def options(help_of: Help) -> dict[str, set[str]]:
    """The long options of each command."""
    listed = help_of().partition("Commands:\n")[2]
    names = re.findall(r"^  (\w+)", listed, re.MULTILINE)
    return {
        name: set(re.findall(r"--[a-z][a-z-]*", help_of(name).partition("Options:\n")[2])) for name in names
    }


def test_every_command_has_a_section_that_names_its_options(options: dict[str, set[str]]) -> None:
    told = {
        section.title.strip("`"): section.text
        for section in sections(REPOSITORY / "docs" / "commands.md")
        if section.title.startswith("`")
    }

    assert set(told) == set(options)
    for name, own in options.items():
        missing = {option for option in own - COMMON if option not in told[name]}
        assert not missing, f"docs/commands.md: {name} has {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_a_text_exist(page: Path, options: dict[str, set[str]]) -> None:
    text = page.read_text(encoding="utf-8")
    for command, words in re.findall(r"(?:`|^ {4,})stackae ([a-z]+)([^`]*?)(?:`|$)", text, re.MULTILINE):
        assert command in options, f"stackae {command}"
        assert set(re.findall(r"(?<= )--[a-z][a-z-]*", words)) <= options[command], (
            f"stackae {command}{words}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_repository_in_a_text_exist(page: Path) -> None:
    for place in PLACE.findall(page.read_text(encoding="utf-8")):
        assert (REPOSITORY / place).exists(), place
