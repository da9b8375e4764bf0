"""Neighbourhoods: those of pyswarms wherever its own can be computed, and what they have to be elsewhere."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gfopt.errors import ConfigError
from gfopt.optimizers import _pyswarms, pyswarms_pso
from gfopt.optimizers._pyswarms_neighbours import delannoy, random_graph, simplices
from gfopt.rng import GlobalStreams
from gfopt.testing import driving
from gfopt.testing.driving import drive, make

with _pyswarms.quiet():
    from pyswarms.backend.topology import pyramid, random
    from pyswarms.single import GeneralOptimizerPSO

KINDS = ("pyswarms-von-neumann", "pyswarms-random", "pyswarms-pyramid")
STEPS, SIZE, DIM = 12, 9, 4


@pytest.fixture(params=["by pyswarms", "compiled"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves every swarm in one of the two ways."""
    monkeypatch.setattr(pyswarms_pso, "LARGE", 1 if request.param == "compiled" else 2**62)


def theirs(topology: str, static: bool, size: int, dim: int, **options: float) -> Any:
    """pyswarms' general optimizer after `STEPS` iterations, with the seed that our swarm draws."""
    start = driving.starts(size, dim).numpy()
    with _pyswarms.quiet(), GlobalStreams(int(np.random.default_rng(0).integers(2**63))).active():
        swarm = GeneralOptimizerPSO(
            size,
            dim,
            {"c1": 1.494, "c2": 1.494, "w": 0.729, **options},
            getattr(_pyswarms.topology, topology)(static=static),
            velocity_clamp=(np.full(dim, -driving.SCALE), np.full(dim, driving.SCALE)),
            init_pos=start,
        )
        swarm.optimize(lambda x: driving.rugged(torch.from_numpy(x)).numpy().astype(np.float64), STEPS, verbose=False)
    return swarm


def assert_same_positions(kind: str, their: Any, **options: Any) -> None:
    size, dim = their.swarm.position.shape
    trace = drive(make(kind, size=size, dim=dim, **options), driving.rugged, [0] * STEPS)
    for (rows, _), position in zip(trace, their.pos_history, strict=True):
        np.testing.assert_array_equal(rows.numpy(), position)


@pytest.fixture
def ragged_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyswarms' modules see a numpy that makes arrays of lists of different lengths, as it did before 1.24."""

    def array(values: Any) -> NDArray[Any]:
        if len({np.shape(value) for value in values}) == 1:
            return np.array(values)
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made

    for module in (random, pyramid):
        monkeypatch.setattr(module, "np", SimpleNamespace(**{**vars(np), "array": array}))


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(("dim", "reach"), [(2, 1), (4, 1)])
@pytest.mark.parametrize("norm", [1, 2])
def test_a_lattice_of_the_search_space_is_pyswarms_von_neumann(dim: int, reach: int, norm: int) -> None:
    their = theirs("VonNeumann", True, SIZE, dim, r=reach, p=norm)
    assert_same_positions("pyswarms-von-neumann", their, lattice=None, range=reach, norm=norm)


@pytest.mark.usefixtures("large", "ragged_arrays")
@pytest.mark.parametrize("neighbors", [1, 3, 8])
@pytest.mark.parametrize("static", [False, True])
def test_random_neighbours_are_those_that_pyswarms_draws(neighbors: int, static: bool) -> None:
    their = theirs("Random", static, SIZE, DIM, k=neighbors)
    assert_same_positions("pyswarms-random", their, neighbors=neighbors, static=static)


@pytest.mark.parametrize("static", [False, True])
def test_fully_connected_ones_are_those_of_an_unrepaired_pyswarms(static: bool) -> None:
    assert_same_positions("pyswarms-random", theirs("Random", static, 5, DIM, k=4), neighbors=4, static=static)
    assert_same_positions("pyswarms-pyramid", theirs("Pyramid", static, 4, DIM), dimensions=DIM, static=static)


