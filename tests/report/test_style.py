from gfopt.report.style import norm_label, norm_looks, optimizer_looks


def test_a_norm_looks_the_same_whatever_else_is_there():
    assert norm_looks(["layer", "none"])["layer"] == norm_looks(["batch", "layer", "mine"])["layer"]


def test_looks_stay_distinct_beyond_the_palette():
    looks = optimizer_looks([f"o{k}" for k in range(25)]).values()
    assert len({(look.colour, look.symbol, look.dash) for look in looks}) == 25
    norms = norm_looks(["none", "batch", "layer", "weight", "cosine", "pearson", "rms", "a", "b", "c"])
    assert len({(look.colour, look.symbol) for look in norms.values()}) == 10


def test_order_of_first_appearance_decides():
    assert list(optimizer_looks(["b", "a", "b"])) == ["b", "a"]
    assert list(norm_looks(["mine", "batch", "none"])) == ["none", "batch", "mine"]


def test_faint_and_labels():
    assert optimizer_looks(["a"])["a"].faint(0.5) == "rgba(0,114,178,0.5)"
    assert (norm_label("none"), norm_label("batch"), norm_label("")) == ("no normalization", "batch", "")
