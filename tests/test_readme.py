"""Everything that the README shows is run, loaded or parsed, in the order in which a reader meets it."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest
import typer.main

import gfopt
from gfopt import config
from gfopt.cli import app, main
from gfopt.diagnostics.kinds import KINDS
from gfopt.diagnostics.quantities import QUANTITIES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Commands of this kind are cheap enough to be executed; `run` and `bench` are parsed.
EXECUTED = {"new", "list", "status", "best", "report", "schema"}


@dataclass(frozen=True)
class Block:
    language: str
    line: int
    text: str


def blocks(text: str) -> Iterator[Block]:
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(match[1], text.count("\n", 0, match.start()) + 2, match[2])


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of every call of gfopt in a bash block."""
    for line in text.splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words and Path(words[0]).name == "gfopt":
                yield words[1:]


def parse(arguments: list[str]) -> None:
    """Refuse unknown commands, options and values, as the command line does; runs nothing."""
    group = typer.main.get_command(app)
    context = group.make_context("gfopt", list(arguments))
    name, command, rest = group.resolve_command(context, list(arguments))
    command.make_context(name, rest, parent=context)


def run_python(block: Block, namespace: dict[str, object]) -> None:
    exec(compile("\n" * (block.line - 1) + block.text, "README.md", "exec"), namespace)


def run_bash(block: Block, namespace: dict[str, object]) -> None:
    del namespace
    for arguments in commands(block.text):
        parse(arguments)
        if arguments[0] in EXECUTED:
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert stop.value.code in (0, None), arguments
        elif arguments[0] == "run":
            overrides = [value for key, value in itertools.pairwise(arguments) if key == "--set"]
            assert config.load(arguments[1], overrides).runs > 0


def load_yaml(block: Block, namespace: dict[str, object]) -> None:
    del namespace
    file = Path(f"block-{block.line}.yaml")
    file.write_text(block.text, encoding="utf-8")
    assert config.load(file, allow_code=True).runs > 0


def load_toml(block: Block, namespace: dict[str, object]) -> None:
    del namespace
    assert tomllib.loads(block.text)


RUNNERS: dict[str, Callable[[Block, dict[str, object]], None]] = {
    "python": run_python,
    "bash": run_bash,
    "yaml": load_yaml,
    "toml": load_toml,
}


def test_every_block_does_what_it_says(tmp_path, monkeypatch):
    matplotlib.use("Agg")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    done = []
    for block in blocks(README):
        if block.language in RUNNERS:
            try:
                RUNNERS[block.language](block, namespace)
            except BaseException as error:
                error.add_note(f"in the {block.language} block at line {block.line} of README.md")
                raise
            done.append(block.language)
    assert {kind: done.count(kind) >= (kind != "toml") + 1 for kind in RUNNERS} == dict.fromkeys(RUNNERS, True)
    assert (tmp_path / "signs.html").stat().st_size > 10_000
    assert (tmp_path / "convergence.png").read_bytes().startswith(b"\x89PNG")
    columns = set(gfopt.load_results("results/signs").runs.columns)
    named = re.search(r"Columns of `runs`:(.*?)`curves` has", README, re.DOTALL)
    assert named is not None
    words = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", named[1], flags=re.DOTALL)))
    assert len(words) > 8
    assert words <= columns


def test_only_known_kinds_of_block():
    assert {block.language for block in blocks(README)} == {*RUNNERS, "text"}
    assert README.count("```") == 2 * len(list(blocks(README)))


@pytest.mark.parametrize(
    "arguments", [["fly"], ["run"], ["run", "x.yaml", "--no-such"], ["run", "x.yaml", "--device", "tpu"]]
)
def test_the_parser_of_this_test_refuses(arguments):
    with pytest.raises(Exception, match=r"(?i)no such|missing|invalid|not one of"):
        parse(arguments)


def test_the_first_two_blocks_are_the_two_commands():
    first, second = (block.text.strip() for block in list(blocks(README))[:2])
    assert first.endswith("gfopt run configs/quickstart.yaml")
    assert "python -m pytest" in second
    assert "-c constraints.txt" in first
    assert "-c constraints.txt" in second
    assert "\n" not in first + second


def test_ci_finds_the_test_command():
    """`.ci/run` cuts the command out of the README; what it gets is the second block."""
    (line,) = [t for t in (ROOT / ".ci" / "run").read_text().splitlines() if t.startswith("command=")]
    script = f"set -euo pipefail\n{line}\nprintf '%s' \"$command\""
    found = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == list(blocks(README))[1].text.strip()


def test_the_table_names_every_command_and_option():
    group = typer.main.get_command(app)
    table = {match[1]: match[0] for match in re.finditer(r"^\| `gfopt (\w+).*$", README, re.MULTILINE)}
    assert set(table) == set(group.commands)
    for name, row in table.items():
        known = {option for p in group.commands[name].params for option in p.opts if option.startswith("--")}
        shown = set(re.findall(r"--[a-z-]+", row))
        assert shown == known - {"--help", "--engine"}, name


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_table_of_diagnostics_is_what_is_measured():
    table = re.search(r"\| asked for as \| quantity .*?\n\|---.*?\n(.*?)\n\n", README, re.DOTALL)
    assert table is not None
    told = [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1].splitlines()]
    wanted = [
        [f"`{name}`", f"`{quantity}`", f"{about.meaning} ({about.unit})".replace("|", r"\|"), ", ".join(kind.when)]
        for name, kind in KINDS.items()
        for quantity in kind.quantities
        for about in [QUANTITIES[quantity]]
    ]
    assert told == wanted


def test_budget_units_of_the_table_exist():
    from gfopt.trace import BUDGET_UNITS, LEDGER_UNITS

    table = re.search(r"\| unit \| meaning \|\n\|---\|---\|\n(.*?)\n\n", README, re.DOTALL)
    assert table is not None
    first = " ".join(row.split("|")[1] for row in table[1].splitlines())
    recorded = "probe_samples peak_memory nonfinite"
    assert set(re.findall(r"\w+", first)) == {*BUDGET_UNITS, *recorded.split()}
    assert set(re.findall(r"`(\w+)`", table[1])) >= set(LEDGER_UNITS)
