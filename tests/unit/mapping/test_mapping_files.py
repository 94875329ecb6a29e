"""The language of mappings: text only, every fault at once with file and line, sites by overlay."""

from __future__ import annotations

import shutil
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.dicom.fitting import may_be
from bridge.domain.identity import Issuers
from bridge.errors import ConfigurationError
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.mapping.load import Mapping, Scalar, load
from bridge.mapping.path import Path as FieldPath
from bridge.mapping.schema import FIELDS
from bridge.mapping.transforms import TRANSFORMS

CONTEXT = MappingContext(ZoneInfo("Europe/Berlin"), Issuers(()))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_directory(), tmp_path / "mappings"))


def faults_of(directory: Path, site: str | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Mappings.load(directory, site, CONTEXT)
    return caught.value.faults


def line_of(path: Path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize("text", ["NO", "010", "1:30", "~", "", "2026-01-01", "1_000", "on", "1e3"])
def test_every_scalar_is_its_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.yaml").write_text(f"key: {text}\n")
    root = load(tmp_path / "t.yaml", "t.yaml", [])
    assert isinstance(root, Mapping)
    value = root.entries["key"]
    assert isinstance(value, Scalar) and value.text == text


@pytest.mark.parametrize(
    ("yaml", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "t.yaml:3: the key 'a' stands already in line 1"),
        ("a: &x 1\nb: *x\n", "t.yaml:2: not YAML: aliases are not used here"),
        ("- a\n", "t.yaml:1: expected keys at the top of the file"),
        ("a:\n  ? [b]\n  : c\n", "t.yaml:2: a key must be text"),
    ],
)
def test_what_yaml_allows_and_mappings_do_not_is_a_fault_with_its_line(tmp_path: Path, yaml: str, fault: str) -> None:
    (tmp_path / "t.yaml").write_text(yaml)
    faults: list[str] = []
    load(tmp_path / "t.yaml", "t.yaml", faults)
    assert faults == [fault]


@pytest.mark.parametrize("text", ["PID-3", "PID-5.1", "PID-3[2].4.2", "OBR-4.1", "IPC-1", "ZDS-1"])
def test_a_path_is_written_as_it_is_read(text: str) -> None:
    assert str(FieldPath.parse(text)) == text


@pytest.mark.parametrize("text", ["", "PID", "PID-0", "pid-3", "PID-3.", "PID-3[0]", "PID-3.1.2.3", "PID-3 ", "PID.3"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        FieldPath.parse(text)


def test_all_faults_of_all_files_are_told_at_once(directory: Path) -> None:
    order, modality = directory / "hl7" / "order.yaml", directory / "codes" / "modality.yaml"
    text = order.read_text()
    text = text.replace("control: {from: [ORC-1], as: text", "control: {from: [ORC.1], as: text")
    text = text.replace("IPC-3, ZDS-1], as: uid", "IPC-3, ZDS-1], as: oid")
    text = text.replace("start: {", "begin: {")
    text = text.replace("table: priority", "table: urgency")
    text = text.replace("status: {from: [ORC-5], as: text", "status: {from: [ORC-5], when: NW, as: instant")
    order.write_text(text)
    modality.write_text(modality.read_text() + "  ct: CT\n")
    faults = faults_of(directory)

    def expected(what: str, where: str) -> bool:
        at = f"mappings/hl7/order.yaml:{line_of(order, where)}: "
        return any(fault.startswith(at) and what in fault for fault in faults)

    assert expected("'ORC.1' is not a path", "ORC.1")
    assert expected("no transform 'oid'", "as: oid")
    assert expected("the field 'begin' is not known", "begin:")
    assert expected("no table 'urgency'", "urgency")
    assert expected("the key 'when' is not known", "when: NW")
    assert expected("yields an instant, the field takes text", "when: NW")
    assert expected("'instant' takes no table", "when: NW")
    assert any("codes/modality.yaml" in fault and "differs only in case" in fault for fault in faults)


def test_a_row_names_its_source(directory: Path) -> None:
    (directory / "sites" / "s.yaml").write_text("hl7/order:\n  step:\n    start: {source: ''}\n")
    assert faults_of(directory, "s") == ["mappings/sites/s.yaml:3: 'start' names no source"]


def test_a_missing_file_or_section_is_a_fault(directory: Path) -> None:
    (directory / "hl7" / "patient.yaml").unlink()
    (directory / "hl7" / "order.yaml").write_text("order: {}\n")
    faults = faults_of(directory)
    assert "mappings/hl7/patient.yaml:1: cannot be read: FileNotFoundError" in faults
    assert "mappings/hl7/order.yaml:1: the section 'step' is missing or not a section" in faults


@pytest.mark.parametrize("site", ["../codes/sex", "a b", "."])
def test_a_site_is_a_name_and_no_path(directory: Path, site: str) -> None:
    assert "a site's name" in faults_of(directory, site)[0]


def test_an_overlay_for_a_mapping_that_is_none_is_a_fault(directory: Path) -> None:
    (directory / "sites" / "s.yaml").write_text("hl7/orders:\n  step: {}\n")
    assert faults_of(directory, "s")[0].startswith("mappings/sites/s.yaml:1: no mapping 'hl7/orders'")


def test_a_site_replaces_a_list_and_keeps_the_rest_of_the_row(directory: Path) -> None:
    mappings = Mappings.load(directory, "example", CONTEXT)
    rule = mappings.step.rule("station_name")
    assert rule is not None
    assert [str(path) for path, _ in rule.paths] == ["IPC-7", "ORC-13.2"]
    assert (rule.as_name, rule.source) == ("text", "v2 4.5.6.7; (0040,0010)")


def test_a_sites_code_wins_whatever_its_case_and_tells_its_own_line(directory: Path) -> None:
    (directory / "sites" / "s.yaml").write_text("codes/modality:\n  codes:\n    rx: CR\n    RAD: DX\n")
    table = Mappings.load(directory, "s", CONTEXT).tables["modality"]
    row = table.row("RX")
    assert row is not None
    assert (row.ours, str(row.mark), table.get("rad"), table.get("CT")) == ("CR", "mappings/sites/s.yaml:3", "DX", "CT")


def test_a_site_may_bring_a_table_of_its_own(directory: Path) -> None:
    (directory / "sites" / "s.yaml").write_text(
        "codes/rooms:\n  source: the site\n  codes: {R1: CT}\n"
        "hl7/order:\n  step:\n    modality: {from: [ORC-13.2], table: rooms}\n"
    )
    rule = Mappings.load(directory, "s", CONTEXT).step.rule("modality")
    assert rule is not None and rule.table is not None and rule.table.name == "rooms"


def test_the_shipped_files_fill_every_field_of_the_domain() -> None:
    mappings = Mappings.load(default_directory(), None, CONTEXT)
    for sections in FIELDS.values():
        for section, fields in sections.items():
            assert {rule.name for rule in getattr(mappings, section).rules} == set(fields)


def test_the_shipped_attributes_have_the_vr_of_the_dictionary() -> None:
    for site in (None, "example"):
        rules = Mappings.load(default_directory(), site, CONTEXT).attributes.rules
        assert rules and [rule.name for rule in rules if not may_be(rule.name, rule.vr)] == []


def test_every_modality_that_a_table_yields_is_a_dicom_code_string() -> None:
    table = Mappings.load(default_directory(), None, CONTEXT).tables["modality"]
    assert all(row.ours.isupper() and row.ours.isalpha() and len(row.ours) <= 16 for row in table.rows)


def test_no_section_is_both_a_modality_and_no_imaging() -> None:
    tables = Mappings.load(default_directory(), None, CONTEXT).tables
    assert not [row.sent for row in tables["not_imaging"].rows if tables["modality"].row(row.sent)]


def test_the_documentation_names_every_transform() -> None:
    text = (default_directory().parent / "docs" / "mapping.md").read_text()
    assert [name for name in TRANSFORMS if f"`{name}`" not in text] == []


def test_a_word_for_a_modality_that_dicom_does_not_know_is_a_fault_with_its_line(directory: Path) -> None:
    (directory / "sites" / "mary.yaml").write_text("codes/modality:\n  codes: {ROE: NOPE}\n")
    assert [f for f in faults_of(directory, "mary") if "mary.yaml:2" in f and "'NOPE' is no DICOM modality" in f]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ('"(0040,2008)": {from: [ORC-10], as: text, vr: PN, source: x}', "the field takes a person name"),
        ('"(0040,2004)": {from: [OBR-6], as: text, vr: DA, source: x}', "the field takes a date"),
        ('"(0040,2008)": {from: [ORC-10], as: provider_name, source: x, vr: XX}', "'vr' is one of"),
        ('"(0009,2008)": {from: [ORC-10], as: text, vr: LO, source: x}', "is no tag of the standard"),
        ('order_entered_by: {from: [ORC-10], as: text, vr: LO, source: x}', "is no tag of the standard"),
    ],
)  # fmt: skip
def test_an_attribute_that_no_device_could_read_is_a_fault(directory: Path, row: str, fault: str) -> None:
    (directory / "sites" / "s.yaml").write_text(f"hl7/order:\n  attributes:\n    {row}\n")
    (said,) = faults_of(directory, "s")
    assert said.startswith("mappings/sites/s.yaml:3: ") and fault in said


def test_a_site_takes_an_attribute_away(directory: Path) -> None:
    (directory / "sites" / "s.yaml").write_text('hl7/order:\n  attributes:\n    "(0040,2010)": {from: []}\n')
    (rule,) = [one for one in Mappings.load(directory, "s", CONTEXT).attributes.rules if one.name == "(0040,2010)"]
    assert rule.paths == ()


def test_a_sites_reason_for_discontinuing_has_one_of_the_known_fates(directory: Path) -> None:
    rows = 'codes/discontinuation:\n  codes:\n    "X9 99SITE": cancel\n    "X8": end\n'
    (directory / "sites" / "mary.yaml").write_text(rows)
    found = faults_of(directory, "mary")
    assert [f.partition(": ")[2] for f in found] == [
        "'cancel' is none of wrong-entry, again, propose, end",
        "'X8' is no code and scheme, like '110514 DCM'",
    ]
