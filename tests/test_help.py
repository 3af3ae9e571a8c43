"""Every `--help`, read as a terminal of 80 columns shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from sapiens_stream.cli import app
from sapiens_stream.results.mapping import shipped
from sapiens_stream.sinks import registry
from tests.program import Program

COLUMNS = 80


def every_command(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from every_command(below, (*words, name))


COMMANDS = dict(every_command(typer.main.get_command(app)))
# What is of no use when it is broken over two lines: an option, a file's name, an address.
LITERAL = re.compile(r"--[a-z][\w-]*|[\w-]*[./_:|][\w./:|-]*\w")


@pytest.fixture(params=COMMANDS, ids=lambda words: " ".join(words) or "sapiens-stream")
def words(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def page(words: tuple[str, ...], program: Program, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    outcome = program(*words, "--help")
    assert (outcome.code, outcome.stderr) == (0, "")
    return outcome.stdout


def options(words: tuple[str, ...]) -> list[Any]:
    return [each for each in COMMANDS[words].params if each.param_type_name == "option"]


def in_one_piece(text: str) -> str:
    return " ".join(text.split())


def entries(page: str) -> list[str]:
    """What stands under "Options:", an entry an option."""
    _, _, listed = page.partition("\nOptions:\n")
    listed, _, _ = listed.partition("\nCommands:\n")
    return [in_one_piece(entry) for entry in re.split(r"\n(?=  -)", "\n" + listed) if entry.strip()]


def test_it_fits_and_nothing_is_cut(page: str) -> None:
    assert max(map(len, page.splitlines())) <= COLUMNS
    assert "…" not in page
    _, _, summaries = page.partition("\nCommands:\n")
    assert not [line for line in summaries.splitlines() if line.endswith("...")]


def test_every_option_stands_there_with_all_its_names(words: tuple[str, ...], page: str) -> None:
    for option in options(words):
        for name in (*option.opts, *option.secondary_opts):
            assert re.search(rf"^  .*(?<![\w-]){re.escape(name)}(?![\w-])", page, re.MULTILINE), name


def test_every_explanation_stands_there_whole(words: tuple[str, ...], page: str) -> None:
    explained = [*COMMANDS[words].params, COMMANDS[words]]
    shown = re.sub(r"(?<=\w-) (?=\w)", "", in_one_piece(page))  # a word of prose may end a line at its hyphen
    for each in explained:
        assert each.help, each.name
        for paragraph in each.help.split("\n\n"):
            assert in_one_piece(paragraph) in shown
        for literal in LITERAL.findall(each.help):
            assert any(literal in line for line in page.splitlines()), f"{literal} is broken over two lines; reword"


def test_every_default_is_shown(words: tuple[str, ...], page: str) -> None:
    """A flag that is off unless it is given needs none. Where the default is none, words say what happens then."""
    required_or_free = ("--input", "--web", "--record", "--install-completion", "--show-completion")
    for option in options(words):
        if option.required or option.opts[-1] in required_or_free:
            continue
        if option.is_flag and option.default in (False, None) and not option.secondary_opts:
            continue
        [entry] = [entry for entry in entries(page) if re.match(rf"(-\w, )?{option.opts[0]}(?![\w-])", entry)]
        assert "[default: " in entry, entry
        if option.default is not None and not option.is_flag:
            assert str(option.default) in re.sub(r"(?<=\w-) (?=\w)", "", entry)


def test_brackets_are_read_as_they_stand(program: Program) -> None:
    assert "Pictures are [photo | overlay]." in in_one_piece(program("images", "--help").stdout)


@pytest.mark.parametrize("arguments", [(), ("-h",), ("models",), ("models", "-h"), ("video", "-h")])
def test_help_is_what_a_bare_command_says(program: Program, arguments: tuple[str, ...]) -> None:
    outcome = program(*arguments)
    assert outcome.code == 0 and outcome.stdout.startswith("Usage: sapiens-stream")


def test_every_mapping_of_the_package_is_offered(program: Program) -> None:
    listed = re.search(
        r"Classes of another data set: (.*), or a file", in_one_piece(program("results", "export", "--help").stdout)
    )
    assert listed is not None and sorted(listed[1].split(", ")) == shipped()


@pytest.mark.parametrize(("option", "of_videos_alone"), [("save", "labels"), ("matte", "prores4444")])
def test_photos_are_offered_what_is_written_of_photos(program: Program, option: str, of_videos_alone: str) -> None:
    shown = in_one_piece(program("images", "--help").stdout)
    for word in registry.words(option):
        assert (f" {word} (" in shown) == (word in registry.words(option, spanning=False))
    assert f" {of_videos_alone} (" in in_one_piece(program("video", "--help").stdout)
    assert "--start-number" not in shown  # a photo's files have its name, not a number