@pytest.mark.usefixtures("ragged_arrays")
def test_a_pyramid_in_few_dimensions_is_that_of_pyswarms() -> None:
    # Static, at the start: what qhull joggles differs, which may show once particles are near each other.
    assert_same_positions("pyswarms-pyramid", theirs("Pyramid", True, 30, 2), static=True)


@pytest.mark.parametrize(("topology", "options"), [("Random", {"k": 2}), ("Pyramid", {})])
def test_pyswarms_own_fail_which_is_why_they_are_repaired(topology: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="inhomogeneous shape"):
        theirs(topology, False, SIZE, 2, **options)


def test_pyswarms_own_von_neumann_fails_with_more_neighbours_than_particles() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        theirs("VonNeumann", True, SIZE, 5, r=1, p=2)


@pytest.mark.parametrize("dimensions", range(5))
@pytest.mark.parametrize("reach", range(5))
def test_a_von_neumann_neighbourhood_is_counted(dimensions: int, reach: int) -> None:
    lattice = itertools.product(range(-reach, reach + 1), repeat=dimensions)
    inside = sum(sum(map(abs, point)) <= reach for point in lattice)
    assert delannoy(dimensions, reach) == inside == _pyswarms.topology.VonNeumann.delannoy(dimensions, reach)


@pytest.mark.parametrize(
    ("options", "count"), [({}, 5), ({"range": 2}, 13), ({"lattice": 3}, 7), ({"lattice": None}, 20)]
)
def test_as_many_of_the_nearest_at_the_start_as_the_lattice_has(options: dict[str, Any], count: int) -> None:
    optimizer = make("pyswarms-von-neumann", size=20, dim=3000, **options)
    drive(optimizer, driving.rugged, [0])
    start = driving.starts(20, 3000).numpy()
    expected = cKDTree(start).query(start, k=count)[1]
    drive(optimizer, driving.rugged, [0, 0])
    np.testing.assert_array_equal(optimizer.state_dict()["neighbours"], expected)


@pytest.mark.parametrize(("count", "others"), [(2, 1), (12, 1), (12, 3), (12, 11)])
@pytest.mark.parametrize("seed", range(5))
def test_a_random_graph_is_mutual_connected_and_large_enough(count: int, others: int, seed: int) -> None:
    with GlobalStreams(seed).active():
        adjacent = matrix(random_graph(count, others))
    assert adjacent.diagonal().all()
    assert (adjacent == adjacent.T).all()
    assert adjacent.sum(axis=1).min() > others
    assert connected_components(adjacent)[0] == 1


def test_random_neighbours_are_drawn_again_unless_static() -> None:
    traces = [drive(make("pyswarms-random", size=12, static=static), driving.rugged, [0] * 4) for static in (0, 1)]
    assert torch.equal(traces[0][1][0], traces[1][1][0])
    assert not torch.equal(traces[0][2][0], traces[1][2][0])


def test_edges_in_the_plane_have_an_empty_circle() -> None:
    points = np.random.default_rng(3).uniform(-1, 1, (14, 2))
    expected = np.zeros((14, 14), dtype=bool)
    for corners in itertools.combinations(range(14), 3):
        a, b, c = points[list(corners)]
        center = np.linalg.solve(2 * np.array([b - a, c - a]), [b @ b - a @ a, c @ c - a @ a])
        others = np.delete(points, corners, axis=0)
        if (np.linalg.norm(others - center, axis=1) > np.linalg.norm(a - center)).all():
            expected[np.ix_(corners, corners)] = True
    np.fill_diagonal(expected, False)
    np.testing.assert_array_equal(matrix(simplices(points)), expected)


