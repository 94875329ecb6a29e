"""The conformance statement for HL7 v2, written from the tables that run, so that it cannot say what they do not.

Versions, events, fields, character sets, codes, limits and what goes out are asked of the code itself; what goes out is
read from messages that `write_telling` makes. `docs/conformance-hl7.md` is this text for the shipped mappings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from string import ascii_uppercase
from typing import get_args

from bridge.config import Feed
from bridge.domain.appointment import BOOKED
from bridge.domain.appointment import EVENTS as APPOINTMENT_EVENTS
from bridge.domain.lifecycle import Action, action_of
from bridge.domain.report import STATUSES
from bridge.errors import TooLarge
from bridge.hl7 import charset
from bridge.hl7.ack import BY_CLASS, BY_CODE, MEANINGS, AckCode, Level, answers
from bridge.hl7.listener import ListenerLimits
from bridge.hl7.mllp import CR, END, START
from bridge.hl7.order_groups import MOST_OF_ONE_ORDER
from bridge.hl7.read import MOST_STEPS, ORDER_EVENTS, ORDER_TYPES, REPORT_EVENTS
from bridge.hl7.read_patients import MERGES, MOST_PAIRS, PATIENT_EVENTS, SUBORDINATE, VISITS
from bridge.hl7.read_results import _MEASURES, _TAKEN_BACK, _TEXTS
from bridge.hl7.read_schedule import MOST_SLOTS
from bridge.hl7.statement_out import lines_out
from bridge.mapping import Mappings
from bridge.mapping.apply import Rule, Section
from bridge.mapping.compile import DISCONTINUATION
from bridge.mapping.transforms import MOST_IDENTIFIERS
from bridge.markdown import code, table
from bridge.tls import CIPHERS
from bridge.workflow.visits import RENAMES

STRUCTURES = {
    **dict.fromkeys(("A01", "A04", "A08", "A13"), "ADT_A01"), "A02": "ADT_A02", "A03": "ADT_A03",
    **dict.fromkeys(("A05", "A28", "A31"), "ADT_A05"), **dict.fromkeys(("A06", "A07"), "ADT_A06"),
    **dict.fromkeys(("A09", "A10", "A11"), "ADT_A09"), "A12": "ADT_A12", "A18": "ADT_A18",
    **dict.fromkeys(("A23", "A29"), "ADT_A21"), "A24": "ADT_A24",
    **dict.fromkeys(("A34", "A36", "A47", "A49"), "ADT_A30"), "A37": "ADT_A37", "A38": "ADT_A38",
    **dict.fromkeys(("A40", "A41", "A42"), "ADT_A39"), **dict.fromkeys(("A43", "A44"), "ADT_A43"),
    "A45": "ADT_A45", "A60": "ADT_A60", **dict.fromkeys(("A50", "A51"), "ADT_A50"),
    "O01": "ORM_O01", "O19": "OMG_O19", "O23": "OMI_O23", "R01": "ORU_R01",
    **dict.fromkeys(("S12", "S13", "S14", "S15", "S17", "S26"), "SIU_S12"),
}  # fmt: skip
"""Table 0354: what MSH-9.3 says of an event. It is told to readers and asked of no sender."""

CHARSET_NAMES = (
    "ASCII", "8859/1", "8859/2", "8859/3", "8859/4", "8859/5", "8859/6", "8859/7", "8859/8", "8859/9", "8859/15",
    "ISO IR14", "ISO IR87", "ISO IR159", "KS X 1001", "GB 18030-2000", "UNICODE UTF-8", "BIG-5",
    *(f"windows-{page}" for page in range(1250, 1259)),
)  # fmt: skip
"""Table 0211's own spelling of the sets of `charset`, which knows them without blanks and marks; the last are not in
it."""

_WHAT: dict[str, str] = {
    **dict.fromkeys(("A03", "A11", "A38"), "patient and visit; open orders of the visit stay, with a warning"),
    "A60": "the allergies of the patient's open orders, by IAM-6: D takes away, anything else adds",
    "A47": "the identifier of the patient is replaced; refused when it is another patient's",
    "A43": "an identifier moves to the patient in PID",
    "A44": "an account with its orders moves to the patient in PID",
    "A45": "a visit with its orders moves to the patient in PID",
    "A24": "two records of one person are linked; nothing moves",
    "A37": "the link is undone",
    "A10": "patient and visit; the visit's scheduled steps become ARRIVED",
    "A09": "patient and visit; the visit's ARRIVED steps become DEPARTED, and stay on the worklist",
    "A36": "the patient in MRG is merged into the one in PID, and the account in MRG into that in PID",
}


def statement(mappings: Mappings) -> str:
    """The whole statement as Markdown, for a feed with the settings it has when nothing is said.

    The settings that a site may change are named beside their values.
    """
    feed = Feed(name="default")
    chapters = (
        ("Scope and versions", _scope(feed)),
        ("Messages in", _messages()),
        ("Segments and fields", _fields(mappings)),
        ("Character sets", _charsets()),
        ("Acknowledgements", _acknowledgements(feed)),
        ("Limits", _limits(feed)),
        ("Messages out", lines_out()),
        ("Transport", _transport(feed)),
    )
    lines = [
        "# HL7 v2 conformance statement",
        "",
        "Written by `bridge mappings statement` from the tables that run; a test fails when they differ. Do not edit.",
    ]
    for number, (title, text) in enumerate(chapters, 1):
        lines += ["", f"## {number}. {title}", "", *text]
    return "\n".join(lines) + "\n"


def _scope(feed: Feed) -> list[str]:
    versions = ", ".join(f"{one}.x" if "." not in one else one for one in feed.versions)
    return [
        "Imaging Bridge takes orders, patients, appointments and reports, and tells the status of orders. Structures "
        "and clauses are those of HL7 v2.5.1; IHE RAD-1, RAD-2, RAD-3, RAD-4, RAD-12, RAD-13 and RAD-48.",
        "",
        f"- Versions taken (MSH-12): {versions}, and an empty MSH-12. A feed may take fewer (`versions`).",
        f"- Processing ids taken (MSH-11): {_list(feed.processing_ids)} (`processing_ids`).",
        "- Encoding: bars, with the delimiters that MSH-1 and MSH-2 name. XML encoding is not taken.",
        "- Segments are found by name. MSH-9.3 is not looked at. What is not listed here is kept with the message and "
        "not read; Z-segments other than ZDS among it.",
        '- An empty field changes nothing; `""` deletes.',
    ]


def _messages() -> list[str]:
    orders = [
        (code(f"{kind}^{event}"), STRUCTURES[event], "orders, by ORC-1 (below)")
        for kind, event in (("ORM", "O01"), ("OMG", "O19"), ("OMI", "O23"))
        if kind in ORDER_TYPES and event in ORDER_EVENTS
    ]
    reports = [
        (code(f"ORU^{event}"), STRUCTURES[event], "one report for each order number, by OBR-25 (below)")
        for event in sorted(REPORT_EVENTS - {""})
    ]
    appointments = [
        (code(f"SIU^{event}"), STRUCTURES[event], _appointment(event)) for event in sorted(APPOINTMENT_EVENTS)
    ]
    patients = [(code(f"ADT^{event}"), STRUCTURES[event], _patient(event)) for event in sorted(PATIENT_EVENTS)]
    return [
        *table(("Event", "Structure", "Effect"), [*orders, *reports, *appointments, *patients]),
        "",
        f"Any of {_list(sorted(ORDER_TYPES))} is taken with any of {_list(sorted(ORDER_EVENTS - {''}))} or without an "
        "event: the segments say which it is. ORU may come without an event; ADT without one is read by EVN-1. Other "
        "events of ADT and SIU are accepted without effect. Any other type or event is refused (chapter 5).",
        "",
        "### Order control (ORC-1)",
        "",
        *table(("ORC-1", "Effect on the order"), _controls()),
        "",
        "A word that is neither in table 0119 nor in the code table `order_control` is refused with "
        f"{MEANINGS[BY_CODE['table-value'][1]].lower()}. ORC-5 is read by the code table `order_status`.",
        "",
        "### Reports",
        "",
        f"- OBR-25, from the least to the most final: {_list(STATUSES)}. Any other value is refused.",
        f"- OBX-2 read as text: {_list(sorted(_TEXTS - {''}))} or empty; as measures: {_list(sorted(_MEASURES))}; ED "
        "as an embedded document (OBX-5.4 Base64, Hex or A). RP is not fetched.",
        f"- An OBX whose OBX-11 is {_list(sorted(_TAKEN_BACK))} is left out.",
    ]


def _controls() -> list[tuple[str, str]]:
    codes = ["".join(pair) for pair in product(ascii_uppercase, repeat=2)]
    return [(_list(one for one in codes if action_of(one) is action), action.value) for action in Action]


def _appointment(event: str) -> str:
    return "the order's steps are due at the time told" if event in BOOKED else "the order's steps leave the worklist"


def _patient(event: str) -> str:
    needs = f"; needs {SUBORDINATE[event]}" if event in SUBORDINATE else ""
    if event in _WHAT:
        return _WHAT[event] + needs
    if event in MERGES:
        return "the patient in MRG is merged into the one in PID" + needs
    if event in RENAMES:
        return (
            f"the {'alternate visit' if RENAMES[event] == 'alternate' else RENAMES[event]} number is replaced" + needs
        )
    return "patient and visit; open orders of the visit follow" if event in VISITS else _person(event)


def _person(event: str) -> str:
    return "nothing is deleted: open sessions of the patient end" if event in ("A23", "A29") else "patient"


def _fields(mappings: Mappings) -> list[str]:
    sections = [one for name in Mappings.__slots__ if isinstance(one := getattr(mappings, name), Section)]
    lines = [
        "The first place that holds something wins. R: empty refuses the message. R or 1: a value that cannot be "
        "used, or the null, refuses the message; elsewhere it is left out with a warning. A site may overlay each "
        "row (docs/mapping.md).",
        "",
        *table(("Segment", "Fields read by the mappings"), _by_segment(sections)),
        "",
        "Read beside them: MSH-1 to 7, 9 to 13, 15, 16, 18; EVN-1; OBX-2 to 6 and 11 and NTE-3 of reports; FHS, BHS, "
        "BTS and FTS of batches.",
    ]
    for section in sections:
        file = section.rules[0].mark.file if section.rules else ""
        rows = [_row(rule) for rule in section.rules]
        head = ("Field of ours", "From", "As", "Code table", "Use", "Source")
        lines += ["", f"### {section.name.capitalize()} (`{file}`)", "", *table(head, rows)]
    lines += ["", "### Code tables", "", "Case and padding do not count.", ""]
    return lines + table(("Table", "Sent = ours", "Any other value", "Source"), _tables(mappings))


def _row(rule: Rule) -> tuple[str, ...]:
    use = " ".join([*(["R"] if rule.required else []), *(["1"] if rule.type_1 else [])])
    return (
        code(rule.name), ", ".join(str(path) for path, _ in rule.paths), code(rule.as_name),
        code(rule.table.name) if rule.table else "", use, rule.source,
    )  # fmt: skip


def _by_segment(sections: Iterable[Section]) -> list[tuple[str, str]]:
    found: dict[str, set[int]] = {}
    for section in sections:
        for rule in section.rules:
            for path, _ in rule.paths:
                found.setdefault(path.segment, set()).add(path.field)
    return [(name, ", ".join(map(str, sorted(found[name])))) for name in sorted(found)]


def _tables(mappings: Mappings) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, one in sorted(mappings.tables.items()):
        if name == DISCONTINUATION:  # a device's words, not a feed's
            continue
        pairs = ", ".join(f"{row.sent or '(empty)'} = {row.ours or '(empty)'}" for row in one.rows)
        rows.append((code(name), pairs, "kept" if one.keep_unknown else "empty", one.source))
    return rows


def _charsets() -> list[str]:
    rows = []
    for name in CHARSET_NAMES:
        terms = charset.read_character_set([name]).dicom_terms
        also = sorted(alias for alias, key in charset._ALIASES.items() if key == charset._key(name))
        rows.append((name, ", ".join(also), "\\".join(terms) or "(absent)"))
    return [
        *table(("MSH-18", "Also", "DICOM (0008,0005) when alone"), rows),
        "",
        "- Case, blanks, `-`, `_` and `/` in the name do not count. An empty MSH-18 is ASCII, or the feed's "
        "`charset_default`, or UTF-8 after a byte order mark; `charset_override` beats MSH-18.",
        "- Repetitions of MSH-18 are switched to by ISO 2022 escapes (PS3.5 6.1.2.5). UTF-8, GB 18030 and Big5 stand "
        "alone, and so do the Windows pages, which are not in table 0211; ASCII beside them is part of them.",
        f"- UTF-16, UTF-32, CNS 11643 and sets that cannot be combined: {_answer(charset.REFUSED)}. A byte that the "
        "set does not hold (also 80 to 9F in a set of 8859), or a name that is not known: "
        f"{_answer(charset.UNDECODABLE)}. Nothing is replaced.",
    ]


def _answer(word: str) -> str:
    found, number = BY_CODE[word]
    return f"{found}, {number}"


def _acknowledgements(feed: Feed) -> list[str]:
    codes = [
        (f"{found} / {found.accept}", str(number), MEANINGS[number], what) for found, number, what in _conditions()
    ]
    return [
        "An acknowledgement is ACK with the sender's delimiters and version, ASCII, fields by name and never by "
        "value. A positive one leaves after the commit of the message.",
        "",
        "### Modes",
        "",
        "- Original (2.9.2): MSH-15 and MSH-16 are empty; one application acknowledgement "
        f"({_list(one for one in AckCode if one.value[0] == 'A')}).",
        "- Enhanced (2.9.3): one of them is valued; the accept acknowledgement "
        f"({_list(one for one in AckCode if one.value[0] == 'C')}) first, then the application acknowledgement, on "
        f"the same connection. An empty one beside a valued one counts as {feed.empty_ack_mode} (`empty_ack_mode`).",
        "",
        *table(("MSH-15 or MSH-16", "Accepted", "Not accepted"), _modes(feed)),
        "",
        "### Codes",
        "",
        *table(
            ("MSA-1", "ERR-3 (table 0357)", "Meaning", "Condition"),
            [
                ("AA / CA", "", MEANINGS[0], "stored, also when it waits for a person"),
                ("AA / CA", "0, severity W", MEANINGS[0], "stored, with a warning"),
                *codes,
            ],
        ),
        "",
        f"- Unsupported type, event, processing id and version: {feed.unsupported}, or AA by `unsupported`. A change "
        f"or status of an order that was never seen: {feed.unknown_order} with 204 (`unknown_order`), a cancel of one: "
        "AA with 204. Both are kept with whatever answer, and hold when the order comes.",
        "- Before v2.5 the fault stands in ERR-1 and MSA-3; since, in an ERR segment each (ERR-2, 3, 4, 7, 8).",
        "- A resend (same MSH-3, MSH-4, MSH-10 and bytes) gets the stored answer, byte for byte.",
        f"- Batches: answered as `batch_answer` says ({_list(_choices(feed, 'batch_answer'))}; {feed.batch_answer} "
        "unless told otherwise).",
        "",
        "### When there is no answer",
        "",
        "- The store did not take the message: the connection ends, and the sender resends"
        + (' (AR 207 with `on_store_failure = "nak"`).' if feed.on_store_failure == "drop" else "."),
        '- No MSH: AR with MSA-2 empty, or the connection ends by `no_header = "close"`.',
        "- MSH-15 and MSH-16 ask for none (NE; ER after success; SU after an error).",
        "- A broken or unfinished frame; an answer later than `ack_seconds`. A message that is too large is answered "
        f"{AckCode.AE} (enhanced mode: {AckCode.CE}) {BY_CLASS[TooLarge][1]}, and the connection ends.",
    ]


def _choices(feed: Feed, name: str) -> Sequence[str]:
    return get_args(type(feed).model_fields[name].annotation)


def _modes(feed: Feed) -> list[tuple[str, str, str]]:
    def told(value: str, ok: bool) -> str:
        return "sent" if Level.ACCEPT in answers(value, "NE", ok, when_empty=feed.empty_ack_mode) else "not sent"

    rows = [(value, told(value, True), told(value, False)) for value in ("AL", "NE", "ER", "SU")]
    return [*rows, ("anything else", told("?", True), told("?", False))]


def _conditions() -> list[tuple[AckCode, int, str]]:
    """What is answered with an error: by class, then by the codes that say more, in the order of table 0357."""
    by_class = [(found, number, f"{kind.__name__} (`{kind.code}`)") for kind, (found, number) in BY_CLASS.items()]
    by_code = [(found, number, code(word)) for word, (found, number) in BY_CODE.items()]
    grouped: dict[tuple[AckCode, int], list[str]] = {}
    for found, number, what in (*by_code, *by_class):
        grouped.setdefault((found, number), []).append(what)
    ordered = sorted(grouped.items(), key=lambda item: (item[0][1], item[0][0]))
    return [(found, number, ", ".join(words)) for (found, number), words in ordered]


def _limits(feed: Feed) -> list[str]:
    send = ListenerLimits()
    return table(
        ("Limit", "Value", "Setting"),
        [
            ("one message", f"{feed.max_message_bytes} bytes", code("max_message_bytes")),
            ("steps in one order message", str(MOST_STEPS), ""),
            ("steps under one order number of a message", str(MOST_OF_ONE_ORDER), ""),
            ("orders or services in one appointment", str(MOST_SLOTS), ""),
            ("identifiers in PID-3, in MRG-1", str(MOST_IDENTIFIERS), ""),
            ("patients in one merge message", str(MOST_PAIRS), ""),
            ("connections of a feed", str(feed.max_connections), code("max_connections")),
            ("connections of an address", str(feed.max_connections_per_address), code("max_connections_per_address")),
            ("messages a second of an address (0: any)", f"{feed.max_messages_per_second:g}",
             code("max_messages_per_second")),
            ("first byte of a message to its last", f"{feed.message_seconds:g} s", code("message_seconds")),
            ("a silent connection", f"{feed.idle_seconds:g} s", code("idle_seconds")),
            ("last byte to the answer", f"{feed.ack_seconds:g} s", code("ack_seconds")),
            ("TLS handshake", f"{feed.handshake_seconds:g} s", code("handshake_seconds")),
            ("a peer that does not take its answer", f"{send.send_seconds:g} s", ""),
        ],
    )  # fmt: skip


def _transport(feed: Feed) -> list[str]:
    return [
        f"- MLLP release 1 over TCP: 0x{START:02X}, message, 0x{END:02X} 0x{CR:02X}. Without the last a "
        f"message is {'taken' if feed.lenient_framing else 'not taken'} (`lenient_framing`). Port {feed.port} and "
        f"{feed.host} unless told otherwise.",
        "- Connections are kept; the messages of one are answered in their order.",
        "- TLS for feeds: 1.2 or later; suites of TLS 1.2 "
        f"`{CIPHERS}`, no renegotiation. Client certificates are asked for with `tls_client_ca_file`"
        f"{' and then required' if feed.tls_client_required else ''} (`tls_client_required`); `tls_client_crl_file` "
        "names the revoked ones.",
        "- TLS for destinations: 1.2 or later; the receiver's certificate and name are checked against "
        "`tls_ca_file`; a client certificate is shown when one is set.",
        "- Without TLS only loopback is listened on or sent to, unless `plaintext = true`.",
        "- `allow_from` and `[[hl7.feed.sender]]` bind addresses and certificates to MSH-3 and MSH-4; another sender "
        f"gets {_answer('sender-not-allowed')}.",
        "- MSH-13 is counted with `sequence_numbers = true` (2.10.1); a message out of turn gets "
        f"{_answer('out-of-sequence')}.",
    ]


def _list(values: Iterable[str]) -> str:
    return ", ".join(values)
