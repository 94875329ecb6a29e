"""Study and order content for tests, and hypothesis strategies for any of it."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from bridge.domain.coding import Code
from bridge.domain.identity import Identifier, Issuer, Issuers
from bridge.domain.publication import OrderContent, SeriesContent, StudyContent
from bridge.workflow.ports import Reference

PATIENT, ENDPOINT = Reference("Patient", "p1"), Reference("Endpoint", "e1")
ISSUERS = Issuers(
    [Issuer("HOSPITAL", "HOSP", system="urn:oid:1.2.3.1"), Issuer("RIS", "RIS", "1.2.3.2", "ISO"), Issuer("LOCAL")]
)
UID = "1.2.840.99999.1.1"


def order(**changes: object) -> OrderContent:
    base: dict[str, object] = {
        "order_id": 1,
        "placer": Identifier("PL1", "HOSPITAL"),
        "filler": Identifier("FI1", "RIS"),
        "accession": Identifier("ACC1", "RIS"),
        "code": Code("24627-2", "LN", "CT Chest"),
        "description": "CT of the chest",
        "priority": "S",
        "status": "CM",
        "authored": datetime(2026, 11, 25, 8, 0, tzinfo=UTC),
    }
    return OrderContent(**{**base, **changes})  # type: ignore[arg-type]


def series(uid: str = UID + ".1", **changes: object) -> SeriesContent:
    base: dict[str, object] = {
        "uid": uid,
        "modality": "CT",
        "description": "Axial",
        "number": 1,
        "started": "2026-11-25T09:00:00+01:00",
        "instances": 3,
        "body_part": "CHEST",
        "laterality": "",
    }
    return SeriesContent(**{**base, **changes})  # type: ignore[arg-type]


def study(**changes: object) -> StudyContent:
    base: dict[str, object] = {
        "study_id": 1,
        "version": 1,
        "study_instance_uid": UID,
        "patient": (Identifier("4711", "HOSPITAL", "MR"),),
        "accessions": (Identifier("ACC1", "RIS"),),
        "started": "2026-11-25T09:00:00+01:00",
        "description": "CT Thorax",
        "modalities": ("CT", "SR"),
        "series": (series(), series(UID + ".2", modality="SR", number=-1, body_part="", description="")),
        "orders": (order(),),
    }
    return StudyContent(**{**base, **changes})  # type: ignore[arg-type]


_text = st.text(max_size=20) | st.sampled_from(["", " ", "a\u00a0b", "\x00", "\x85", "\ud800", "Müller^Jörg", "肺"])
_uids = st.lists(st.integers(0, 10**6), min_size=1, max_size=5).map(lambda p: "1.2." + ".".join(map(str, p)))
_issuers = st.sampled_from(["", "HOSPITAL", "RIS", "LOCAL", "ISO:1.2.3", "ISO:not an oid", "URI:x y"]) | _text
_identifiers = st.builds(Identifier, _text, _issuers, st.sampled_from(["", "MR", "PI"]))
_codes = st.builds(Code, _text, st.sampled_from(["", "LN", "SCT", "L", "99X"]) | _text, _text)
_times = (
    st.just("")
    | st.dates().map(str)
    | st.datetimes(timezones=st.just(UTC)).map(lambda t: t.isoformat(timespec="seconds"))
)
orders = st.builds(
    OrderContent,
    st.just(1),
    st.none() | _identifiers,
    st.none() | _identifiers,
    st.none() | _identifiers,
    st.none() | _codes,
    _text,
    st.sampled_from(["", "S", "HIGH", "?"]) | _text,
    st.sampled_from(["SC", "IP", "CM", "CA", "DC", "HD"]) | _text,
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
_series = st.builds(
    SeriesContent,
    _uids,
    st.sampled_from(["CT", "SR", "ct ", "ZZ"]) | _text,
    _text,
    st.none() | st.integers(),
    _times,
    st.integers(0, 10**6),
    st.sampled_from(["CHEST", "c spine", "KNEE"]) | _text,
    st.sampled_from(["R", "L", "B", "U", ""]) | _text,
)
studies = st.builds(
    StudyContent,
    st.just(1),
    st.just(1),
    _uids,
    st.just(()),
    st.lists(_identifiers, max_size=3).map(tuple),
    _times,
    _text,
    st.lists(st.sampled_from(["CT", "MR", "SR", "KO"]) | _text, max_size=3).map(tuple),
    st.lists(_series, max_size=3, unique_by=lambda s: s.uid).map(tuple),
    st.lists(orders, max_size=2).map(tuple),
    st.sampled_from(["registered", "available", "cancelled", "entered-in-error"]),
)
