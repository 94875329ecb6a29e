"""A site on disk for the command line: a configuration, a store with messages, and the command itself."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from bridge import app
from bridge.cli import main
from bridge.clock import SystemClock
from bridge.config import Settings
from bridge.hl7.policy import read_raw
from bridge.preview import envelope_of
from bridge.store.migrate import migrate
from bridge.workflow.context import Context
from bridge.workflow.intake import Intake

CONFIG = """
data = "../data"
[[hl7.feed]]
name = "ris"
port = 0
[[station]]
ae_titles = ["CT1"]
modality = "CT"
[[station]]
ae_titles = ["MR1"]
modality = "MR"
[[dicom.peer]]
ae_title = "CT1"
character_set = "ISO_IR 100"
[[dicom.peer]]
ae_title = "MR1"
"""
UID = "1.2.840.99.1"


def order(
    number: int = 1, *, modality: str = "CT", name: str = "DOE^JANE", accession: str = "", charset: str = "",
    day: str = "20991126",
) -> bytes:  # fmt: skip
    """An order of the far future, so that no worklist thinks it old."""
    obr = f"OBR|1|P{number}^EHR||CTHEAD^CT head^L" + "|" * 14 + f"{accession or f'A{number}'}|RP{number}|S{number}||||"
    lines = (
        f"MSH|^~\\&|EHR|HOSP|BRIDGE|IB|20261125110000||ORM^O01|C{number}|P|2.3.1||||||{charset}",
        f"PID|1||{1000 + number}^^^HOSP||{name}||19800101|F",
        f"ORC|NW|P{number}^EHR|||SC||1^once^^{day}093000^^R||20261125110000",
        f"{obr}{modality}",
        f"ZDS|1.2.840.99.{number}^100^Application^DICOM",
    )
    return "".join(f"{line}\r" for line in lines).encode()


class OnDisk:
    """`bridge --config ...` and the store that it opens."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config" / "bridge.toml"
        self.config.parent.mkdir(parents=True)
        self.config.write_text(CONFIG)
        self.settings = Settings.load(self.config, {})
        self.settings.data.mkdir()

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(main, ["--config", str(self.config), *map(str, arguments)])

    def store(self, *messages: bytes) -> None:
        """Take messages as the feed would."""
        database = app.open_database(self.settings)
        migrate(database)
        (feed,) = self.settings.hl7.feed
        mappings = app.load_mappings(self.settings, feed)
        intake = Intake(Context(database, self.settings, SystemClock()))
        for raw in messages:
            envelope = envelope_of(raw, feed.name, SystemClock())
            intake.take(envelope, read_raw(raw, feed, mappings), lambda _: ("AA", b""))
        database.close()
