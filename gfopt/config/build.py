"""From plain data to a checked study: settings, entries, grids, cells, and what has to fit between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gfopt.config import cells, entries, grid
from gfopt.config.cells import OptimizerCell, ProblemCell, Rules
from gfopt.config.messages import Issue, Place, issue_of, raise_issues
from gfopt.config.models import Report, Settings, Tune, check_name
from gfopt.config.schema import StudyConfig
from gfopt.config.validation import validate
from gfopt.errors import ConfigError, expectation, suggestion
from gfopt.trace import BUDGET_UNITS, Budget

MAX_RUNS = 100_000
"""More runs than this are refused: at a second each they would take more than a day."""

SECTIONS = ("problems", "optimizers")
_EXAMPLES = {
    "problems": "{mine: {dataset: {name: digits}, network: {kind: mlp}}}",
    "optimizers": "{adam: {kind: adam}}",
}


def build(data: Mapping[str, Any], *, rules: Rules, source: str, source_of: Callable[[Place], str]) -> StudyConfig:
    """The study that plain `data` describes.

    Args:
        data: as `PlainData` gives it.
        rules: whether Python objects and the user's own modules may be in it.
        source: the file or call that it comes from.
        source_of: the same for the value at a place, where overrides come from elsewhere.

    Raises:
        ConfigError: listing everything that is wrong.
    """
    builder = _Builder(data, rules)
    study = builder.study(source)
    raise_issues(builder.issues, source_of)
    assert study is not None  # else there was an issue
    return study


class _Builder:
    """Collects what is wrong, going on as far as the rest still makes sense."""

    def __init__(self, data: Mapping[str, Any], rules: Rules) -> None:
        self.data = data
        self.rules = rules
        self.issues = grid.misplaced(dict(data))
        self.broken = {issue.path[0] for issue in self.issues}

    def study(self, source: str) -> StudyConfig | None:
        settings = self.settings()
        budget = self.budget()
        entries_of = {section: self.entries(section) for section in SECTIONS}
        grids = self.grids(entries_of)
        if not self.fits(grids, settings.repeats if settings is not None else 1):
            return None
        self.check_budgets(entries_of["problems"])
        problems = self.problem_cells(entries_of["problems"], grids, budget)
        optimizers = self.optimizer_cells(entries_of["optimizers"], grids)
        names = list(dict.fromkeys([*entries_of["optimizers"], *(cell.name for cell in optimizers)]))
        self.check_report(names)
        self.check_tune(names)
        self.check_chosen(problems, names)
        if settings is not None and settings.batch_repeats:
            self.check_clocks(problems)
        if settings is None or self.issues:
            return None
        fields = {name: getattr(settings, name) for name in Settings.model_fields}
        fields |= {section: dict(self.data[section]) for section in SECTIONS}
        fields |= {"problem_cells": tuple(problems), "optimizer_cells": tuple(optimizers)}
        return StudyConfig(**(fields | {"budget": budget, "source": source}))

    def settings(self) -> Settings | None:
        # What is broken has an issue already; a section stays, so that it does not count as missing.
        given = {k: v for k, v in self.data.items() if k not in self.broken or k in SECTIONS}
        return validate(Settings, given, (), self.issues)

    def budget(self) -> Budget | None:
        if "budget" in self.broken:
            return None
        return entries.budget(self.data.get("budget"), ("budget",), self.issues)

    def entries(self, section: str) -> dict[str, Mapping[str, Any]]:
        """The named entries of a section; what cannot be an entry is left out with an issue."""
        found = self.data.get(section)
        if section not in self.data or section in self.broken:
            return {}
        if not isinstance(found, Mapping):
            wanted = f"a mapping from names to {section}"
            self._add((section,), expectation(wanted, found, f"For example {_EXAMPLES[section]}."))
            return {}
        if not found:
            self._add((section,), expectation("at least one", "`none`", f"For example {_EXAMPLES[section]}."))
        good = {}
        for name, entry in found.items():
            try:
                check_name(name)
            except ConfigError as error:
                self.issues.append(issue_of(error, (section, name)))
                continue
            if isinstance(entry, Mapping):
                good[name] = entry
            else:
                self._add((section, name), expectation("a mapping, as {key: value}", entry))
        return good

    def grids(self, found: Mapping[str, dict[str, Any]]) -> dict[Place, list[grid.Grid]]:
        """The grids of each entry by its place; an entry with a broken grid is left out."""
        result: dict[Place, list[grid.Grid]] = {}
        for section, section_entries in found.items():
            for name, entry in section_entries.items():
                before = len(self.issues)
                grids = grid.find(entry, (section, name), self.issues)
                if len(self.issues) == before:
                    result[section, name] = grids
        return result

    def fits(self, grids: Mapping[Place, list[grid.Grid]], repeats: int) -> bool:
        """Whether the study is of a sensible size, asked before anything of its size is made."""
        counts = {where: grid.count(found) for where, found in grids.items()}
        total = {section: sum(n for where, n in counts.items() if where[0] == section) for section in SECTIONS}
        runs = max(1, total["problems"]) * max(1, total["optimizers"]) * repeats
        if runs <= MAX_RUNS:
            return True
        got = f"`{runs}`: {total['problems']} problems x {total['optimizers']} optimizers x {repeats} repeats"
        fix = "Shorten the grids or split the study."
        if counts:
            largest = max(counts, key=lambda where: counts[where])
            fix = f"{'.'.join(map(str, largest))} alone makes {counts[largest]}. {fix}"
        self._add((), expectation(f"at most {MAX_RUNS} runs", got, fix))
        return False

    def check_budgets(self, problems: Mapping[str, Mapping[str, Any]]) -> None:
        if self.data.get("budget") is not None:
            return
        missing = [name for name, entry in problems.items() if entry.get("budget") is None]
        if missing:
            text = (
                f"expected a budget, got none for {', '.join(missing)}. Add one for the whole study, as "
                "budget: {forward_equivalents: 1.0e6}, or one inside each problem. "
                f"Units: {', '.join(BUDGET_UNITS)}."
            )
            self._add(("budget",), text)

    def problem_cells(
        self, found: Mapping[str, Any], grids: Mapping[Place, list[grid.Grid]], budget: Budget | None
    ) -> list[ProblemCell]:
        limit = budget if budget is not None else Budget(evaluations=1)  # a missing one has an issue already
        result = []
        for name, entry in found.items():
            if ("problems", name) in grids:
                inside = grids["problems", name]
                result += cells.problem_cells(name, entry, inside, limit, self.rules, self.issues)
        return result

    def optimizer_cells(self, found: Mapping[str, Any], grids: Mapping[Place, list[grid.Grid]]) -> list[OptimizerCell]:
        result = []
        for name in found:
            if ("optimizers", name) in grids:
                result += cells.optimizer_cells(name, found, grids["optimizers", name], self.issues)
        return result

    def check_chosen(self, problems: list[ProblemCell], optimizers: list[str]) -> None:
        for cell in problems:
            for index, name in enumerate(cell.config.optimizers or ()):
                if name not in optimizers:
                    text = expectation("the name of one of the optimizers", name, suggestion(name, optimizers))
                    issue = cell.issue(("optimizers", index), text)
                    self.issues += [issue] if issue not in self.issues else []

    def check_report(self, optimizers: list[str]) -> None:
        report = validate(Report, self.data.get("report", {}), ("report",), [])
        if report is None:  # the settings have an issue of it
            return
        baseline, targets = report.baseline, report.targets
        if baseline is not None and baseline not in optimizers:
            wanted = "the name of one of the optimizers"
            self._add(("report", "baseline"), expectation(wanted, baseline, suggestion(baseline, optimizers)))
        if isinstance(targets, list) and (not targets or len(set(targets)) < len(targets)):
            wanted = "auto, or a list of different losses, as [0.5, 0.1]"
            self._add(("report", "targets"), expectation(wanted, targets))

    def check_tune(self, optimizers: list[str]) -> None:
        given = self.data.get("tune")
        tune = None if given is None else validate(Tune, given, ("tune",), [])
        if tune is None:  # there is none, or the settings have an issue of it
            return
        entries.budget(tune.budget, ("tune", "budget"), self.issues)
        places: dict[Place, str] = {("tune", "spaces", name): name for name in tune.spaces}
        places |= {("tune", "optimizers", index): name for index, name in enumerate(tune.optimizers or ())}
        for place, name in places.items():
            if name not in optimizers:
                wanted = "the name of one of the optimizers"
                self._add(place, expectation(wanted, name, suggestion(name, optimizers)))

    def check_clocks(self, problems: list[ProblemCell]) -> None:
        """Refuse what counts the seconds of single runs where repeats share theirs."""
        got, fix = "`seconds`, which repeats share under batch_repeats", "Use forward_equivalents or evaluations."
        text, place = expectation("a unit that each run spends by itself", got, fix), ("budget", "seconds")
        for cell in problems:
            if cell.budget.seconds is not None:
                issue = Issue(place, text) if cell.config.budget is None else cell.issue(place, text)
                self.issues += [issue] if issue not in self.issues else []
        for section, key in (("report", "axis"), ("early_stopping", "unit")):
            given = self.data.get(section)
            if isinstance(given, Mapping) and given.get(key) == "seconds":
                self._add((section, key), text)

    def _add(self, path: Place, text: str) -> None:
        self.issues.append(Issue(path, text))
