from __future__ import annotations

from gfopt.config import load, template


def test_the_template_is_a_small_study_that_loads(written) -> None:
    config = load(written(template(), "new.yaml"))
    assert config.name == "my-study"
    assert 0 < config.runs <= 20
    assert config.baseline == ("adam",)


def test_every_setting_of_the_template_has_a_comment() -> None:
    text = template()
    assert max(map(len, text.splitlines())) <= 110
    assert text.count("#") >= 10
