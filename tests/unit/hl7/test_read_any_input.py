"""No input raises, warnings and refusals repeat nothing of a patient, and the work for a message is bounded."""

from __future__ import annotations

import random
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.domain.identity import Issuers
from bridge.errors import BadInput
from bridge.hl7.explain import explain
from bridge.hl7.message import Message
from bridge.hl7.read import read_message
from bridge.mapping import MappingContext, Mappings, default_directory
from bridge.mapping.explain import render
from tests.unit.hl7.bad_cases import BAD_CASES


def is_one_message(raw: bytes) -> bool:
    """With the usual delimiters, so that it can be damaged by them."""
    try:
        return Message.read(raw, charset_override="UNICODE UTF-8").get("MSH", 1) == "|"
    except BadInput:
        return False


CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "corpus" / "hl7").glob("*.hl7"))]
RAW = [raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r") for raw in CORPUS if is_one_message(raw)]
MAPPINGS = Mappings.load(default_directory(), None, MappingContext(ZoneInfo("America/New_York"), Issuers(())))
PIECES = st.one_of(
    st.sampled_from(
        ['""', "", "^", "&&&", "~~", "\\E\\", "\\X41\\", "=", "1^^^99991231235959-1400", "00010101+1400", "20260230"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    lines = draw(st.sampled_from(RAW)).decode("utf-8").rstrip("\r").split("\r")
    for _ in range(draw(st.integers(1, 6))):
        index = draw(st.integers(1, len(lines) - 1))
        fields = lines[index].split("|")
        fields[draw(st.integers(0, len(fields) - 1))] = draw(PIECES)
        lines[index] = "|".join(fields)
    order = draw(st.randoms(use_true_random=False))
    rest = lines[1:]
    if draw(st.booleans()):
        order.shuffle(rest)
    return "\r".join([lines[0], *rest]).encode("utf-8")


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_a_damaged_message_is_read_or_refused_and_never_raises(raw: bytes) -> None:
    try:
        message = Message.read(raw, charset_override="UNICODE UTF-8")
    except BadInput:
        return
    reading = read_message(message, MAPPINGS)
    assert reading.refusal is None or reading.orders == ()
    render(explain(raw, MAPPINGS, charset_override="UNICODE UTF-8"), empty=True)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RAW), st.integers(0, 2**32))
def test_what_is_said_of_a_message_holds_none_of_its_values(raw: bytes, seed: int) -> None:
    lines = raw.decode("utf-8").rstrip("\r").split("\r")
    chance = random.Random(seed)
    for _ in range(4):
        index = chance.choice([i for i, line in enumerate(lines) if i and "|" in line])
        fields = lines[index].split("|")
        fields[chance.randrange(1, len(fields))] = "Secret" * chance.randint(1, 20)
        lines[index] = "|".join(fields)
    reading = read_message(Message.read("\r".join(lines).encode(), charset_override="UNICODE UTF-8"), MAPPINGS)
    assert "Secret" not in " ".join(reading.warnings) + str(reading.refusal)


@pytest.mark.parametrize("name", BAD_CASES)
def test_a_bad_message_costs_little(name: str) -> None:
    raw = BAD_CASES[name].encode()
    before = time.process_time()
    read_message(Message.read(raw), MAPPINGS)
    assert time.process_time() - before < 1.5  # 0.02 to 0.35 s here (goal: 0.5 s); anything quadratic takes minutes


def test_two_hundred_messages_take_less_than_half_a_second_of_the_processor() -> None:
    raw = max(RAW, key=len)
    before = time.process_time()
    for _ in range(200):
        read_message(Message.read(raw), MAPPINGS)
    assert time.process_time() - before < 0.5  # 0.06 s here
