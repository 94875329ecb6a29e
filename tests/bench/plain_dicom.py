"""A plain pynetdicom worklist and storage server, as one writes it: everything at its defaults, an index in SQLite.

`python -m tests.bench.plain_dicom PORT FOLDER ENTRIES`: FOLDER takes the objects, each synced as the product syncs its
own. What the product does beyond (key matching but for these two, folder sync, index row, audit, limits) it does not.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification  # type: ignore[attr-defined]

from tests.bench.dicom_entries import entries


def main(port: int, folder: Path, count: int) -> None:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE item (station TEXT, day TEXT, data TEXT)")
    rows = ((station, day, data.to_json()) for station, day, data in entries(count))
    database.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
    database.execute("CREATE INDEX by_station ON item (station, day)")

    def find(event: Event) -> Iterator[tuple[int, Dataset | None]]:
        step = event.identifier.ScheduledProcedureStepSequence[0]
        keys = (step.ScheduledStationAETitle, step.ScheduledProcedureStepStartDate)
        for (text,) in database.execute("SELECT data FROM item WHERE station = ? AND day = ?", keys).fetchall():
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, Dataset.from_json(text)

    def store(event: Event) -> int:
        path = folder / f"{event.request.AffectedSOPInstanceUID}.dcm"  # type: ignore[union-attr]
        with path.open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0x0000

    entity = AE(ae_title="BRIDGE")
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(ModalityWorklistInformationFind)
    entity.add_supported_context(Verification)
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_FIND, find), (evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
