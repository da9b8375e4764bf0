"""The tables show what the results hold, in the terminal and in Markdown alike."""

from __future__ import annotations

from dataclasses import replace

from gfopt.bench import headline, markdown, sheets


def rows_of(given, section):
    return [
        dict(zip(sheet.columns, row, strict=True))
        for sheet in sheets(given)
        if sheet.section == section
        for row in sheet.rows
    ]


def test_rates_and_their_ratios(given):
    rows = {row[""]: row for row in rows_of(given, "evaluation")}
    assert {name: row["256 x 64"] for name, row in rows.items()} == {
        "gfopt": "1,000",
        "module loop": "250",
        "vmap": "200",
        "gfopt : best other": "4.00",
        "gfopt : vmap": "5.00",
        "gfopt, of the products' rate": "40%",
        "gfopt, of the floor": "80%",
    }
    assert rows["gfopt"]["1437 x 64"] == "100"
    assert {row["1437 x 64"] for name, row in rows.items() if name != "gfopt"} == {"-"}


def test_notes_say_who_was_timed_otherwise_and_who_is_missing(given):
    notes = next(sheet.notes for sheet in sheets(given) if sheet.section == "evaluation")
    assert "module loop: timed on 16 members." in notes
    assert any("does not run" in note for note in notes)
    complete = replace(given, cells={"evaluation": given.cells["evaluation"][:1]})
    assert not any("does not run" in note for note in sheets(complete)[0].notes)


def test_costs_are_times_what_they_are_held_against(given):
    assert [row["times none"] for row in rows_of(given, "norms")] == ["1.00", "1.50"]
    draw, snes = rows_of(given, "optimizers")
    assert (draw["ms"], draw["times"], draw["of"]) == ("40.00", "-", "-")
    assert (snes["ms"], snes["times"], snes["of"]) == ("50.00", "1.25", "draw")
    assert snes["weights"] == "26,122"


def test_races(given):
    sheet = next(sheet for sheet in sheets(given) if sheet.section == "target")
    ours, theirs = sheet.rows
    assert ours == ("ours", "2.00", "100", "4.00", "200", "0.950", "4.0", "5.00", "> 15.00", "theirs")
    assert theirs == ("theirs", "10.00", "900", "-", "-", "0.930", "60.0", "-", "-", "-")
    assert "theirs: as its tutorial has it." in sheet.notes


def test_what_was_reached_with_marks_for_misses_and_other_goals(given):
    sheet = next(sheet for sheet in sheets(given) if sheet.section == "convergence")
    assert sheet.columns == ("optimizer", "sphere", "iris")
    assert sheet.rows == (("random-search", "4 *", "-"), ("adam", "1e-09", "0.9 !"))
    assert "random-search on sphere: at most 8, as it only guesses." in sheet.notes


def test_a_race_that_nobody_finished(given):
    lost = replace(given.races[1], reached={})
    assert sheets(replace(given, races=(lost,), peaks=(), reaches=()))[-1].rows[0][:3] == ("theirs", "-", "-")


def test_memory(given):
    assert rows_of(given, "memory")[0]["peak GB"] == "4.80"


def test_the_headline_names_machine_and_floor(given):
    text = "\n".join(headline(given))
    for part in ("A processor", "2 threads", "8 GiB", "150 GFLOP/s", "tanh 0.20 ns", "torch 2.13.0", "gfopt 0.1.0"):
        assert part in text


def test_markdown_has_every_table_note_and_what_was_left_out(given):
    page = markdown(given)
    for sheet in sheets(given):
        assert f"## {sheet.title}\n" in page
        for row in sheet.rows:
            assert f"| {' | '.join(row)} |" in page
        for note in sheet.notes:
            assert note in page
    assert "memory was left out: it needs 8 GiB of memory." in page
    assert page.startswith("# Benchmarks\n")
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.count("|") > 2 for line in tables)
