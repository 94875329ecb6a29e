"""The reader: tolerant, lossless, lazy, escapes decoded once."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import NotReadable, Unsupported
from bridge.hl7.ack import location_of
from bridge.hl7.message import NULL, Message, header_of, split_batch
from tests.unit.hl7.bad_cases import BAD_CASES

MSH = "MSH|^~\\&|RIS^1.2.3^ISO|HOSP|BRIDGE|IB|20260102030405+0100||ORM^O01^ORM_O01|C-1|P|2.3.1|7||AL|NE"
ORM = [
    MSH,
    "PID|1||P1^^^HOSP&1.2.3&ISO^MR~P2^^^NAT||Doe^Jane^^^Dr||19700101|F",
    "NTE|1||of the patient",
    "PV1||O",
    "AL1|1||^Latex",
    "AL1|2||^Iodine",
    "ORC|NW|O1|F1||SC",
    "OBR|1|O1|F1|P1^Procedure 1^L^X1^Protocol^L",
    "NTE|1||of the order",
    "ORC|NW|O2|F2||SC",
    "TQ1|1||||||20260103",
    "OBR|2|O2|F2|P2^Procedure 2^L",
    "ZDS|1.2.3.4^100^Application^DICOM",
]


def read(*lines: str, end: str = "\r", **more: str) -> Message:
    return Message.read((end.join(lines) + end).encode("utf-8"), **more)


def field(value: str) -> str:
    """What a field of this text reads as."""
    return read(MSH, f"PID|{value}").get("PID", 1)


def test_raw_is_what_arrived() -> None:
    raw = b"\xef\xbb\xbf\r\n" + "\r\n".join(ORM).encode() + b"\r\n\r\n\x00"
    assert Message.read(raw).raw == raw


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_any_line_end_separates_segments(end: str) -> None:
    message = read(*ORM, end=end)
    assert [one.name for one in message.all_segments] == [line[:3] for line in ORM]
    assert message.warnings == ()


def test_a_byte_order_mark_means_utf_8() -> None:
    assert Message.read(b"\xef\xbb\xbf" + f"{MSH}\rPID|Å".encode()).get("PID", 1) == "Å"


def test_header_fields_are_named() -> None:
    m = read(*ORM)
    assert (m.sending_application, m.sending_facility, m.receiving_application, m.receiving_facility) == (
        "RIS", "HOSP", "BRIDGE", "IB",
    )  # fmt: skip
    assert (m.message_code, m.trigger_event, m.structure) == ("ORM", "O01", "ORM_O01")
    assert (m.control_id, m.processing_id, m.version, m.timestamp) == ("C-1", "P", "2.3.1", "20260102030405+0100")
    assert (m.sequence_number, m.accept_ack, m.application_ack) == ("7", "AL", "NE")


def test_msh_1_and_2_are_the_delimiters_themselves() -> None:
    m = read(*ORM)
    assert (m.get("MSH", 1), m.get("MSH", 2), m.repetitions("MSH", 2)[0].components) == ("|", "^~\\&", 1)


def test_repetitions_components_and_subcomponents_count_from_1() -> None:
    first, second = read(*ORM).repetitions("PID", 3)
    assert [first.get(1), first.get(4), first.get(4, 0), first.get(4, 1), first.get(4, 2), first.get(4, 4)] == [
        "P1", "HOSP", "HOSP", "HOSP", "1.2.3", "",
    ]  # fmt: skip
    assert (first.components, first.text, second.get(1), second.get(9), second.get(0), second.get(1, 2)) == (
        5, "P1", "P2", "", "", "",
    )  # fmt: skip
    assert first.raw == "P1^^^HOSP&1.2.3&ISO^MR"


@pytest.mark.parametrize(("segment", "number"), [("PID", 2), ("PID", 99), ("ZZZ", 1), ("PID", 0), ("PID", -1)])
def test_what_is_absent_or_empty_has_no_repetitions(segment: str, number: int) -> None:
    assert read(*ORM).repetitions(segment, number) == ()


def test_null_stays_visible_and_differs_from_empty() -> None:
    m = read(MSH, 'PID|""||x')
    assert (m.get("PID", 1), m.get("PID", 2)) == (NULL, "")


def test_empty_repetitions_keep_their_place() -> None:
    assert [one.text for one in read(MSH, "PID|~A~").repetitions("PID", 1)] == ["", "A", ""]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"\E\F\E\ ", "\\F\\ "),
        (r"\E\E\E\ ", "\\E\\ "),
        (r"5 \T\lt; 6 <\T\gt;>", "5 &lt; 6 <&gt;>"),
        (r"one\.br\two\.sp2\three\.sk3\x", "one\ntwo\n\nthree   x"),
        (r"\.in+4\\.ti-2\\.fi\\.nf\plain\.ce\end", "plain\nend"),
        (r"\H\bold\N\ text", "bold text"),
        (r"\X41\\X0D0a\\XC3A5\ ", "A\r\nå "),
        (r"\P\ ", "# "),
        (r"C:\temp\F\x", r"C:\temp|x"),
        (r"a \ b \ c", r"a \ b \ c"),
        (r"\X4\ \XFF\ \XZZ\ ", r"\X4\ \XFF\ \XZZ\ "),
        (r"\C2842\ \M244200\ \Zlocal\ ", r"\C2842\ \M244200\ \Zlocal\ "),
        ("\\", "\\"),
        (r"\X\ ", " "),
        (r"\.sp9999\ ", "\n" * 20 + " "),
    ],
)
def test_an_escape_is_decoded_exactly_once(sent: str, meant: str) -> None:
    assert read(MSH + "||UNICODE UTF-8", f"PID|{sent}").get("PID", 1) == meant


def test_splitting_comes_before_unescaping() -> None:
    first = read(MSH, r"PID|a\S\b^c\T\d").repetitions("PID", 1)[0]
    assert (first.components, first.get(1), first.get(2), first.get(2, 2)) == (2, "a^b", "c&d", "")


def test_less_than_is_intact() -> None:
    assert field('<b>1 < 2 > 0 "q"</b>') == '<b>1 < 2 > 0 "q"</b>'


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=60))
def test_any_text_escaped_by_the_book_comes_back(text: str) -> None:
    names = {"|": "F", "^": "S", "&": "T", "~": "R", "\\": "E"}
    sent = "".join(f"\\{names[c]}\\" if c in names else c for c in text)
    assert read(MSH + "||UNICODE UTF-8", f"PID|x^{sent}").get("PID", 1, 2) == text


def test_escapes_that_are_not_read_are_reported_without_their_content() -> None:
    m = read(MSH, r"PID|\C2899\Yamada|\Zx\ \XFF\ |\C2842\Yamada")
    assert m.warnings == tuple(f"line 2 (PID): an escape that is not read was kept: {x}" for x in "CZX")


@pytest.mark.parametrize(
    ("declared", "sent", "meant"),
    [
        # 2.7.2: the designations of ISO 2022 without their ESC, wherever text may stand; PS3.5 H.3 has the names.
        ("", "/M2442/;3ED/C2842/ Yamada", "山田 Yamada"),
        ("ISO IR6~ISO IR87", "/M2442/B@O:", "太郎"),
        ("", "/M242844/0!/C2842//F/", "丂|"),
        ("", "/M242843/1h/C2842/", "김"),
        ("", "/M242943//XB1E8/", "김"),
        ("", "/C2849/TO@/C284A/ Yamada", "ﾔﾏﾀ Yamada"),
        ("8859/1", "Mü/C2D46/Äé/C2D41/Mü", "MüΔιMü"),
        ("UNICODE UTF-8", "Mü/M2442/;3ED/C2842/Mü", "Mü山田Mü"),
        # The codes of a character may be those of a delimiter, and are then escaped like one.
        ("", "/M2442/P/S//C2842/^", "俐"),
        ("", "/M2442/P/X5E//C2842/^", "俐"),
        ("", "/M2442/;3ED/.br/;3ED/C2842/", "山田\n山田"),
    ],
)  # fmt: skip
def test_a_switch_to_a_known_set_is_followed(declared: str, sent: str, meant: str) -> None:
    """A slash stands for the escape character."""
    sent = sent.replace("/", "\\")
    encoding = {"8859/1": "iso8859_1"}.get(declared, "utf-8")
    m = Message.read(f"{MSH}||{declared}\rPID|{sent}\r".encode(encoding))
    assert (m.get("PID", 1), m.warnings) == (meant, ())


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        ("", "/M2442/;3E/C2842/ half a character"),
        ("", "/M2499/;3ED/C2842/ no such set"),
        ("", "/M2842/x several bytes said of one"),
        ("", "/C2442/x one byte said of several"),
        ("", "/M24420/;3ED odd hexadecimal"),
        ("UNICODE UTF-8", "/C2D46/Äé high codes in UTF-8 are gone"),
        ("UNICODE UTF-8", "/M2442/ü no such code"),
        ("", "/M2442/;3ED/C2842/" * 501),
    ],
)
def test_a_switch_that_cannot_be_followed_whole_leaves_its_value_as_it_came(declared: str, sent: str) -> None:
    sent = sent.replace("/", "\\")
    m = read(f"{MSH}||{declared}", f"PID|{sent}|A")
    assert (m.get("PID", 1), m.get("PID", 2)) == (sent, "A")
    assert "an escape that is not read was kept" in m.warnings[0]


def test_a_switch_ends_with_its_value() -> None:
    first = read(MSH, r"PID|\M2442\;3ED^;3ED&\M2442\;3ED&;3ED~;3ED").repetitions("PID", 1)
    assert [first[0].get(1), first[0].get(2), first[0].get(2, 2), first[0].get(2, 3), first[1].text] == [
        "山田", ";3ED", "山田", ";3ED", ";3ED",
    ]  # fmt: skip


@given(st.text(alphabet=st.characters(codec="iso2022_jp", categories=("Lo", "Ll", "Lu")), min_size=1, max_size=30))
def test_japanese_told_by_switches_is_what_pythons_own_codec_wrote(text: str) -> None:
    names = {"|": "F", "^": "S", "&": "T", "~": "R", "\\": "E"}
    switches = {"$B": "M2442", "(B": "C2842", "(J": "C284A", "$@": "M2440"}
    raw, out, at = text.encode("iso2022_jp").decode("ascii"), "", 0
    while at < len(raw):
        if raw[at] == "\x1b":
            out, at = f"{out}\\{switches[raw[at + 1 : at + 3]]}\\", at + 3
        else:
            out, at = out + (f"\\{names[raw[at]]}\\" if raw[at] in names else raw[at]), at + 1
    assert read(MSH, f"PID|{out}").get("PID", 1) == text


def test_other_delimiters_are_the_senders_right() -> None:
    m = read("MSH#*!?@#RIS###20260101##ORM*O01#C1#P#2.3.1", "PID###A*B@C!D?S?E")
    assert [one.get(2, 2) or one.text for one in m.repetitions("PID", 3)] == ["C", "D*E"]


def test_a_message_may_do_without_subcomponents() -> None:
    m = Message.read(b"MSH|^~|RIS|||||||C1\rPID|||a&b\\F\\^c")
    assert m.get("PID", 3) == "a&b\\F\\"


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", "MSH"), (b"PID|1", "MSH"), (b"FHS|^~\\&|\rBHS|^~\\&|\rMSH|^~\\&|", "MSH"), (b"MSH\r", "MSH-1"),
        (b"MSH|", "MSH-2"), (b"MSH||RIS", "MSH-2"), (b"MSHA^~\\&A", "MSH-1"), (b"MSH ^~\\& ", "MSH-1"),
        (b"MSH|^^\\&|", "MSH-2"), (b"MSH|a~\\&|", "MSH-2"), (b"MSH|^~\\&#%|", "MSH-2"),
        (b"MSH^~\\&|RIS", "MSH-2"), (b"MSH\xe9^~\\&\xe9", "MSH-1"),
    ],
)  # fmt: skip
def test_an_absurd_header_is_not_readable(raw: bytes, where: str) -> None:
    with pytest.raises(NotReadable) as caught:
        Message.read(raw)
    assert caught.value.where == where


def test_utf_16_is_unsupported() -> None:
    for raw in (MSH.encode("utf-16"), MSH.encode("utf-16-le"), MSH.encode("utf-16-be"), MSH.encode("utf-32")):
        with pytest.raises(Unsupported):
            Message.read(raw)


def test_a_lying_msh_18_is_refused_unless_the_feed_overrides_it() -> None:
    raw = f"{MSH}||UNICODE UTF-8\rPID|Müller".encode("iso8859_1")
    with pytest.raises(NotReadable) as caught:
        Message.read(raw, charset_default="8859/1")
    assert caught.value.where == "MSH-18"
    assert Message.read(raw, charset_override="8859/1").get("PID", 1) == "Müller"


def test_the_default_of_the_feed_serves_an_empty_msh_18() -> None:
    m = Message.read(f"{MSH}\rPID|Müller".encode("iso8859_1"), charset_default="8859/1")
    assert (m.get("PID", 1), m.character_set.dicom_terms) == ("Müller", ("ISO_IR 100",))


def test_a_repeated_msh_18_switches_sets() -> None:
    raw = (MSH + "||ISO IR6~ISO IR87\r").encode() + b"PID|\x1b$BP^\x1b(B^\x1b$BB@O:\x1b(B"
    first = Message.read(raw).repetitions("PID", 1)[0]
    assert (first.get(1), first.get(2)) == ("俐", "太郎")


def test_a_gb18030_byte_that_looks_like_a_delimiter_is_none() -> None:
    raw = f"{MSH}||GB 18030-2000\rPID|".encode() + b"\x81|^x"
    assert Message.read(raw).get("PID", 1) == "亅"


def test_a_wrapped_line_is_kept_and_reported_by_number() -> None:
    m = read(MSH, "PID|1||P1", "^^^HOSP|x", "PV1||O")
    assert m.repetitions("PID", 3)[0].get(4) == "HOSP"
    assert m.warnings == ("line 3 is not a segment: taken as the rest of the PID before it",)
    assert m.get("PV1", 2) == "O"


def test_a_break_inside_a_value_stays_visible() -> None:
    assert read(MSH, "NTE|1||no contrast", "allergy").get("NTE", 3) == "no contrast\nallergy"


@pytest.mark.parametrize("line", ["xyz|1", "PID", "P1|x", "PIDX|1"])
def test_what_has_no_segment_name_is_no_segment(line: str) -> None:
    assert [one.name for one in read(MSH, line).all_segments] == ["MSH"]


def test_junk_lines_at_the_end_are_ignored() -> None:
    m = read(MSH, "PID|1", "", " \x00", "\x1a")
    assert (len(m.all_segments), m.warnings) == (2, ())


def test_two_messages_in_one_frame_are_refused() -> None:
    with pytest.raises(NotReadable) as caught:
        read(*ORM, *ORM)
    assert caught.value.code == "hl7-segment-sequence"


def test_replacement_characters_of_the_sender_are_reported() -> None:
    assert "U+FFFD" in read(MSH + "||UNICODE UTF-8", "PID|M\ufffdller").warnings[0]


def test_warnings_are_bounded() -> None:
    assert len(read(MSH, *["oops"] * 1000).warnings) == 51


def test_an_order_group_begins_at_each_orc() -> None:
    first, second = read(*ORM).order_groups()
    assert (first.get("ORC", 2), first.get("OBR", 2), second.get("ORC", 2), second.get("OBR", 2)) == (
        "O1", "O1", "O2", "O2",
    )  # fmt: skip
    assert (first.segments("TQ1"), second.get("TQ1", 7)) == ((), "20260103")


def test_one_zds_at_the_end_serves_all_groups() -> None:
    assert [one.get("ZDS", 1) for one in read(*ORM).order_groups()] == ["1.2.3.4", "1.2.3.4"]


def test_a_zds_a_group_serves_its_own_group() -> None:
    m = read(MSH, "ORC|NW|1", "OBR|1", "ZDS|1.1", "ORC|NW|2", "OBR|2", "ORC|NW|3", "OBR|3", "ZDS|1.2")
    assert [one.get("ZDS", 1) for one in m.order_groups()] == ["1.1", "1.2", "1.2"]


def test_a_group_looks_into_the_message_after_itself() -> None:
    first, _ = read(*ORM).order_groups()
    assert (first.get("MSH", 10), first.get("PID", 5), len(first.segments("AL1"))) == ("C-1", "Doe", 2)


def test_notes_of_the_patient_are_never_notes_of_an_order() -> None:
    m = read(*ORM)
    first, second = m.order_groups()
    assert ([one.get(3) for one in first.segments("NTE")], second.segments("NTE")) == (["of the order"], ())
    assert [one.get(3) for one in first.patient_notes] == ["of the patient"]
    assert len(m.segments("NTE")) == 2


def test_obr_without_orc_is_a_group() -> None:
    m = read(MSH, "PID|1", "OBR|1", "OBX|1", "OBR|2")
    assert [(one.get("OBR", 1), len(one.segments("OBX"))) for one in m.order_groups()] == [("1", 1), ("2", 0)]


def test_a_second_obr_shares_the_orc_before_it() -> None:
    m = read(MSH, "ORC|NW|7", "OBR|1", "OBX|1", "OBR|2")
    assert [(one.get("ORC", 2), one.get("OBR", 1)) for one in m.order_groups()] == [("7", "1"), ("7", "2")]


def test_a_cancel_may_have_no_obr() -> None:
    (only,) = read(MSH, "PID|1", "ORC|CA|O1").order_groups()
    assert (only.get("ORC", 1), only.get("OBR", 4)) == ("CA", "")


def test_steps_are_seen_one_at_a_time() -> None:
    (group,) = read(MSH, "ORC|NW|1", "OBR|1", "IPC|A|RP|1.2|S1", "IPC|A|RP|1.2|S2").order_groups()
    assert [group.with_only(ipc).get("IPC", 4) for ipc in group.segments("IPC")] == ["S1", "S2"]


OMG = MSH.replace("ORM^O01", "OMG^O19")


def test_a_pid_before_each_order_loses_no_order() -> None:
    m = read(MSH, "PID|1||P1", "ORC|NW|1", "OBR|1", "PID|1||P1", "ORC|NW|2", "OBR|1")
    assert [one.get("ORC", 2) for one in m.order_groups()] == ["1", "2"]


def test_what_follows_a_repeated_pid_is_lent_to_its_orders_alone() -> None:
    m = read(MSH, "PID|1||P1", "PV1|1|O", "ORC|NW|1", "PID|1||P1", "PV1|1|I", "NTE|1||note", "ORC|NW|2", "ORC|NW|3")
    groups = m.order_groups()
    assert [one.get("PV1", 2) for one in groups] == ["O", "I", "I"]
    assert [len(one.patient_notes) for one in groups] == [0, 1, 1]


def test_an_obr_behind_a_repeated_pid_borrows_no_orc() -> None:
    m = read(MSH, "PID|1||P1", "ORC|NW|1", "OBR|1", "PID|1||P1", "OBR|2")
    assert [one.get("ORC", 2) for one in m.order_groups()] == ["1", ""]


@pytest.mark.parametrize("control", ["ORC|PR|OLD", "ORC|RE|OLD", "ORC||OLD", "NTE|1"])
def test_prior_results_are_no_orders(control: str) -> None:
    m = read(OMG, "PID|1||P1", "ORC|NW|1", "OBR|1", "PID|1||P1", control, "OBR|9", "OBX|1")
    assert [one.get("ORC", 2) for one in m.order_groups()] == ["1"]
    assert m.prior_results == 1


def test_an_order_behind_a_repeated_pid_is_no_prior_result() -> None:
    m = read(OMG, "PID|1||P1", "ORC|NW|1", "OBR|1", "PID|1||P1", "ORC|NW|2", "OBR|1", "PID|1||P1", "ORC|CA|3")
    assert [one.get("ORC", 2) for one in m.order_groups()] == ["1", "2", "3"]


def test_the_header_of_bytes_that_do_not_decode() -> None:
    head = header_of(b"\r\n" + MSH.replace("C-1", "C\x1c\x0b-1").encode() + b"\rPID|\xff\xfe")
    assert (head.control_id, head.sending_application, head.event, head.accept_ack) == (
        "C-1",
        "RIS^1.2.3^ISO",
        "O01",
        "AL",
    )


def test_the_header_of_a_truncated_or_absent_msh() -> None:
    assert header_of(b"MSH|^~\\&|RIS|HO").sending_facility == "HO"
    assert [header_of(raw).usable for raw in (b"", b"MSH", b"MSH\r", b"PID|1")] == [False] * 4
    assert header_of(b"MSH|^~\\&|R\xc3\xa4|" + b"x" * 5000).sending_application == "R??"


def test_a_batch_is_cut_into_its_messages() -> None:
    batch = b"FHS|^~\\&|\rBHS|^~\\&|\rMSH|^~\\&|1\rPID|1\rMSH|^~\\&|2\rPID|MSH|3\rBTS|2\rFTS|1\r"
    assert split_batch(batch) == (b"MSH|^~\\&|1\rPID|1\r", b"MSH|^~\\&|2\rPID|MSH|3\r")
    assert split_batch(b"MSH|^~\\&|1\r") == (b"MSH|^~\\&|1\r",)


def everything(message: Message) -> int:
    seen = 0
    for segment in message.all_segments:
        for number in range(1, 6):
            seen += sum(len(one.get(1)) for one in segment.repetitions(number))
    return seen + len(message.order_groups())


@pytest.mark.parametrize("name", BAD_CASES)
def test_cost_is_linear(name: str) -> None:
    raw = BAD_CASES[name].encode()
    start = time.process_time()
    everything(Message.read(raw))
    assert time.process_time() - start < 2.0  # 0.01 to 0.4 s here; anything quadratic takes minutes


def test_control_characters_of_another_set_are_told() -> None:
    m = read(MSH, "NTE|1||Abdomen \x96 Pelvis", charset_default="UNICODE UTF-8")
    assert "control characters in it (U+0080 to U+009F): the sender took its text for another set" in m.warnings


# Lines that are not what they should be


@pytest.mark.parametrize("line", [" ORC|NW|1", "\tORC|NW|1", "orc|NW|1", " orc|NW|1"])
def test_an_indented_segment_or_one_in_small_letters_is_taken_and_told(line: str) -> None:
    m = read(MSH, "PID|1||P1", line)
    assert [one.name for one in m.all_segments] == ["MSH", "PID", "ORC"] and m.get("ORC", 1) == "NW"
    assert m.warnings == ("line 3: a segment that does not begin with its name in capitals: taken as one",)


@pytest.mark.parametrize(
    ("lines", "where", "number"),
    [
        (["PID|1||P1||DOE^JANE||19800101|FORC|NW|7"], "ORC", 2),
        (["PID|1||P1||DOE^JANE||19800101|F|ORC|NW|7"], "ORC", 2),
        (["PID|1||P1", "ORC|NW|7|||SC||OBR|1|7"], "OBR", 3),
        (["PID|1||P1", "ORC|NW|7", "OBR|1|7|||||CTZDS|1.2.3^100^Application^DICOM"], "ZDS", 4),
        (["PID|1||P1", "ORC|NW|7", "ZDS|1.2.3^100^Application^DICOMORC|NW|8"], "ORC", 4),
        (["PID|1||P1", "ORC|NW|7", "OBR|1IPC|A1^R|RP1|1.2.3|S1"], "IPC", 4),
        (["PID|1||P1", "ORC|NW|7TQ1|1||||||2026"], "TQ1", 3),
        (["EVN|A08PID|1||P1^^^H||DOE"], "PID", 2),
    ],
)
def test_a_glued_segment_refuses_the_message_with_its_line(lines: list[str], where: str, number: int) -> None:
    with pytest.raises(NotReadable, match=f"line {number}: ") as caught:
        read(MSH, *lines)
    assert (caught.value.where, caught.value.code) == (f"{where} line {number}", "hl7-segment-sequence")
    assert location_of(caught.value.where) == f"{where}^1"


def test_a_glued_segment_without_which_no_order_is_lost_is_told() -> None:
    m = read(MSH, "PID|1||P1", "ORC|NW|7", "OBR|1|7NTE|1||look")
    assert "line 4: it looks as if a segment NTE were glued to the OBR" in m.warnings


@pytest.mark.parametrize(
    "line",
    ["OBX|1|ST|x||RAPID|||F", "PV1|1|O|EPIC|x|1.2.3", "NTE|1||see ORC|x", "OBX|1|ST|x||CUPID||1^2", "ERR|ORC^1^2|OBR"],
)
def test_a_value_that_only_ends_like_a_segment_s_name_is_a_value(line: str) -> None:
    assert read(MSH, "PID|1||P1", line).warnings == ()


@pytest.mark.parametrize("junk", ["-- end of message --", "</hl7>", "EOF"])
def test_junk_behind_a_uid_or_an_ae_title_is_left_out(junk: str) -> None:
    m = read(MSH, "ORC|NW|7", "ZDS|1.2.3", junk)
    assert m.get("ZDS", 1) == "1.2.3"
    assert m.warnings == ("line 4 is not a segment, and no part of the ZDS before it: left out",)
    assert read(MSH, "ORC|NW|7", "IPC|A|RP|1.2|S1|CT||||CT1", junk).get("IPC", 9) == "CT1"


def test_a_uid_that_is_wrapped_is_not_made_whole_by_guess() -> None:
    assert read(MSH, "ORC|NW|7", "ZDS|1.2.3", "4.5^100").get("ZDS", 1) == "1.2.3\n4.5"
    assert read(MSH, "ORC|NW|7", "ZDS|1.2.3^100^", "Application^DICOM").get("ZDS", 1, 3) == "Application"


def test_many_false_traces_of_glued_segments_cost_no_more_than_their_length() -> None:
    read(MSH, "NTE|1||" + "IPC|ORC|PID|" * 100_000)


def test_a_nul_inside_a_message_is_left_out_and_told() -> None:
    m = read(MSH, "PID|1||1001||DO\x00E^JANE")
    assert (m.get("PID", 5), m.warnings) == ("DOE", ("NUL characters in it: left out",))


def test_an_escaped_nul_stays_as_it_was_written() -> None:
    assert read(MSH, r"NTE|1||a\X00\b").get("NTE", 3) == r"a\X00\b"
