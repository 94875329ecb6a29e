"""`bridge messages`: list, show, replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bridge.cli import main
from bridge.hl7.mllp import write_frame
from tests.faults.feed_site import feed_site, orm

CONFIG = """
data = "."
[[issuer]]
name = "HOSP"
namespace = "HOSP"
[[issuer]]
name = "RIS"
namespace = "RIS"
[[hl7.feed]]
name = "ris"
port = 0
processing_ids = [{modes}]
"""
STATION = '[[station]]\nae_titles = ["US1"]\nmodality = "US"\n[[station]]\nae_titles = ["CT1"]\nmodality = "CT"\n'
Bridge = Callable[..., Result]


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """The command line upon four messages: applied, refused, parked, and one whose frame had a wrong end."""
    with feed_site(tmp_path, processing_ids=("P",)) as site:
        site.say(orm("C1", placer="P1"))
        odd = orm("C2", placer="P2", processing="T", name="MULLER^J\\T\\J").replace(b"CT head", rb"CT\X08\head")
        site.say(odd)
        site.say(orm("C3", placer="P3", modality="US"))
        sender = site.connect()
        sender.put(write_frame(orm("C4", placer="P4"))[:-1] + b"\x00")
        assert sender.ended
    config = tmp_path / "bridge.toml"

    def run(*arguments: str, modes: str = '"P"', stations: bool = False) -> Result:
        config.write_text(CONFIG.format(modes=modes) + (STATION if stations else STATION[STATION.index("[[", 5) :]))
        return CliRunner().invoke(main, ["--config", str(config), "messages", *arguments])

    yield run


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def fates(bridge: Bridge) -> dict[int, str]:
    return {row["id"]: row["fate"] for row in told(bridge("list", "--json"))}


def test_messages_are_listed_newest_first(bridge: Bridge) -> None:
    rows = told(bridge("list", "--json"))
    assert [(row["id"], row["fate"]) for row in rows] == [
        (4, "quarantined"), (3, "parked"), (2, "refused"), (1, "applied"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--errors"], [4, 3, 2]),
        (["--fate", "refused"], [2]),
        (["--fate", "refused", "--fate", "applied"], [2, 1]),
        (["--feed", "ris", "--limit", "2"], [4, 3]),
        (["--feed", "lab"], []),
        (["--since", "1m"], [4, 3, 2, 1]),
    ],
)
def test_the_list_can_be_narrowed(bridge: Bridge, options: list[str], numbers: list[int]) -> None:
    assert [row["id"] for row in told(bridge("list", "--json", *options))] == numbers


def test_a_line_tells_fate_answer_and_reason(bridge: Bridge) -> None:
    line = bridge("list", "--fate", "refused").output
    assert all(word in line for word in ("C2", "refused", "AR", "unsupported-processing-id MSH-11"))


def test_a_message_is_shown_by_name_with_escapes_decoded_and_control_bytes_visible(bridge: Bridge) -> None:
    text = bridge("show", "2").output
    assert "PID  Patient" in text
    assert "Patient name" in text
    assert "MULLER^J&J" in text
    assert "CT\\x08head" in text
    assert "\x08" not in text


def test_the_answer_that_was_given_is_shown(bridge: Bridge) -> None:
    shown = told(bridge("show", "2", "--json"))
    ((_, msa, *_),) = shown["answers"]
    assert (msa["segment"], msa["fields"][0]["value"]) == ("MSA", "AR")


def test_raw_gives_the_bytes(bridge: Bridge) -> None:
    assert bridge("show", "1", "--raw").stdout_bytes == orm("C1", placer="P1")


def test_looking_at_a_message_is_audited(bridge: Bridge, tmp_path: Path) -> None:
    bridge("show", "1")
    with feed_site(tmp_path) as site:
        assert [row.subject for row in site.rows("audit") if row.action == "message-read"] == ["message:1"]


def test_a_message_that_is_not_there_is_told_in_words(bridge: Bridge) -> None:
    result = bridge("show", "99")
    assert (result.exit_code, "no such message" in result.output) == (1, True)


def test_without_yes_nothing_changes(bridge: Bridge) -> None:
    before = fates(bridge)
    result = bridge("replay", "--fate", "refused", "--since", "7d", modes='"P", "T"')
    assert "refused → applied" in result.output
    assert "1 would change (nothing was: --yes does it)" in result.output
    assert fates(bridge) == before


def test_with_yes_what_was_refused_is_applied(bridge: Bridge) -> None:
    bridge("replay", "--fate", "refused", "--yes", modes='"P", "T"')
    assert fates(bridge)[2] == "applied"


def test_parked_orders_are_replayed_by_one_command_after_the_station_table_was_mended(bridge: Bridge) -> None:
    assert told(bridge("replay", "--parked", "--yes", "--json"))[0]["after"] == "parked"
    assert told(bridge("replay", "--parked", "--yes", "--json", stations=True))[0]["after"] == "applied"
    assert told(bridge("replay", "--parked", "--yes", "--json", stations=True)) == []


def test_messages_are_replayed_by_their_numbers(bridge: Bridge) -> None:
    done = told(bridge("replay", "4", "2", "--yes", "--json", modes='"P", "T"'))
    assert [(one["message"], one["before"], one["after"]) for one in done] == [
        (2, "refused", "applied"), (4, "quarantined", "applied"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [[], ["1", "--parked"], ["1", "--yes", "--dry-run"], ["--parked", "--since", "soon"]]
)
def test_what_cannot_be_meant_is_refused(bridge: Bridge, arguments: list[str]) -> None:
    assert bridge("replay", *arguments).exit_code == 2


def test_the_list_has_heads(bridge: Bridge) -> None:
    head, *lines = bridge("list").output.splitlines()
    assert head.split() == ["ID", "received", "feed", "type", "control", "id", "fate", "answer", "reasons"]
    assert len(lines) == 4
    assert lines[0].index("quarantined") == head.index("fate")
