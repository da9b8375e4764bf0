from gfopt import registry
from gfopt.report.style import norm_label, norm_looks, optimizer_looks, shades


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


def test_every_norm_of_the_registry_has_a_look_of_its_own():
    names = registry.norms.names()
    looks = norm_looks(names)
    assert len({(look.colour, look.symbol) for look in looks.values()}) == len(names)
    assert len({(look.colour, look.dash) for look in looks.values()}) == len(names)
    for name in names:
        assert norm_looks([name, "mine"])[name] == looks[name]


def test_a_norm_with_options_looks_like_its_kind_where_that_is_free():
    group = norm_looks(["group"])["group"]
    both = norm_looks(["group (groups 4)", "group (groups 8)"])
    assert both["group (groups 4)"] == group != both["group (groups 8)"]
    assert norm_looks(["group", "group (groups 4)"])["group"] == group


def test_shades_go_from_light_to_dark():
    assert len({look.colour for look in shades(9)}) == 9
    brightness = [sum(int(look.colour[i : i + 2], 16) for i in (1, 3, 5)) for look in shades(9)]
    assert brightness == sorted(brightness, reverse=True)
    assert [look.symbol for look in shades(3)] == ["circle", "circle", "square"]
    assert len(shades(1)) == 1
