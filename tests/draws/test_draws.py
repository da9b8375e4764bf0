from __future__ import annotations

import ast
import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

import gfopt.draws
from gfopt.draws import Draws, generator, kernels
from gfopt.errors import ConfigError, ShapeError

COUNT = 1 << 18
KINDS = [("uniform", torch.float32), ("uniform", torch.float64), ("normal", torch.float32), ("normal", torch.float64),
         ("coins", torch.bool)]  # fmt: skip
FULL = 2**64 - 1


def fill(draws: Draws, kind: str, out: Tensor) -> Tensor:
    return getattr(draws, f"{kind}_")(out)


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}".replace("torch.", ""))
def sequence(request: pytest.FixtureRequest) -> Callable[[Draws, int], Tensor]:
    """The next numbers of one sequence."""
    kind, dtype = request.param
    return lambda draws, count: fill(draws, kind, torch.empty(count, dtype=dtype))


class TestPhilox:
    @pytest.mark.parametrize(("key", "low", "high", "words"), [
        (0, 0, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (FULL, FULL, FULL, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (0x299F31D0A4093822, 0x85A308D3243F6A88, 0x0370734413198A2E, "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ])  # fmt: skip
    def test_known_answers(self, key: int, low: int, high: int, words: str) -> None:
        """Those of Random123's `kat_vectors` for `philox4x32` with 10 rounds."""
        out = np.empty((4, kernels.PLANE), np.uint32)
        kernels.philox(np.uint64(key), np.uint64(low), np.uint64(high), out)
        assert " ".join(f"{word:08x}" for word in out[:, 0]) == words

    def test_counters_go_on_in_the_next_lane_and_over_the_end_of_a_word(self) -> None:
        first = 2**32 - 5
        several, one = (np.empty((4, kernels.PLANE), np.uint32) for _ in range(2))
        kernels.philox(np.uint64(3), np.uint64(first), np.uint64(0), several)
        for lane in (1, 4, 5, 100):
            kernels.philox(np.uint64(3), np.uint64(first + lane), np.uint64(0), one)
            assert (several[:, lane] == one[:, 0]).all()


class TestSequences:
    def test_the_seed_alone_decides(self, sequence: Callable[[Draws, int], Tensor]) -> None:
        one, same, other = (sequence(Draws(seed), 1000) for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    @settings(max_examples=25, deadline=None)
    @given(parts=st.lists(st.integers(0, 1500), min_size=1, max_size=5), kind=st.sampled_from(KINDS))
    def test_filling_in_parts_gives_the_same_numbers(self, parts: list[int], kind: tuple[str, torch.dtype]) -> None:
        whole = fill(Draws(5), kind[0], torch.empty(sum(parts), dtype=kind[1]))
        draws = Draws(5)
        pieces = [fill(draws, kind[0], torch.empty(part, dtype=kind[1])) for part in parts]
        assert torch.equal(whole, torch.cat(pieces))

    @pytest.mark.parametrize("threads", [2, 3])
    def test_any_number_of_threads_gives_the_same_numbers(
        self, sequence: Callable[[Draws, int], Tensor], threads: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        count, shared = 3 * COUNT + 77, []
        for number in (1, threads):
            monkeypatch.setattr(torch, "get_num_threads", lambda number=number: number)
            shared.append(sequence(Draws(5), count))
        assert torch.equal(*shared)

    def test_sequences_do_not_disturb_each_other(self) -> None:
        draws = Draws(5)
        mixed = [fill(draws, kind, torch.empty(300, dtype=dtype)) for _ in range(2) for kind, dtype in KINDS]
        for i, (kind, dtype) in enumerate(KINDS):
            alone = fill(Draws(5), kind, torch.empty(600, dtype=dtype))
            assert torch.equal(alone, torch.cat([mixed[i], mixed[i + len(KINDS)]]))

    def test_a_state_goes_on_where_it_was_taken(self, sequence: Callable[[Draws, int], Tensor]) -> None:
        draws, other = Draws(5), Draws(6)
        sequence(draws, 700)
        state = draws.state_dict()
        expected = sequence(draws, 900)
        other.load_state_dict(state)
        assert torch.equal(sequence(other, 900), expected)
        assert not torch.equal(sequence(draws, 900), expected)

    def test_reserved_tiles_are_the_next_whole_ones(self) -> None:
        draws, out = Draws(5), np.empty(2 * kernels.WORDS, np.float32)
        draws.uniform_(torch.empty(10))
        first = draws.reserve(2)
        kernels.fill_uniform_32(np.uint64(5), first, out)
        sequence = Draws(5).uniform_(torch.empty(4 * kernels.WORDS))
        assert torch.equal(torch.from_numpy(out), sequence[kernels.WORDS : 3 * kernels.WORDS])
        assert torch.equal(draws.uniform_(torch.empty(kernels.WORDS)), sequence[3 * kernels.WORDS :])


class TestDistribution:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_normal_numbers_are_normal(self, dtype: torch.dtype) -> None:
        numbers = Draws(11).normal_(torch.empty(COUNT, dtype=dtype)).double().numpy()
        assert stats.kstest(numbers, "norm").pvalue > 1e-3
        # Each statistic in units of its own standard deviation.
        root = COUNT**0.5
        assert abs(numbers.mean()) * root < 4
        assert abs(numbers.var() - 1) * root / 2**0.5 < 4
        assert abs(stats.skew(numbers)) * root / 6**0.5 < 4
        assert abs(stats.kurtosis(numbers)) * root / 24**0.5 < 4
        beyond = (abs(numbers) > 4).sum()
        assert stats.binomtest(int(beyond), COUNT, 2 * stats.norm.sf(4)).pvalue > 1e-3

    @pytest.mark.parametrize(("dtype", "step"), [(torch.float32, 2.0**-24), (torch.float64, 2.0**-53)])
    def test_uniform_numbers_are_uniform(self, dtype: torch.dtype, step: float) -> None:
        numbers = Draws(11).uniform_(torch.empty(COUNT, dtype=dtype)).double().numpy()
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert (numbers % step == 0).all()

    def test_coins_are_fair_bit_by_bit(self) -> None:
        coins = Draws(11).coins_(torch.empty(32 * kernels.COINS, dtype=torch.bool)).numpy()
        bits = coins.reshape(-1, 32, kernels.WORDS).sum(axis=(0, 2))
        assert stats.chisquare(np.stack([bits, coins.size // 32 - bits], axis=1).ravel()).pvalue > 1e-3

    def test_coins_of_one_word_and_of_neighbours_are_independent(self) -> None:
        coins = Draws(11).coins_(torch.empty(32 * kernels.COINS, dtype=torch.bool)).double().numpy()
        for lag in (1, kernels.PLANE, kernels.WORDS, 5 * kernels.WORDS, kernels.COINS):
            assert abs(np.corrcoef(coins[lag:], coins[:-lag])[0, 1]) * len(coins) ** 0.5 < 4.5

    @pytest.mark.parametrize("high", [1, 2, 7, 1000])
    def test_integers_are_spread_evenly(self, high: int) -> None:
        numbers = Draws(11).integers(high, 300, 400)
        assert numbers.shape == (300, 400)
        assert numbers.dtype == torch.int64
        counts = torch.bincount(numbers.view(-1), minlength=high)
        assert len(counts) == high
        assert high == 1 or stats.chisquare(counts.numpy()).pvalue > 1e-3

    def test_more_integers_than_are_made_at_a_time(self) -> None:
        numbers = Draws(11).integers(2**32, (1 << 20) + 3)
        assert torch.equal(numbers[: 1 << 20], Draws(11).integers(2**32, 1 << 20))
        assert int(numbers.max()) > 2**31

    @pytest.mark.parametrize("kind", ["uniform", "normal"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_neighbours_lanes_and_seeds_are_not_correlated(self, kind: str, dtype: torch.dtype) -> None:
        one, other = (fill(Draws(seed), kind, torch.empty(COUNT, dtype=dtype)).double().numpy() for seed in (11, 12))
        pairs = [(one, other)]
        for lag in (1, 2, 4, 8, kernels.PLANE, 2 * kernels.PLANE, 3 * kernels.PLANE, kernels.WORDS, 26122):
            pairs += [(one[lag:], one[:-lag]), (one[lag:] ** 2, one[:-lag] ** 2)]
        for a, b in pairs:
            assert abs(np.corrcoef(a, b)[0, 1]) * len(a) ** 0.5 < 4.5

    def test_pairs_of_box_and_muller_are_independent(self) -> None:
        numbers = Draws(11).normal_(torch.empty(COUNT)).view(-1, 2, 2, kernels.PLANE)
        angle = torch.atan2(numbers[:, :, 1], numbers[:, :, 0]).flatten().numpy() / (2 * np.pi) + 0.5
        square = numbers.square().sum(dim=2).flatten().numpy() / 2
        assert stats.kstest(angle, "uniform").pvalue > 1e-3
        assert stats.kstest(square, "expon").pvalue > 1e-3


class TestBoxMuller:
    def test_float32_agrees_with_numpys_functions(self) -> None:
        words = np.random.default_rng(0).integers(2**32, size=(2, kernels.PLANE), dtype=np.uint32)
        words[0, :4] = 0, 1, 2**32 - 1, 2**31  # the largest numbers, the smallest, and a power of two
        first, second = (np.empty(kernels.PLANE, np.float32) for _ in range(2))
        kernels.box_muller_32(words[0], words[1], first, second)
        u = ((words[0] >> 1) + 0.5).astype(np.float32).astype(np.float64) * 2.0**-31
        place = (words[1] << 2).astype(np.int32) * 2.0**-31
        expected = _on_a_circle(u, place, words[1])
        np.testing.assert_allclose(first, expected.real, rtol=0, atol=2e-6)
        np.testing.assert_allclose(second, expected.imag, rtol=0, atol=2e-6)
        assert np.hypot(first[0], second[0]) == pytest.approx(6.66, abs=0.01)

    def test_float64_agrees_with_numpys_functions(self) -> None:
        words = np.random.default_rng(0).integers(2**32, size=(4, kernels.PLANE), dtype=np.uint32)
        words[:2, 0], words[:2, 1] = 2**32 - 1, 0
        first, second = (np.empty(kernels.PLANE) for _ in range(2))
        kernels.box_muller_64(words, first, second)
        u = 1 - ((words[0] >> 6) * 2.0**-26 + (words[1] >> 5) * 2.0**-53)
        place = 2 * (((words[2] << 2) >> 6) * 2.0**-26 + (words[3] >> 5) * 2.0**-53) - 1
        expected = _on_a_circle(u, place, words[2])
        np.testing.assert_allclose(first, expected.real, rtol=0, atol=4e-15)
        np.testing.assert_allclose(second, expected.imag, rtol=0, atol=4e-15)
        assert np.hypot(first[0], second[0]) == pytest.approx(8.57, abs=0.01)


def _on_a_circle(u: np.ndarray, place: np.ndarray, quadrant: np.ndarray) -> np.ndarray:
    """Complex numbers of radius `sqrt(-2 ln u)`: a place of -1..1 in a quadrant that two bits say."""
    turned = np.where(quadrant & 2**30, -1j, 1) * np.where(quadrant & 2**31, -1, 1)
    return np.sqrt(-2 * np.log(u)) * np.exp(1j * np.pi / 4 * place) * turned


class TestRefusals:
    def test_what_cannot_be_filled_is_refused(self) -> None:
        draws = Draws(1)
        with pytest.raises(ShapeError, match=r"uniform: expected a contiguous tensor, got `strides \(1, 3\)`"):
            draws.uniform_(torch.empty(2, 3).T)
        with pytest.raises(
            ShapeError, match=r"normal: expected a tensor of float32 or float64, got `one of torch.int64`"
        ):
            draws.normal_(torch.empty(3, dtype=torch.int64))
        with pytest.raises(ShapeError, match=r"coins: expected a tensor of booleans, got `one of torch.float32`"):
            draws.coins_(torch.empty(3))
        with pytest.raises(ConfigError, match=r"high: expected a number from 1 to 2\*\*32, got 0"):
            draws.integers(0, 3)

    def test_a_state_of_another_device_is_refused(self) -> None:
        state = {**Draws(1).state_dict(), "generator": np.zeros(16, np.uint8)}
        with pytest.raises(ConfigError, match="Resume on the same device"):
            Draws(1).load_state_dict(state)


def test_numba_is_imported_at_the_first_fill() -> None:
    """The module that imports it is itself imported inside a function only."""
    for module in (gfopt.draws, generator):
        statements = ast.parse(inspect.getsource(module)).body
        imports = " ".join(ast.unparse(node) for node in statements if isinstance(node, ast.Import | ast.ImportFrom))
        assert imports
        assert "numba" not in imports
        assert "kernels" not in imports


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_own_numbers_go_on_from_a_state() -> None:
    draws = Draws(5, "cuda")
    draws.normal_(torch.empty(10, device="cuda"))
    state = draws.state_dict()
    expected = draws.uniform_(torch.empty(10, device="cuda")), draws.integers(7, 10)
    draws.load_state_dict(state)
    assert torch.equal(draws.uniform_(torch.empty(10, device="cuda")), expected[0])
    assert torch.equal(draws.integers(7, 10), expected[1])
