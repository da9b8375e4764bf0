import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from torch.nn import functional

from gfopt import registry
from gfopt.errors import ConfigError, ShapeError, SlowPathWarning
from gfopt.problems.losses import (
    AUCError,
    BinaryCrossEntropy,
    CallableLoss,
    ClassificationError,
    CostMatrix,
    CrossEntropy,
    F1Error,
    Loss,
    MeanSquaredError,
    make_loss,
    network_outputs,
)

MEMBERS, ROWS = 5, 23
COST = [[0.0, 1.0, 4.0], [2.0, -1.0, 1.0], [0.5, 3.0, 0.0]]


def population(columns, seed=0, *, coarse=False):
    """`(P, B, C)` float64 outputs; coarse ones have many ties."""
    outputs = torch.randn(MEMBERS, ROWS, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return outputs.round() if coarse else outputs


def labels(classes, seed=1):
    y = np.random.default_rng(seed).permutation(np.arange(ROWS) % classes)
    y.flags.writeable = False  # as those of a data set are; torch warns where it shares such memory
    return y


def weights(seed=2):
    return np.random.default_rng(seed).uniform(0, 3, ROWS)


def decide(outputs):
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)


def auc_score(outputs):
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]


# One row a loss: the loss, outputs, classes, and the reference for one member from another library.
REFERENCES = {
    "cross_entropy": (
        CrossEntropy(),
        4,
        lambda o, y, w: log_loss(y, o.softmax(1), sample_weight=w, labels=range(4)),
    ),
    "binary_cross_entropy": (
        BinaryCrossEntropy(),
        1,
        lambda o, y, w: log_loss(y, o[:, 0].sigmoid(), sample_weight=w),
    ),
    "classification_error": (
        ClassificationError(),
        4,
        lambda o, y, w: 1 - accuracy_score(y, decide(o), sample_weight=w),
    ),
    "classification_error, one logit": (
        ClassificationError(),
        1,
        lambda o, y, w: 1 - accuracy_score(y, decide(o), sample_weight=w),
    ),
    "f1_error": (F1Error(), 4, lambda o, y, w: 1 - f1_score(y, decide(o), average="macro", sample_weight=w)),
    "f1_error, one logit": (
        F1Error(),
        1,
        lambda o, y, w: 1 - f1_score(y, decide(o), average="macro", sample_weight=w),
    ),
    "auc_error": (AUCError(), 1, lambda o, y, w: 1 - roc_auc_score(y, auc_score(o), sample_weight=w)),
    "auc_error, two logits": (
        AUCError(),
        2,
        lambda o, y, w: 1 - roc_auc_score(y, auc_score(o), sample_weight=w),
    ),
    "cost_matrix": (
        CostMatrix(COST),
        3,
        lambda o, y, w: np.average(np.array(COST)[y, decide(o).numpy()], weights=w),
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("case", REFERENCES)
def test_equals_scikit_learn_member_by_member(case, coarse, weighted):
    loss, columns, reference = REFERENCES[case]
    outputs, y = population(columns, coarse=coarse), labels(max(2, columns))
    w = weights() if weighted else None
    got = loss(outputs, loss.targets(y, outputs.dtype), None if w is None else torch.as_tensor(w))
    expected = [reference(member, y, w) for member in outputs]
    assert got.shape == (MEMBERS,)
    assert got.dtype == outputs.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_equals_torch_with_gradients():
    y = labels(4)
    value = np.random.default_rng(3).normal(size=(ROWS, 4))
    cases = [
        (CrossEntropy(), y, 4, functional.cross_entropy),
        (MeanSquaredError(), value, 4, functional.mse_loss),
        (
            BinaryCrossEntropy(),
            y % 2,
            1,
            lambda o, t: functional.binary_cross_entropy_with_logits(o[:, 0], t),
        ),
    ]
    for loss, target, columns, reference in cases:
        outputs = population(columns).requires_grad_()
        targets = loss.targets(target, outputs.dtype)
        got = loss(outputs, targets)
        expected = torch.stack([reference(member, targets) for member in outputs])
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(*(torch.autograd.grad(v.sum(), outputs)[0] for v in (got, expected)))


@pytest.mark.parametrize("case", REFERENCES)
def test_any_leading_dimensions(case):
    loss, columns, _ = REFERENCES[case]
    outputs = population(columns)
    targets = loss.targets(labels(max(2, columns)), outputs.dtype)
    flat = loss(outputs, targets)
    assert torch.equal(loss(outputs[0], targets), flat[0])
    assert loss(outputs[0], targets).shape == ()
    assert torch.equal(loss(outputs.reshape(1, MEMBERS, 1, ROWS, columns), targets), flat.reshape(1, MEMBERS, 1))
    assert loss(outputs[:0], targets).shape == (0,)


@pytest.mark.parametrize("case", REFERENCES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_one_broken_output_makes_its_member_nan_and_no_other(case, bad):
    loss, columns, _ = REFERENCES[case]
    outputs = population(columns)
    targets = loss.targets(labels(max(2, columns)), outputs.dtype)
    clean = loss(outputs, targets)
    outputs[2, 7, -1] = bad
    broken = loss(outputs, targets)
    assert not broken[2].isfinite()
    others = [0, 1, 3, 4]
    assert torch.equal(broken[others], clean[others])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_whole_number_weights_are_repeated_rows(seed, columns):
    stream = np.random.default_rng(seed)
    repeats = stream.integers(0, 3, ROWS)
    repeats[:2] = 1  # both classes stay
    y = np.arange(ROWS) % max(2, columns)
    outputs = population(columns, seed, coarse=True)
    repeated = outputs.repeat_interleave(torch.as_tensor(repeats), dim=1)
    losses = [
        ClassificationError(),
        F1Error(),
        *([AUCError()] if columns <= 2 else []),
        *([CrossEntropy()] if columns > 1 else []),
    ]
    for loss in losses:
        targets = loss.targets(y, outputs.dtype)
        weighted = loss(outputs, targets, torch.as_tensor(repeats))
        torch.testing.assert_close(weighted, loss(repeated, loss.targets(np.repeat(y, repeats), outputs.dtype)))


def test_a_class_masked_by_minus_infinity_is_never_chosen():
    outputs = torch.tensor([[-torch.inf, 0.0, 1.0]])
    assert ClassificationError()(outputs, torch.tensor([2])) == 0
    assert ClassificationError()(outputs, torch.tensor([0])) == 1
    assert ClassificationError()(outputs.new_full((1, 3), -torch.inf), torch.tensor([0])).isnan()


def test_f1_counts_a_class_that_only_occurs_among_the_decisions():
    outputs = torch.eye(3)[[0, 1, 2]]
    expected = (1 + 2 / 3 + 0) / 3
    assert F1Error()(outputs, torch.tensor([0, 1, 1])).item() == pytest.approx(1 - expected)
    unseen = torch.nn.functional.pad(outputs, (0, 1))  # a fourth class that occurs nowhere does not count
    assert F1Error()(unseen, torch.tensor([0, 1, 1])).item() == pytest.approx(1 - expected)


def test_auc_of_one_class_only_is_that_of_guessing():
    outputs = population(1)
    assert torch.equal(
        AUCError()(outputs, torch.ones(ROWS, dtype=torch.int64)),
        torch.full((MEMBERS,), 0.5, dtype=torch.float64),
    )


def test_mse_never_broadcasts_a_column_against_rows():
    loss, y = MeanSquaredError(), np.arange(ROWS, dtype=float)
    targets = loss.targets(y, torch.float64)
    assert targets.shape == (ROWS, 1)
    exact = torch.as_tensor(y).reshape(1, ROWS, 1)
    assert loss(exact, targets) == 0
    assert loss(exact, targets.squeeze(1)) == 0
    with pytest.raises(ShapeError, match=r"outputs: expected shape \(\.\.\., 23, 1\), got \(1, 23\)"):
        loss(exact.squeeze(-1), targets)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"cross_entropy.*\(\.\.\., 23, C\), got \(5, 22, 3\)"):
        CrossEntropy()(population(3)[:, :22], torch.zeros(ROWS, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"binary_cross_entropy.*\(\.\.\., 23, 1\), got \(5, 23, 3\)"):
        BinaryCrossEntropy()(population(3), torch.zeros(ROWS))
    with pytest.raises(ShapeError, match="expected 1 or 2 in the last place, got 3"):
        AUCError()(population(3), torch.zeros(ROWS, dtype=torch.int64))


@pytest.mark.parametrize(
    ("loss", "classes", "outputs"),
    [
        (CrossEntropy(), 3, 3),
        (CrossEntropy(), 2, 2),
        (BinaryCrossEntropy(), 2, 1),
        (ClassificationError(), 3, 3),
        (F1Error(), 2, None),
        (AUCError(), 2, None),
        (CostMatrix(COST), 3, 3),
    ],
)
def test_outputs_that_a_network_needs(loss, classes, outputs, make_dataset):
    dataset = make_dataset(classes=classes)
    loss.check(dataset)
    assert loss.out_features(dataset) == outputs


@pytest.mark.parametrize(
    ("losses", "classes", "outputs"),
    [
        ([F1Error()], 2, 2),
        ([F1Error(), CrossEntropy()], 2, 2),
        ([F1Error(), BinaryCrossEntropy()], 2, 1),
        ([AUCError(), CrossEntropy()], 2, 2),
        ([ClassificationError()], 5, 5),
        ([CallableLoss(len)], 5, 5),
        ([CallableLoss(len, out_features=3)], 5, 3),
    ],
)
def test_a_network_gets_the_outputs_that_loss_and_surrogate_share(losses, classes, outputs, make_dataset):
    assert network_outputs(make_dataset(classes=classes), *losses) == outputs
    assert network_outputs(make_dataset("regression", columns=4), CallableLoss(len)) == 4


@pytest.mark.parametrize("columns", [1, 4])
def test_mse_needs_one_output_per_target_column(columns, make_dataset):
    dataset = make_dataset("regression", columns=columns)
    MeanSquaredError().check(dataset)
    assert MeanSquaredError().out_features(dataset) == columns


@pytest.mark.parametrize("name", registry.losses.names())
def test_every_registered_loss_keeps_the_contract(name, make_dataset):
    spec = {"kind": name, "matrix": COST} if name == "cost_matrix" else name
    loss = make_loss(spec)
    assert isinstance(loss, Loss)
    assert loss.name == name
    assert loss.tasks < {"classification", "regression"}
    wrong = "regression" if "classification" in loss.tasks else "classification"
    instead = "mse" if wrong == "regression" else "cross_entropy"
    with pytest.raises(ConfigError, match=rf"loss {name}: expected a .* data set, got `tiny`.*Use loss: {instead}"):
        loss.check(make_dataset(wrong))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "auc_error"])
def test_two_class_losses_refuse_three(name, make_dataset):
    with pytest.raises(ConfigError, match=rf"{name}: expected 2 classes, got .*3"):
        make_loss(name).check(make_dataset(classes=3))


def test_a_cost_matrix_must_fit(make_dataset):
    with pytest.raises(ConfigError, match=r"expected 2 rows, one for each class of 'tiny', got .*3"):
        CostMatrix(COST).check(make_dataset(classes=2))
    for wrong in ([[0, 1]], [[0, 1], [1]], [[0.0, float("nan")], [1.0, 0.0]], "none", [[0]]):
        with pytest.raises(ConfigError, match="matrix: expected"):
            CostMatrix(wrong)


def test_make_loss_refuses_what_it_cannot_read():
    assert make_loss(CrossEntropy).name == "cross_entropy"
    loss = F1Error()
    assert make_loss(loss) is loss
    with pytest.raises(ConfigError, match="Did you mean 'cross_entropy'"):
        make_loss("crossentropy")
    with pytest.raises(ConfigError, match="loss mse: expected no options, got `scale`"):
        make_loss({"kind": "mse", "scale": 2})
    with pytest.raises(ConfigError, match="loss cost_matrix: expected the options matrix, got `none`"):
        make_loss("cost_matrix")
    for wrong in ({"matrix": COST}, 3, None, dict, {"kind": 3}):
        with pytest.raises(ConfigError, match="expected"):
            make_loss(wrong)


# --- a user's own function ---


def squared_margin(outputs, targets):
    """Per sample, in torch."""
    right = outputs.gather(1, targets.unsqueeze(1)).squeeze(1)
    return (1 - right).square()


def hinge_over_the_set(outputs, targets):
    """One number, in torch."""
    return functional.multi_margin_loss(outputs, targets)


def own_f1(outputs, targets):
    """One float from scikit-learn."""
    return 1 - f1_score(targets, outputs.argmax(1), average="macro")


def wrong_in_numpy(outputs, targets):
    """Per sample, a numpy array of bool."""
    return outputs.numpy().argmax(1) != targets.numpy()


def own_entropy(outputs, targets):
    return functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize(
    ("function", "per_sample", "differentiable", "slow"),
    [
        (squared_margin, True, True, False),
        (own_entropy, False, True, False),
        (hinge_over_the_set, False, True, True),  # torch has no batched form of it
        (own_f1, False, False, True),
        (wrong_in_numpy, True, False, True),
        (torch.nn.CrossEntropyLoss(reduction="none"), True, True, False),
    ],
)
def test_examine_finds_out_what_a_function_can_do(function, per_sample, differentiable, slow):
    loss = make_loss(function)
    outputs = population(4)
    targets = loss.targets(labels(4), outputs.dtype)
    loss.examine(outputs[0], targets)
    assert (loss.per_sample, loss.differentiable) == (per_sample, differentiable)
    expected = [torch.as_tensor(np.asarray(function(member, targets))).double().mean() for member in outputs]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = [loss(outputs, targets) for _ in range(2)]
    torch.testing.assert_close(got[0], torch.stack(expected))
    assert torch.equal(got[0], got[1])
    assert [w.category for w in caught] == ([SlowPathWarning] if slow else [])  # once, not twice
    if slow:
        why = "torch cannot batch it" if function is hinge_over_the_set else "returns something else than a tensor"
        assert "one member at a time, because" in str(caught[0].message)
        assert why in str(caught[0].message)


def test_a_function_that_fails_on_batches_only_is_applied_one_by_one():
    loss = CallableLoss(lambda o, t: torch.tensor(float(o.detach().sum())))
    outputs = population(4)
    with pytest.warns(SlowPathWarning, match=r"torch cannot batch it .*item"):
        torch.testing.assert_close(loss(outputs, torch.tensor(labels(4))), outputs.sum((1, 2)))


def test_gradients_flow_through_a_users_function_both_ways():
    targets = torch.tensor(labels(4))
    for function in (squared_margin, own_entropy, hinge_over_the_set):
        loss, outputs = CallableLoss(function), population(4).requires_grad_()
        loss.examine(outputs[0], targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SlowPathWarning)
            values = loss(outputs, targets)
        single = torch.stack([function(member, targets).mean() for member in outputs])
        torch.testing.assert_close(*(torch.autograd.grad(v.sum(), outputs)[0] for v in (values, single)))


def test_a_population_without_examination_is_examined_first():
    loss = CallableLoss(squared_margin)
    targets = torch.tensor(labels(4))
    assert loss(population(4), targets).shape == (MEMBERS,)
    assert loss.per_sample


def test_a_function_that_ignores_its_outputs_has_no_gradient():
    constant = torch.ones((), requires_grad=True)
    loss = CallableLoss(lambda outputs, targets: constant * targets.sum())
    loss.examine(population(4)[0], torch.tensor(labels(4)))
    assert not loss.differentiable


def test_weights_need_losses_per_sample():
    outputs, targets, w = population(4), torch.tensor(labels(4)), torch.as_tensor(weights())
    loss = CallableLoss(squared_margin)
    expected = [np.average(squared_margin(member, targets), weights=w) for member in outputs]
    np.testing.assert_allclose(loss(outputs, targets, w), expected, rtol=1e-12)
    whole = CallableLoss(own_entropy)
    whole.examine(outputs[0], targets)
    assert not whole.accepts_weight
    with pytest.raises(ConfigError, match=r"own_entropy: expected .*to weight, got .*one number for the whole set"):
        whole(outputs, targets, w)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda o, t: o,
            r"expected losses of shape \(23,\), one a sample, or one number, got .*\(23, 4\).*mean\(-1\)",
        ),
        (lambda o, t: o[:5, 0], r"got .*\(5,\)"),
        (lambda o, t: o.sum().reshape(1), r"got .*\(1,\)"),
        (lambda o, t: None, r"expected a tensor, a numpy array or a number from the function, got None"),
        (lambda o, t: "low", "got 'low'"),
    ],
)
def test_results_of_another_shape_are_refused(function, message):
    with pytest.raises(ConfigError, match=message):
        CallableLoss(function).examine(population(4)[0], torch.tensor(labels(4)))


