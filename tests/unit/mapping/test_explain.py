"""`bridge explain` tells where each value came from, by the plan that reads messages."""

from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

from bridge.domain.identity import Issuers
from bridge.hl7.explain import explain
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.mapping.explain import ExplainedField, Explanation, render

CORPUS = Path(__file__).parents[2] / "corpus" / "hl7"
CONTEXT = MappingContext(ZoneInfo("Europe/Berlin"), Issuers(()))


def explained(name: str, site: str | None = None) -> Explanation:
    raw = (CORPUS / f"{name}.hl7").read_bytes()
    return explain(raw, Mappings.load(default_directory(), site, CONTEXT))


def field(explanation: Explanation, heading: str, name: str) -> ExplainedField:
    return next(one for one in explanation.fields if one.name == name and one.heading.startswith(heading))


def line_of(file: str, text: str) -> str:
    lines = (default_directory() / file).read_text().splitlines()
    return f"mappings/{file}:{next(n for n, line in enumerate(lines, 1) if line.lstrip().startswith(text))}"


def test_a_value_tells_its_path_table_row_and_lines() -> None:
    modality = field(explained("omg_o19_without_time"), "scheduled step", "modality")
    assert (modality.value, modality.path, modality.table_row) == ("CT", "OBR-24", "CT SCAN -> CT")
    assert modality.table_line == line_of("codes/modality.yaml", "CT SCAN:")
    assert modality.line == line_of("hl7/order.yaml", "modality:")


def test_a_sites_row_tells_the_overlays_file() -> None:
    station = field(explained("omi_o23_two_steps", "example"), "scheduled step", "station_name")
    assert station.line == line_of("sites/example.yaml", "station_name:")


def test_the_winning_path_of_several_is_told() -> None:
    assert field(explained("omi_o23_two_steps"), "scheduled step", "start").path == "TQ1-7"
    assert field(explained("orm_o01_three_groups_two_steps"), "scheduled step", "start").path == "ORC-7.4"


def test_each_ipc_has_a_heading_of_its_own() -> None:
    headings = {one.heading for one in explained("omi_o23_two_steps").fields}
    assert {"scheduled step (group 1, step 1)", "scheduled step (group 1, step 2)"} <= headings


def test_what_the_message_does_not_say_is_listed_when_asked() -> None:
    explanation = explained("orm_o01_minimal_cancel")
    assert "transport" not in render(explanation)
    assert "transport" in render(explanation, empty=True)


def test_a_message_that_is_none_is_explained_by_its_refusal() -> None:
    explanation = explain(b"hello", Mappings.load(default_directory(), None, CONTEXT))
    assert explanation.fields == () and explanation.refusal


def test_a_refused_message_shows_the_field_that_refused_it() -> None:
    raw = (CORPUS / "orm_o01_three_groups_two_steps.hl7").read_bytes().replace(b"ZDS|1.2.840", b"ZDS|1.02.840")
    explanation = explain(raw, Mappings.load(default_directory(), None, CONTEXT))
    assert explanation.refusal.startswith("ZDS-1")
    assert field(explanation, "requested procedure", "study_instance_uid").fault


def test_the_page_is_aligned_coloured_only_on_request_and_safe_for_a_terminal() -> None:
    raw = (CORPUS / "orm_o01_minimal_cancel.hl7").read_bytes().replace(b"Lovelace", rb"Love\X1B5D\lace")
    explanation = explain(raw, Mappings.load(default_directory(), None, CONTEXT))
    plain = render(explanation)
    assert "\x1b" not in plain
    assert "\x1b[1m" in render(explanation, colour=True)
    told = [line for line in plain.splitlines() if "PID-" in line and "a name with a control character" not in line]
    columns = [line.index("PID-") for line in told]
    assert len(columns) > 2 and len(set(columns)) == 1


def test_the_json_form_is_json() -> None:
    assert json.loads(json.dumps(explained("adt_a40_merge").as_json()))["fields"]
