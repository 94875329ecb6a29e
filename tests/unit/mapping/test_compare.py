"""What another mapping would make of a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigurationError
from bridge.hl7.explain import explain
from bridge.mapping import Mappings, default_directory
from bridge.mapping.compare import MESSAGE, Change, compare, load_with, numbers
from bridge.mapping.explain import Explanation
from tests.unit.mapping.test_explain import CONTEXT, CORPUS


def under(overlay: str, tmp_path: Path, name: str = "omg_o19_without_time") -> tuple[Explanation, Explanation]:
    """The message by the shipped mappings and by those with an overlay."""
    file = tmp_path / "new.yaml"
    file.write_text(overlay)
    raw = (CORPUS / f"{name}.hl7").read_bytes()
    return explain(raw, Mappings.load(default_directory(), None, CONTEXT)), explain(
        raw, load_with(default_directory(), file, CONTEXT)
    )


def change(changes: tuple[Change, ...], name: str) -> Change:
    (found,) = [one for one in changes if one.name == name]
    return found


def test_the_same_mapping_changes_nothing(tmp_path: Path) -> None:
    assert compare(*under("{}", tmp_path)) == ()


def test_another_row_of_a_code_table_is_told_with_both_values_and_lines(tmp_path: Path) -> None:
    overlay = "codes/modality:\n  codes: {CT SCAN: MR}\n"
    found = change(compare(*under(overlay, tmp_path)), "modality")
    assert (found.old, found.new) == ("CT", "MR")
    assert "mappings/codes/modality.yaml:" in found.old_line
    assert found.new_line.endswith("mappings/sites/new.yaml:2")


def test_another_path_is_told_with_the_line_of_the_overlay(tmp_path: Path) -> None:
    overlay = "hl7/order:\n  procedure:\n    description: {from: [OBR-4.1]}\n"
    found = change(compare(*under(overlay, tmp_path)), "description")
    assert (found.old, found.new, found.new_line) == ("Chest 2 views", "71046", "mappings/sites/new.yaml:3")


def test_a_path_that_gives_the_same_value_is_no_change(tmp_path: Path) -> None:
    assert compare(*under("hl7/order:\n  order:\n    placer: {from: [OBR-2]}\n", tmp_path)) == ()


def test_a_field_switched_off_comes_to_nothing(tmp_path: Path) -> None:
    found = change(compare(*under("hl7/order:\n  order:\n    control: {from: [ZZZ-1]}\n", tmp_path)), "control")
    assert (found.old, found.new) == ("NW", "(required, and empty)")


def test_a_message_that_would_be_refused_says_so(tmp_path: Path) -> None:
    changes = compare(*under("hl7/order:\n  order:\n    control: {from: [ZZZ-1]}\n", tmp_path))
    refused = change(changes, "refused")
    assert refused.heading == MESSAGE and refused.old == "" and "ZZZ-1" in refused.new


def test_an_order_is_named_by_its_numbers(tmp_path: Path) -> None:
    explanation, _ = under("{}", tmp_path, "orm_o01_three_groups_two_steps")
    heading = next(one.heading for one in explanation.fields if one.heading.startswith("order (group 1"))
    assert numbers(explanation, heading).startswith("placer PL-1")


def test_a_fault_of_the_new_overlay_names_the_file_as_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "what if.yaml"
    file.write_text("codes/modality:\n  codes: {RAD: DX}\nhl7/order:\n  steps: {}\n")
    with pytest.raises(ConfigurationError) as told:
        load_with(default_directory(), file, CONTEXT)
    assert told.value.faults[0].startswith(f"{file}:4: ")
