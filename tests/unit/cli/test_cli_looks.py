"""`bridge` at the prompt: set up, check, look. What it prints holds no patient data."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridge.cli import main
from bridge.cli_review import render_reviews
from bridge.config import Settings
from bridge.report import render_status, status
from bridge.store import review
from tests.unit.workflow.house import JOHN, House, order, who

SECRET_WORDS = ("DOE", "JANE", "ROE", "JOHN", "1001", "2002", "19800101")


def bridge(*arguments: str, config: Path | None = None) -> Result:
    given = ["--config", str(config)] if config else []
    return CliRunner().invoke(main, [*given, *arguments])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site as `bridge init` makes it, on ports that are free; returns its configuration file."""
    assert bridge("init", str(tmp_path)).exit_code == 0
    config = tmp_path / "config" / "bridge.toml"
    text = config.read_text()
    for port in ("2575", "11112", "8080", "8081"):
        text = text.replace(f"port = {port}", f"port = {free_port()}")
    config.write_text(text)
    return config


# -- init ---------------------------------------------------------------------------------------------------------


def test_init_makes_what_only_its_owner_reads(tmp_path: Path) -> None:
    bridge("init", str(tmp_path))
    for file in (tmp_path / "config" / "bridge.toml", *(tmp_path / "secrets").iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) & 0o007 == 0


def test_init_changes_nothing_that_exists(site: Path) -> None:
    site.write_text("[site]\nname = 'mine'\n")
    key = site.parent.parent / "secrets" / "smart-client.jwk"
    before = key.read_text()
    assert "kept" in bridge("init", str(site.parent.parent)).output
    assert (site.read_text(), key.read_text()) == ("[site]\nname = 'mine'\n", before)


def test_what_init_made_is_without_fault_but_for_the_viewer(site: Path) -> None:
    result = bridge("check", config=site)
    assert result.exit_code == 0, result.output
    assert "no faults found" in result.output


# -- check --------------------------------------------------------------------------------------------------------