def test_a_result_that_changes_its_shape_is_refused():
    loss = CallableLoss(lambda o, t: float(o.sum()) if len(t) == ROWS else o.numpy()[:, 0])
    outputs, targets = population(4)[:1], torch.tensor(labels(4))
    loss.examine(outputs[0], targets)
    with pytest.raises(ConfigError, match=r"expected one number, as when it was examined, got .*\(10,\)"):
        loss(outputs[:, :10], targets[:10])


def test_an_error_of_the_users_own_comes_through_with_a_note():
    def broken(outputs, targets):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        CallableLoss(broken).examine(population(4)[0], torch.tensor(labels(4)))
    assert any("loss 'broken'" in note and "(23, 4)" in note for note in caught.value.__notes__)


def test_targets_of_a_users_function_follow_their_type():
    loss = CallableLoss(squared_margin)
    assert loss.targets(np.array([0, 2, 1]), torch.float32).dtype == torch.int64
    assert loss.targets(np.array([0.5, 2.0]), torch.float32).shape == (2, 1)
    assert loss.targets(np.array([0.5, 2.0]), torch.float32).dtype == torch.float32


def test_how_many_outputs_a_users_function_wants(make_dataset):
    assert CallableLoss(own_f1).out_features(make_dataset()) is None
    assert CallableLoss(own_f1, out_features=1).out_features(make_dataset()) == 1
