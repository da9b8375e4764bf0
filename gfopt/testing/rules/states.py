"""What an optimizer writes down to go on later, and what it leaves behind in its process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from gfopt.testing import driving
from gfopt.testing.driving import BATCHES, same, walk
from gfopt.testing.other_process import CUT, Elsewhere, elsewhere, surroundings
from gfopt.testing.rules.subject import Subject
from gfopt.testing.state_files import read_state, write_state

_KNOWN = pytest.StashKey[dict[tuple[str, ...], Elsewhere]]()


class StateRules(Subject):
    """The state: going on from it equals never having stopped, here and in another process."""

    @pytest.fixture
    def found(self, kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
        """What a fresh interpreter found, started once for all kinds that share it."""
        known = request.session.stash.setdefault(_KNOWN, {})
        options = self.together(kind)
        kinds = tuple(options)
        if kinds not in known:
            known[kinds] = elsewhere(options, tmp_path_factory.mktemp("elsewhere"))
        assert kind not in known[kinds].failed, known[kinds].failed[kind]
        return known[kinds]

    def together(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """Kinds, with their options, that share a fresh interpreter with `kind`: starting one takes seconds."""
        return {kind: self.given(kind)}

    @pytest.mark.parametrize("cut", range(len(BATCHES)))
    def test_resuming_equals_going_on(self, kind: str, cut: int, tmp_path: Path) -> None:
        """Going on from a file equals never having stopped, bit for bit, after any number of steps."""
        first, file = self.make(kind), tmp_path / "state.npz"
        before = walk(first, last=cut)
        state = first.state_dict()
        after = walk(first, cut, held=before.batch)  # the state is a copy: going on does not change it
        write_state(file, state)
        second = self.make(kind, seed=99, start=torch.zeros(self.count(kind), 6))
        second.load_state_dict(read_state(file))
        assert same(walk(self.make(kind)), before + after)
        assert same(after, walk(second, cut, held=before.batch))

    def test_a_state_says_whether_it_has_stopped_and_what_it_waits_for(self, kind: str) -> None:
        """`stopped`, `hold_batch` and `wants_gradient` are part of the state."""
        for steps in range(len(BATCHES) + 1):
            first, second = self.make(kind), self.make(kind)
            walk(first, last=steps)
            second.load_state_dict(first.state_dict())
            for wish in ("stopped", "hold_batch", "wants_gradient"):
                assert getattr(first, wish) == getattr(second, wish), wish

    def test_a_state_can_be_loaded_twice(self, kind: str) -> None:
        """Loading copies: a state is not changed by the run that goes on from it."""
        first = self.make(kind)
        held = walk(first).batch
        state = first.state_dict()
        runs = []
        for _ in range(2):
            again = self.make(kind)
            again.load_state_dict(state)
            runs.append(walk(again, held=held))
        assert same(*runs)

    def test_the_trace_is_the_same_in_another_process(self, kind: str, found: Elsewhere) -> None:
        """Nothing depends on hashes, on the order of imports, or on what ran before."""
        assert found.whole[kind] == driving.fingerprint(kind, self.given(kind))

    def test_resuming_in_another_process_equals_going_on(self, kind: str, found: Elsewhere) -> None:
        """The state holds all that the next step depends on."""
        optimizer = self.make(kind)
        held = walk(optimizer, last=CUT).batch
        assert found.resumed[kind] == driving.digest(walk(optimizer, CUT, held=held))

    def test_importing_and_running_leaves_a_process_as_it_was(self, found: Elsewhere) -> None:
        """Global random numbers, threads, logging, environment and folder are the user's."""
        assert (found.changed, found.errors) == ((), "")

    def test_running_leaves_this_process_as_it_was(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same where other things have happened before."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("LOG_CFG", "the user's own")  # a variable that pyswarms reads
        before = surroundings()
        walk(self.make(kind))
        assert surroundings() == before
        assert not list(tmp_path.iterdir())
