"""Whatever keys a device sends: matches, no matches, or A900; and what matches is what the plain definition says.

The reference below is slow and separate: tables of dynamic programming, dates as numbers, loops over items.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from bridge.config import DicomPeer
from bridge.dicom import status
from bridge.dicom.model import KEY_TAGS, STEP, STEP_SEQUENCE, TOP
from bridge.dicom.notes import Notes
from bridge.dicom.worklist import Finder
from bridge.domain.identity import Identifier
from bridge.domain.keys import Kind
from bridge.domain.patient import PersonName
from bridge.domain.worklist import Matcher, Telling, WorklistEntry, WorklistKeys
from bridge.domain.worklist_attributes import ATTRIBUTES
from bridge.errors import BridgeError
from tests.unit.dicom.support import FakeServices, encoded
from tests.unit.dicom.worklist_cases import FULL, ISSUERS

IMPLICIT = "1.2.840.10008.1.2"
PEER = DicomPeer(ae_title="CT1")
ALLOWED = {0xFF00, 0xFF01, 0x0000, 0xA900}


def statuses(identifier: bytes) -> list[int]:
    services = FakeServices()
    services.worklist.entries = [FULL]
    finder = Finder(services.worklist, Notes(services.worklist, services.acquiring, services.broken), ISSUERS)
    event: Any = SimpleNamespace(
        request=SimpleNamespace(Identifier=BytesIO(identifier)),
        context=SimpleNamespace(transfer_syntax=IMPLICIT),
        is_cancelled=False,
    )
    try:
        answered = list(finder.answers(event, PEER, "CT1"))
    except BridgeError as fault:
        return [int(status.find_status(fault).Status)]
    for _, answer in answered:
        if answer is not None:
            encoded(answer)
    return [code for code, _ in answered if isinstance(code, int)] + [0]


SIGNS = st.text(st.sampled_from("aA1*?-.\\^=0 :~é山\0\n"), max_size=12) | st.text(max_size=300)
VALUES = SIGNS.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=40)
TAGS = [*TOP, *STEP, 0x00080005, 0x00080000, 0x00080052, 0x00081030, 0x00091001, STEP_SEQUENCE]
INNER = sorted({tag for row in (TOP | STEP).values() for tag in row.items} | {0x00080060, 0x00400001, 0x00400002})


def element(tag: int, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return b"".join(
        (
            (tag >> 16).to_bytes(2, "little"),
            (tag & 0xFFFF).to_bytes(2, "little"),
            len(value).to_bytes(4, "little"),
            value,
        )
    )


def item(elements: dict[int, bytes]) -> bytes:
    return element(0xFFFEE000, b"".join(element(tag, value) for tag, value in sorted(elements.items())))


LEAVES = st.dictionaries(st.sampled_from(INNER), VALUES, max_size=4)
ITEMS = st.recursive(
    LEAVES.map(item),
    lambda nested: st.dictionaries(st.sampled_from(INNER), VALUES | st.lists(nested, max_size=2).map(b"".join)).map(
        item
    ),
    max_leaves=4,
)
IDENTIFIERS = st.dictionaries(
    st.sampled_from(TAGS), VALUES | st.lists(ITEMS, max_size=2).map(b"".join), max_size=8
).map(lambda found: b"".join(element(tag, value) for tag, value in sorted(found.items())))


@given(IDENTIFIERS)
@example(element(0x00101030, b"sNaN"))
@example(element(0x00101030, b"1e999"))
@example(element(0x001021C0, b"1"))
@example(element(0x00101002, item({0x00100024: item({}) * 2})))
@example(element(0x00080005, b"ISO_IR 192") + element(0x00100010, b"\xff\xfe"))
def test_any_keys_are_answered_or_refused(identifier: bytes) -> None:
    assert set(statuses(identifier)) <= ALLOWED


# -- the plain definition -----------------------------------------------------------------------------------------


def like(pattern: str, value: str) -> bool:
    row = [True] + [False] * len(value)
    for sign in pattern:
        if sign == "*":
            for at in range(1, len(row)):
                row[at] = row[at] or row[at - 1]
        else:
            row = [False, *(row[at] and sign in ("?", value[at]) for at in range(len(value)))]
    return row[-1]


def text_says(key: str, value: str) -> bool:
    key, value = key.strip(), value.strip()
    return set(key) <= {"*"} or (bool(value) and like(key, value))


def texts_say(key: str, values: Any) -> bool:
    several = [part for part in key.split("\\") if part.strip()] or [""]
    return any(
        text_says(one, value)
        for one in several
        for value in (values if isinstance(values, tuple) else (values,)) or ("",)
    )


def name_says(key: str, name: PersonName) -> bool:
    """Of plain letters."""
    if not key.strip(" *^="):
        return True
    groups = [name.alphabetic, name.ideographic, name.phonetic]
    asked = key.split("=")[:3]
    pairs = [(asked[0], group) for group in groups] if len(asked) == 1 else list(zip(asked, groups, strict=False))
    real = pairs if len(asked) == 1 else [pair for pair in pairs if pair[0].strip(" *^")]
    return (any if len(asked) == 1 else all)(group_says(*pair) for pair in real)


def group_says(key: str, group: str) -> bool:
    key, group = ("^".join(part.strip().lower() for part in text.split("^")).rstrip("^") for text in (key, group))
    shorter = [key]
    while shorter[-1].endswith("^*"):
        shorter.append(shorter[-1][:-2].rstrip("^"))
    return bool(group) and any(like(one, group) for one in shorter)


def moments_say(date_key: str, time_key: str, date: str, time: str) -> bool:
    def seconds(text: str, fill: str) -> int:
        return int((text + fill[len(text) :])[:6])

    def ends(key: str) -> tuple[str, str]:
        low, dash, high = key.partition("-")
        return (low, high) if dash else (key, key)

    (first, last), (early, late) = ends(date_key), ends(time_key)
    if "-" in date_key and "-" in time_key:
        at = (int(date), seconds(time, "000000")) if date else None
        if at is None:
            return False
        after = not first or (int(first), seconds(early, "000000")) <= at
        return after and (not last or at <= (int(last), seconds(late, "235959")))
    days = not date_key or (bool(date) and (not first or first <= date) and (not last or date <= last))
    if not time_key:
        return days
    at_time = seconds(time, "000000") if time else None
    return (
        days
        and at_time is not None
        and (not early or seconds(early, "000000") <= at_time)
        and (not late or at_time <= seconds(late, "235959"))
    )


def items_say(key: Any, stored: tuple[Any, ...], kinds: Any) -> bool:
    def one(inner: Any, value: Any, kind: Any) -> bool:
        if isinstance(kind, Kind):
            return texts_say(inner, value)
        return not real(inner) or items_say(inner, value, kind)

    def real(inner: Any) -> bool:
        return any(real(sub) if isinstance(sub, tuple) else not texts_say(sub, "") for _, sub in inner)

    if not real(key):
        return True
    return any(all(one(sub, found.get(name, ""), kinds[name]) for name, sub in key) for found in stored)


def says(keys: WorklistKeys, entry: WorklistEntry) -> bool:
    for name, attribute in ATTRIBUTES.items():
        key: Any = getattr(keys, name)
        value = (attribute.sought or attribute.told)(entry, ISSUERS)
        match attribute.kind:
            case Kind.ITEMS:
                found = items_say(key, value, attribute.items)
            case Kind.NAME:
                found = name_says(key, value)
            case Kind.UIDS:
                found = not key or value in key
            case Kind.NUMBER:
                found = not key or (bool(value) and Decimal(key) == Decimal(value))
            case Kind.DATE | Kind.TIME if name.startswith("start_"):
                found = moments_say(keys.start_date, keys.start_time, entry.start_date, entry.start_time)
            case Kind.DATE:
                found = not key or moments_say(key, "", value, "")
            case _:
                found = texts_say(key, value)
        if not found:
            return False
    return True


WORDS = st.text("abA*?", max_size=4)
STORED = st.text("abA", max_size=4)
NAMES = st.text("abA^ ", max_size=5)
DAYS = st.sampled_from(["", "20250101", "20250102", "20250103"])
TIMES = st.sampled_from(["", "0900", "1000", "1001", "235959"])
MOMENTS = TIMES.map(lambda time: (time + "0000")[:6] if time else "")


def ranges(ends: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return ends | st.tuples(ends, ends).filter(any).map("-".join)


LISTS = st.lists(WORDS, max_size=2).map("\\".join)
CODE_KEYS = st.dictionaries(st.sampled_from(["code", "scheme"]), LISTS).map(lambda found: tuple(found.items()))
ID_KEYS = st.dictionaries(st.sampled_from(["patient_id", "issuer"]), LISTS).map(lambda found: tuple(found.items()))
KEYS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("modality", "step_description", "allergies", "station_ae_title", "patient_location"), LISTS),
        **{
            name: NAMES.flatmap(lambda n: st.sampled_from([n, n + "*", f"={n}*", n.replace("b", "?")]))
            for name in ("patient_name",)
        },
        "birth_date": ranges(DAYS),
        "start_date": ranges(DAYS),
        "start_time": ranges(TIMES),
        "patient_weight_kg": st.sampled_from(["70", "70.0", "+70", "71"]),
        "study_instance_uids": st.lists(st.sampled_from(["1.2", "1.3"]), max_size=2).map(tuple),
        "protocol_codes": CODE_KEYS,
        "other_patient_ids": ID_KEYS,
    },
)
CODES = st.builds(lambda value, scheme: type(FULL.protocol_codes[0])(value, scheme, ""), STORED.filter(bool), STORED)
ENTRIES = st.builds(
    lambda **fields: replace(FULL, **fields),
    modality=STORED,
    step_description=STORED,
    patient_location=STORED,
    allergies=st.lists(STORED, max_size=2).map(tuple),
    station_ae_titles=st.lists(STORED, max_size=2).map(tuple),
    patient_name=st.builds(PersonName.from_dicom, st.lists(NAMES, max_size=3).map("=".join)),
    birth_date=DAYS,
    start_date=DAYS,
    start_time=MOMENTS,
    patient_weight_kg=st.sampled_from(["", "70", "70.0", "heavy"]),
    study_instance_uid=st.sampled_from(["1.2", "1.4"]),
    protocol_codes=st.lists(CODES, max_size=2).map(tuple),
    other_patient_ids=st.lists(st.builds(Identifier, STORED.filter(bool), STORED), max_size=2).map(tuple),
)


@given(KEYS, ENTRIES)
def test_what_matches_is_what_the_plain_definition_says(asked: dict[str, Any], entry: WorklistEntry) -> None:
    keys = WorklistKeys(**asked)
    assert Matcher(keys, Telling(ISSUERS)).matches(entry) is says(keys, entry)


@given(KEYS, ENTRIES)
def test_no_failing_key_is_a_match_and_each_names_a_tag(asked: dict[str, Any], entry: WorklistEntry) -> None:
    wanted = Matcher(WorklistKeys(**asked), Telling(ISSUERS))
    failing = list(wanted.failing(entry))
    assert wanted.matches(entry) is (failing == [])
    assert set(failing) <= set(KEY_TAGS)


def test_the_reference_refuses_what_it_should() -> None:
    """A reference that says yes to everything would agree with a matcher that does."""
    assert not says(WorklistKeys(modality="MR"), FULL)
    assert not says(WorklistKeys(protocol_codes=(("code", "P1"), ("scheme", "P2"))), FULL)
    assert says(WorklistKeys(), FULL)
