"""Each transform against the field it was made for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.patient import PersonName
from bridge.errors import BadValue, TooLarge
from bridge.hl7.message import Message
from bridge.mapping import Mappings, default_directory
from bridge.mapping.context import MappingContext
from bridge.mapping.load import Mark
from bridge.mapping.path import Path
from bridge.mapping.tables import CodeTable, Row
from bridge.mapping.times import read_date, read_instant, read_local
from bridge.mapping.transforms import MOST_IDENTIFIERS, TRANSFORMS

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
CONTEXT = MappingContext(
    BERLIN,
    Issuers([Issuer("hospital", "HOSP", "1.2.3", "ISO")]),
    default_patient_issuer="clinic",
    preferred_patient_issuer="hospital",
)


def take(transform: str, path: str, *lines: str, table: CodeTable | None = None) -> object:
    raw = "\r".join([r"MSH|^~\&|A|B|C|D|20260301||ADT^A08|1|P|2.5.1||||||UNICODE UTF-8", *lines]).encode()
    return TRANSFORMS[transform].step(CONTEXT, table, Path.parse(path))(Message.read(raw))


# Times


def test_a_summer_time_with_the_winter_offset_is_an_hour_later_on_the_wall() -> None:
    assert read_local("20260701090000+0100", BERLIN) == datetime(2026, 7, 1, 10)


def test_both_passes_of_the_doubled_hour_are_the_same_wall_clock() -> None:
    early, late = read_local("20261025003000+0000", BERLIN), read_local("20261025013000+0000", BERLIN)
    assert early == late == datetime(2026, 10, 25, 2, 30)
    assert early.tzinfo is None and early.fold == late.fold == 0


def test_a_time_without_an_offset_stays_as_written_even_in_the_skipped_hour() -> None:
    assert read_local("20260329023000", BERLIN) == datetime(2026, 3, 29, 2, 30)


def test_the_doubled_hour_without_an_offset_is_its_first_pass() -> None:
    assert read_instant("20261025023000", BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_an_offset_decides_between_the_two_passes() -> None:
    assert read_instant("20261101013000-0500", NEW_YORK) == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


def test_a_night_may_move_to_another_day() -> None:
    assert read_local("20260301233000-0500", BERLIN) == datetime(2026, 3, 2, 5, 30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260302", datetime(2026, 3, 2)),
        ("2026030209", datetime(2026, 3, 2, 9)),
        ("202603020930", datetime(2026, 3, 2, 9, 30)),
        ("20260302093015.1234567", datetime(2026, 3, 2, 9, 30, 15, 123456)),
    ],
)
def test_a_time_may_stop_at_any_precision_from_the_day(text: str, expected: datetime) -> None:
    assert read_local(text, BERLIN) == expected


@pytest.mark.parametrize(
    "text", ["2026", "202603", "20260230", "2026030224", "202603020960", "2026-03-02", "20260302+2500", "٢٠٢٦٠٣٠٢", "x"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        read_local(text, BERLIN)


@pytest.mark.parametrize("text", ["99991231235959-1400", "00010101000000+1400"])
def test_the_ends_of_the_calendar_are_refused(text: str) -> None:
    with pytest.raises(BadValue):
        read_instant(text, BERLIN)


def test_a_month_is_no_date() -> None:
    assert read_date("197001") is None


# Names


@pytest.mark.parametrize(
    ("pid_5", "expected"),
    [
        ("Doe^Jane^Q^Jr^Dr^MD", PersonName("Doe^Jane^Q^Dr^Jr")),
        ("van Beethoven&van&Beethoven^Ludwig", PersonName("van Beethoven^Ludwig")),
        ("Smith^J^^^^^A~Doe^Jane^^^^^L", PersonName("Doe^Jane")),
        ("Maiden^J^^^^^M~Doe^Jane", PersonName("Doe^Jane")),
        ("Smith^J^^^^^A~Jones^J^^^^^M", PersonName("Smith^J")),
        ("山田^太郎^^^^^L^I~Yamada^Tarou^^^^^L^A", PersonName("Yamada^Tarou", "山田^太郎")),
        ("山田^太郎^^^^^L^I", PersonName("", "山田^太郎")),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", PersonName("Yamada^Tarou", "山田^太郎", "やまだ^たろう")),
        (r"O\S\Hara\E\x^Jane", PersonName("O Hara x^Jane")),
        ('Doe^""', PersonName("Doe")),
        ("^^^^^^L", None),
    ],
)
def test_a_person_name_is_swapped_chosen_and_cleaned(pid_5: str, expected: PersonName | None) -> None:
    assert take("person_name", "PID-5", f"PID|||||{pid_5}") == expected


@pytest.mark.parametrize(
    ("pv1_8", "expected"),
    [
        ("7^Curie^Marie^S^III^Prof", PersonName("Curie^Marie^S^Prof^III")),
        ("7^Curie^Marie~8^Hahn^Otto", PersonName("Curie^Marie")),
        ("7^Yamada^A~7^山田^A^^^^^^^^^^^^I", PersonName("Yamada^A", "山田^A")),
        ("7", None),
    ],
)
def test_a_provider_is_the_first_person_named(pv1_8: str, expected: PersonName | None) -> None:
    assert take("provider_name", "PV1-8", f"PV1||||||||{pv1_8}") == expected


# Identifiers


def test_the_preferred_authority_comes_first_then_medical_record_numbers() -> None:
    pid = "PID|||1^^^X~2^^^Y^MR~3^^^HOSP&1.2.3&ISO^PI"
    found = take("patient_identifiers", "PID-3", pid)
    assert found == (Identifier("3", "hospital", "PI"), Identifier("2", "Y", "MR"), Identifier("1", "X"))


def test_a_number_that_people_share_is_another_identifier_and_says_nobody() -> None:
    pid = "PID|||1^^^X^SS~2^^^Y^MR~3^^^Y^AN"
    assert take("patient_identifiers", "PID-3", pid) == (Identifier("2", "Y", "MR"),)
    assert take("other_identifiers", "PID-3", pid) == (Identifier("1", "X", "SS"), Identifier("3", "Y", "AN"))


def test_a_patient_with_no_identifying_number_is_refused() -> None:
    with pytest.raises(BadValue, match="PID-3 is of no type"):
        take("patient_identifiers", "PID-3", "PID|||1^^^X^SS")


def test_the_site_says_which_types_identify() -> None:
    context = replace(CONTEXT, identifying_types=frozenset({"NI"}))
    message = Message.read(b"MSH|^~\\&|A|B|C|D|20260301||ADT^A08|1|P|2.5.1\rPID|||1^^^X^MR~2^^^Y^ni")
    rule = Mappings.load(default_directory(), None, context).patient.rule("identifiers")
    assert rule is not None and rule.read(message, []) == (Identifier("2", "Y", "ni"),)


def test_more_identifiers_than_anybody_has_are_refused_before_they_are_read() -> None:
    pid = "PID|||" + "~".join(f"{n}^^^X" for n in range(MOST_IDENTIFIERS + 1))
    with pytest.raises(TooLarge):
        take("patient_identifiers", "PID-3", pid)


def test_an_old_external_number_gets_no_authority_of_ours() -> None:
    assert take("external_identifiers", "PID-2", "PID||77|1") == (Identifier("77"),)


def test_the_universal_id_names_the_authority_whatever_the_namespace() -> None:
    assert take("patient_identifiers", "PID-3", "PID|||1^^^OTHER&1.2.3&ISO") == (Identifier("1", "hospital"),)


def test_the_default_authority_is_for_record_numbers_only() -> None:
    assert take("patient_identifiers", "PID-3", "PID|||1^^^^MR~2^^^^SS") == (Identifier("1", "clinic", "MR"),)
    assert take("other_identifiers", "PID-3", "PID|||1^^^^MR~2^^^^SS") == (Identifier("2", "", "SS"),)


def test_a_repetition_may_be_named_by_number() -> None:
    assert take("patient_identifiers", "PID-3[2]", "PID|||1~2~3") == (Identifier("2", "clinic"),)


def test_leading_zeros_stay() -> None:
    assert take("placer_identifier", "ORC-2", "ORC|NW|00123") == Identifier("00123")


# Codes and texts


def table(**rows: str) -> CodeTable:
    return CodeTable("t", "s", [Row(key, value, Mark("f", 1)) for key, value in rows.items()])


def test_a_table_takes_no_notice_of_case_and_padding() -> None:
    assert take("text", "PID-8", "PID||||||||  m ", table=table(M="M")) == "M"


def test_any_code_looks_at_every_repetition() -> None:
    pv1 = "PV1|||||||||||||||A0~B6"
    assert take("any_code", "PV1-15", pv1, table=table(B6="3")) == "3"


def test_the_second_triplet_begins_at_component_4() -> None:
    assert take("code", "OBR-4.4", "OBR||||A^a^X^B^b^Y") == Code("B", "Y", "b")


def test_a_code_without_text_is_its_own_text() -> None:
    assert take("code", "OBR-4", "OBR||||A^^X") == Code("A", "X", "A")


def test_a_text_without_a_code_is_no_code() -> None:
    assert take("code", "OBR-4", "OBR||||^only text") is None


def test_texts_are_on_one_line_and_notes_keep_theirs() -> None:
    obr, nte = r"OBR|||||||||||||one\.br\two", r"NTE|1||one\.br\two~three"
    assert take("text", "OBR-13", obr) == "one two"
    assert take("lines", "NTE-3", nte) == "one\ntwo\nthree"


@pytest.mark.parametrize("text", ["1.2.840.113619.2.1^100^Application^DICOM", "1.2.840.113619.2.1"])
def test_a_uid_is_component_1(text: str) -> None:
    assert take("uid", "ZDS-1", f"ZDS|{text}") == "1.2.840.113619.2.1"


@pytest.mark.parametrize("text", ["1.02.3", "../1.2", "1." * 40, "1.2."])
def test_what_is_no_uid_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        take("uid", "ZDS-1", f"ZDS|{text}")


@pytest.mark.parametrize(
    ("obx", "expected"),
    [
        ("29463-7^Body weight^LN||70|kg", "70"),
        ("WT^body WEIGHT^L||3500|g", "3.5"),
        ("X^Y^L^29463-7^w^LN||154|lb", "69.853"),
        ("29463-7||70,5|kg", "70.5"),
        ("8302-2||70|kg", None),
    ],
)
def test_weight_is_found_by_code_or_text_and_converted(obx: str, expected: str | None) -> None:
    words = CodeTable("t", "s", [Row(k, "weight", Mark("f", 1)) for k in ("29463-7", "body weight")])
    assert take("weight_kg", "OBX-5", f"OBX|1|NM|{obx}", table=words) == expected


@pytest.mark.parametrize("value", ["-1", "0", "1e9", "5000", "heavy"])
def test_an_impossible_weight_is_refused(value: str) -> None:
    with pytest.raises(BadValue):
        take("weight_kg", "OBX-5", f"OBX|1|NM|W||{value}|kg", table=table(W="weight"))


@pytest.mark.parametrize(
    ("transform", "path", "line"),
    [
        ("person_name", "PID-5", "PID|1||1||O\x92Brien^Jane"),
        ("provider_name", "PV1-8", "PV1|1|O||||||7^O\x92Brien^Jane"),
        ("cn_name", "OBR-34", "OBR|1" + "|" * 33 + "7&O\x07Brien&Jane"),
    ],
)
def test_a_name_with_a_control_character_is_nobody_s(transform: str, path: str, line: str) -> None:
    with pytest.raises(BadValue, match=f"{path} is a name with a control character"):
        take(transform, path, line)


@pytest.mark.parametrize(
    ("transform", "path", "line", "text"),
    [
        ("text", "OBR-4.2", "OBR|1|||C1^Abdomen & Pelvis^L", "Abdomen & Pelvis"),
        ("text", "OBR-4.5", "OBR|1|||C1^a^L^P1^Head & Neck^L", "Head & Neck"),
        ("code_text", "OBR-31", "OBR|1" + "|" * 30 + "Fall & pain", "Fall & pain"),
        ("code_text", "OBR-31", "OBR|1" + "|" * 30 + "R1^Fall & pain^L", "Fall & pain"),
        ("free_text", "OBR-13", "OBR|1" + "|" * 12 + "a & b ^ c~d", "a & b ^ c d"),
        ("lines", "NTE-3", "NTE|1||a & b ^ c~d", "a & b ^ c\nd"),
    ],
)
def test_words_are_not_cut_at_what_their_sender_left_unescaped(transform: str, path: str, line: str, text: str) -> None:
    assert take(transform, path, line) == text


def test_the_meaning_of_a_code_is_not_cut_either() -> None:
    assert take("code", "OBR-4", "OBR|1|||C1^Abdomen & Pelvis^L") == Code("C1", "L", "Abdomen & Pelvis")


def test_a_path_that_names_a_subcomponent_has_that_alone() -> None:
    assert take("text", "OBX-3.1.2", "OBX|1|TX|11502-2&IMP^x") == "IMP"


def test_a_site_may_say_that_its_doctors_have_no_id() -> None:
    assert take("provider_name_without_id", "PV1-8", "PV1|1|O||||||SMITH^JOHN^A^JR^DR") == PersonName(
        "SMITH^JOHN^A^DR^JR"
    )


@pytest.mark.parametrize(
    ("transform", "path", "line"),
    [("placer_identifier", "ORC-2", "ORC|NW|{}^EHR"), ("patient_identifiers", "PID-3", "PID|1||{}^^^HOSP^MR")],
)
def test_what_is_too_long_to_be_a_number_is_none(transform: str, path: str, line: str) -> None:
    assert take(transform, path, line.format("9" * 250))
    with pytest.raises(BadValue, match="longer than 250 characters"):
        take(transform, path, line.format("9" * 251))