def test_on_a_line_the_next_ones_are_neighbours() -> None:
    adjacent = matrix(simplices(np.array([[0.3], [-1.0], [1.0], [0.0]])))
    assert {(int(i), int(j)) for i, j in zip(*adjacent.nonzero(), strict=True)} == {
        (1, 3), (3, 1), (3, 0), (0, 3), (0, 2), (2, 0),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["equal", "twins", "on a line", "one far away"])
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_degenerate_points_have_neighbours(name: str, dim: int) -> None:
    drawn = np.random.default_rng(0).uniform(-1, 1, (12, dim))
    points = {
        "equal": np.zeros((12, dim)),
        "twins": np.repeat(drawn[:6], 2, axis=0),
        "on a line": np.outer(np.linspace(-1, 1, 12), np.ones(dim)),
        "one far away": np.concatenate([1e-12 * drawn[:11], np.ones((1, dim))]),
    }[name]
    adjacent = matrix(simplices(points))
    assert adjacent.any(axis=1).all()
    assert (adjacent == adjacent.T).all()
    assert connected_components(adjacent)[0] == 1


def test_a_projection_is_the_same_at_any_scale_and_place() -> None:
    start, runs = driving.starts(20, 50, torch.float64), []
    for scale, shift in ((1.0, 0.0), (2.0**-20, 0.0), (1.0, 2.0)):
        optimizer = make(
            "pyswarms-pyramid", size=20, start=scale * start + shift, dim=50, dtype=torch.float64, static=True
        )
        drive(optimizer, driving.rugged, [0])
        runs.append(matrix(optimizer.state_dict()["neighbours"]))
    assert (runs[0] == runs[1]).all()
    assert (runs[0] == runs[2]).all()
    assert not runs[0].all(axis=1).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_swarm_that_starts_in_one_place_is_triangulated(dtype: torch.dtype) -> None:
    start = driving.starts(1, 50, dtype).expand(32, -1)
    trace = drive(make("pyswarms-pyramid", start=start, dim=50, size=32, dtype=dtype), driving.sphere, [0] * 30)
    assert trace[-1].loss.min() < trace[0].loss.min()


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("kind", KINDS)
def test_swarms_that_explode_stay_finite(kind: str) -> None:
    wild: dict[str, Any] = {"velocity_clamp": None, "inertia": 0.99, "cognitive": 50.0, "social": 50.0}
    trace = drive(make(kind, size=12, **wild), driving.rugged, [0] * 120)
    assert max(float(rows.abs().max()) for rows, _ in trace) > 1e30
    assert all(torch.isfinite(rows).all() for rows, _ in trace)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("static", [False, True])
def test_both_ways_to_move_agree_and_resume(kind: str, static: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {} if kind == "pyswarms-von-neumann" else {"static": static}
    batches, runs = (0, 0, 1, 1, 2, 0), []
    for large in (1, 2**62):
        monkeypatch.setattr(pyswarms_pso, "LARGE", large)
        optimizer = make(kind, size=20, dim=701, **options)
        trace = drive(optimizer, driving.rugged, batches[:3])
        again = make(kind, size=20, dim=701, seed=9, **options)
        again.load_state_dict(optimizer.state_dict())
        runs.append(trace + drive(again, driving.rugged, batches[3:]))
    assert driving.same(*runs)
    assert driving.same(runs[0], drive(make(kind, size=20, dim=701, **options), driving.rugged, batches))


@pytest.mark.parametrize(("kind", "options", "message"), [
    ("pyswarms-random", {"particles": 4, "neighbors": 4}, "at most the number of other particles, 3, got 4"),
    ("pyswarms-von-neumann", {"range": 0}, "range: expected"),
    ("pyswarms-pyramid", {"dimensions": 6}, "dimensions: expected"),
])  # fmt: skip
def test_impossible_neighbourhoods_are_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(kind, size=options.pop("particles", 6), **options)


def matrix(neighbours: NDArray[np.intp]) -> NDArray[np.bool_]:
    """`(P, P)` who is whose neighbour, from `(P, K)` indices."""
    adjacent = np.zeros((len(neighbours), len(neighbours)), dtype=bool)
    adjacent[np.arange(len(neighbours))[:, None], neighbours] = True
    return adjacent