def test_check_tells_every_fault_at_once(site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        loose = site.parent / "token"
        loose.write_text("secret")
        loose.chmod(0o644)
        site.write_text(
            "data = '../data'\n[storage]\nmin_free_bytes = 3000000000\n"
            f"[dicom]\nport = {port}\n[database]\npassword_file = 'none'\n"
            "[[ehr]]\nname = 'a'\nfhir_base = 'https://x.example'\ntoken_file = 'token'\n"
            f"[web]\nport = {free_port()}\nviewer_port = {free_port()}\n[[hl7.feed]]\nname = 'ris'\nport = 0\n"
        )
        result = bridge("check", config=site)
    assert result.exit_code == 1
    for words in (f"port {port}", "none: no such file", "0600", "before anybody is told"):
        assert words in result.output, words


def test_check_tells_faults_of_the_file_and_leaves_the_rest(site: Path) -> None:
    site.write_text("[site]\ntime_zone = 'Mars'\n[wbe]\n")
    result = bridge("check", config=site)
    assert (result.exit_code, result.output.count("✗")) == (1, 2)


@pytest.mark.parametrize("command", [["status"], ["review"], ["run"]])
def test_a_fault_of_the_file_is_told_in_plain_lines(tmp_path: Path, command: list[str]) -> None:
    result = bridge(*command, config=tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_role_that_does_not_exist_is_refused(site: Path) -> None:
    result = bridge("run", "--role", "hl8", config=site)
    assert (result.exit_code, "no such role: hl8" in result.output) == (2, True)


# -- looking ------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(house: House) -> House:
    """A house with something of everything: parked, unmatched, ambiguous, aside, refused."""
    house.order(order())
    house.order(order(placer="P2", accession="A2", uid="1.2.4", patient=who(JOHN), steps=()))
    house.order(order("XO", patient=who(JOHN)))
    house.image()
    house.image(study_instance_uid="1.2.5", series_instance_uid="1.2.5.1", accession_number="")
    house.image(study_instance_uid="1.2.6", series_instance_uid="1.2.6.1", patient_id="2002", accession_number="A1")
    house.complete()
    house.acquiring.note_query("CT1")
    house.clock.advance(3700)
    return house


STATUS = """\
Imaging Bridge: NOT READY

  ✗ hl7      down
  ✗ dicom    down
  ✗ web      down
  ✗ worker   down
  for a person  1 order-conflict, 1 order-parked, 1 study-ambiguous, 1 study-unmatched   (bridge review)

  last message  ris                 1 h ago   3 in all
  last query    CT1                 1 h ago   1 in all
  last image    CT1                 1 h ago   3 in all
"""


def test_the_status_screen(busy: House) -> None:
    facts = status(busy.settings, busy.clock)
    screen = render_status(facts, busy.settings)
    assert screen.startswith(STATUS)
    assert "  worklist      0 entries due" in screen
    assert "1 complete/matched" in screen and "publications  ehr: 1 due" in screen
    assert not any(word in screen for word in SECRET_WORDS)


def test_the_review_list(busy: House) -> None:
    entries = busy.read(review.open_reviews)
    screen = render_reviews(entries, busy.clock.now())
    assert screen.startswith("4 waiting, oldest first")
    for words in (
        "no-step: the order names no modality, procedure or time",
        "order-of-another-patient: a message moves a known order to another patient: not done",
        "patient-differs: the evidence names an order of another patient",
        "patient identifier differs",
    ):
        assert words in screen, words
    assert "see docs/operating.md" not in screen
    assert not any(word in screen for word in SECRET_WORDS)


def test_nothing_waits_is_said_in_words(house: House) -> None:
    assert render_reviews([], house.clock.now()) == "Nothing waits for a person."


@pytest.fixture
def prompt(house: House, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """The command line upon the house's own database, which is closed meanwhile."""
    config = tmp_path / "bridge.toml"
    config.write_text("data = '.'\n")

    def run(*arguments: str) -> Result:
        return bridge(*arguments, config=config)

    yield run


def test_a_person_links_and_unlinks_at_the_prompt(house: House, prompt: Callable[..., Result]) -> None:
    house.order(order(uid="1.2.77", accession="A7"))
    house.image()
    house.complete()
    key, number = str(house.study().id), str(house.order_row().id)
    assert prompt("review", "link", key, number).exit_code == 0
    assert house.study().match_state == "matched"
    assert prompt("review", "unlink", key, "--reason", "wrong").exit_code == 0
    assert house.study().match_state == "ambiguous"
    assert house.audited("study-linked") == house.audited("study-unlinked") == 1


@pytest.mark.parametrize("numbers", [("999", "1"), ("1", "999")])
def test_a_number_that_nobody_has_is_told_in_plain_words(
    house: House, prompt: Callable[..., Result], numbers: tuple[str, str]
) -> None:
    house.order(order(uid="1.2.77", accession="A7"))
    house.image()
    house.complete()
    result = prompt("review", "link", *numbers)
    assert (result.exit_code, "not-found" in result.output) == (1, True)
    assert house.links() == []


def test_the_review_list_as_json_is_json(house: House, prompt: Callable[..., Result]) -> None:
    house.image()
    house.complete()
    (row,) = json.loads(prompt("review", "--json").output)
    assert (row["kind"], row["reason"]) == ("study-unmatched", "no-order")


def test_a_link_for_a_study_that_does_not_exist_is_refused(house: House, prompt: Callable[..., Result]) -> None:
    assert prompt("link", "1.9.9").exit_code == 1


def test_a_link_lives_no_longer_than_the_site_allows(house: House, prompt: Callable[..., Result]) -> None:
    house.image()
    result = prompt("link", "1.2.3", "--minutes", "9999")
    assert result.output.startswith("http://localhost:8080/s/")
    (row,) = house.rows("launch_link")
    (made,) = [a for a in house.rows("audit") if a.action == "link-made"]
    life = (row.expires_at - made.at).total_seconds() / 60  # the clock is read once for each
    assert life == pytest.approx(Settings().launch.link_minutes, rel=0.1)


def test_explain_names_the_mapping_line_of_a_value(site: Path, tmp_path: Path) -> None:
    message = tmp_path / "order.hl7"
    message.write_bytes(
        b"MSH|^~\\&|RIS|H|BRIDGE|H|20261125120000||ORM^O01|1|P|2.3.1\rPID|||1001^^^HOSP||DOE^JANE\r"
        b"ORC|NW|P1^RIS|F1^RIS\rOBR|1|P1^RIS|F1^RIS|CTH^CT head^L||||||||||||||A1||||||CT\r"
    )
    result = bridge("explain", str(message), config=site)
    assert "order.yaml" in result.output
    assert "PID-3" in result.output
    junk = tmp_path / "junk.hl7"
    junk.write_bytes(b"not HL7")
    assert bridge("explain", str(junk), config=site).exit_code == 1


@pytest.mark.parametrize("framed", [False, True], ids=["one after another", "MLLP"])
def test_explain_takes_what_was_captured(site: Path, tmp_path: Path, framed: bool) -> None:
    one = (
        b"MSH|^~\\&|RIS|H|BRIDGE|H|20261125120000||ORM^O01|%d|P|2.3.1\rPID|||1001^^^HOSP||DOE^JANE\r"
        b"ORC|NW|P%d^RIS\rOBR|1|P%d^RIS||CTH^CT head^L||||||||||||||A1||||||CT\r"
    )
    two = [one % (n, n, n) for n in (1, 2)]
    captured = tmp_path / "captured.hl7"
    captured.write_bytes(b"".join(b"\x0b%b\x1c\r" % raw for raw in two) if framed else b"".join(two))
    result = bridge("explain", str(captured), config=site)
    assert (result.exit_code, "message 2 of 2" in result.output, "P2 (" in result.output) == (0, True, True)


def test_a_queue_that_stands_still_is_told_among_the_trouble_once(house: House) -> None:
    facts = status(house.settings, house.clock)
    queue = {"destination": "his", "waiting": 2, "oldest": house.clock.now(), "stopped": True, "answer": "AE",
             "sent": 0, "dead": 0}  # fmt: skip
    lines = render_status({**facts, "hl7_out": [queue]}, house.settings).splitlines()
    (at,) = [n for n, line in enumerate(lines) if "STOPPED" in line]
    assert at < lines.index("  for a person  nothing")
    assert "oldest 0 s ago" in lines[at]


def test_a_role_that_is_up_is_told_with_its_ports_and_no_trouble(house: House) -> None:
    facts = status(house.settings, house.clock)
    roles = {"hl7": {"up": True, "ports": {"hl7.ris": 2575}}}
    screen = render_status({**facts, "checks": {"store": True, "disk": True}, "roles": roles}, house.settings)
    assert "  ✓ hl7      up     ris:2575\n" in screen
    assert "✗" not in screen


def test_a_full_disk_is_told_in_words(house: House) -> None:
    facts = status(house.settings, house.clock)
    screen = render_status({**facts, "checks": {**facts["checks"], "disk": False}}, house.settings)
    assert "  ✗ disk     too little room for images" in screen
