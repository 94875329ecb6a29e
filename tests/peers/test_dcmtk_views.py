"""DCMTK's findscu as each of several scanners: one worklist, and what its row of the table shows each of them."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from bridge.config import Dicom, DicomPeer, Station, Worklist, WorklistView
from bridge.workflow.worklist import WorklistDesk
from tests.peers.available import need
from tests.unit.dicom.support import FakeServices, serving
from tests.unit.workflow.house import MR1, NOON, House, ct_step, order

STEP = "ScheduledProcedureStepSequence[0]."
PEERS = tuple(DicomPeer(ae_title=title) for title in ("CT1", "CT2", "PX1"))
CT = tuple(Station(ae_titles=(f"CT{n}",), modality="CT", room=f"ROOM {n}", location=f"ROOM {n}") for n in (1, 2))
XRAY = Station(ae_titles=("DX1",), modality="DX", location="WARD 3")
Ask = Callable[..., tuple[list[str], str]]


def views(*rows: dict[str, Any]) -> Worklist:
    return Worklist(view=tuple(WorklistView(**row) for row in rows))


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Callable[[Worklist], Ask]]:
    """At noon: T1 in room 1, T2 in room 2 and W1 on ward 3 an hour later; L1 in room 1 at 23:50 of the day before."""
    numbers, open_ = itertools.count(), ExitStack()

    def made(worklist: Worklist) -> Ask:
        house = House(tmp_path, worklist=worklist, dicom=Dicom(peer=PEERS), station=(*CT, XRAY, MR1))
        open_.callback(house.database.close)
        one, noon = NOON.replace(hour=13, tzinfo=None), NOON.replace(tzinfo=None)
        for number, (accession, room, modality, start) in enumerate(
            [
                ("T1", "ROOM 1", "CT", one),
                ("T2", "ROOM 2", "CT", one),
                ("W1", "", "DX", one),
                ("L1", "ROOM 1", "CT", noon - timedelta(hours=12, minutes=10)),
            ]
        ):
            step = ct_step(modality=modality, modality_sent=modality, location=room, start=start)
            house.order(order(placer=f"P{number}", accession=accession, uid=f"1.2.7.{number}", steps=(step,)))
        services: Any = FakeServices(worklist=WorklistDesk(house.context))  # type: ignore[arg-type]
        server = open_.enter_context(serving(tmp_path / "dicom", services, peer=PEERS))

        def ask(title: str, *keys: str) -> tuple[list[str], str]:
            """The accession numbers that come, and the final status in hexadecimal digits."""
            folder = tmp_path / f"answers{next(numbers)}"
            folder.mkdir()
            options = [part for key in ("AccessionNumber", f"{STEP}Modality", *keys) for part in ("-k", key)]
            command = [need("findscu"), "-d", "-W", "-X", "-od", str(folder), "-aet", title, "-aec", "BRIDGE", *options]
            done = subprocess.run(
                [*command, "127.0.0.1", str(server.port)], capture_output=True, timeout=30, check=False, text=True
            )
            found = [str(dcmread(path, force=True).AccessionNumber) for path in sorted(folder.iterdir())]
            return found, re.findall(r"DIMSE Status +: 0x(\w{4})", done.stdout + done.stderr)[-1]

        return ask

    with open_:
        yield made


TODAY = f"{STEP}ScheduledProcedureStepStartDate=20261125"


def test_as_shipped_every_scanner_finds_what_its_keys_find(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views())
    assert ask("CT1", TODAY) == (["T1", "T2", "W1"], "0000")


def test_each_scanner_its_own(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views({"peers": ("*",), "stations": ("@",)}))
    assert [ask(title, TODAY)[0] for title in ("CT1", "CT2", "PX1")] == [["T1"], ["T2"], []]
    assert ask("CT1", TODAY, f"{STEP}ScheduledStationAETitle=CT?")[0] == ["T1"]


def test_one_ct_sees_both_rooms(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views({"peers": ("*",), "stations": ("@",)}, {"peers": ("CT1",), "stations": ("CT1", "CT2")}))
    assert [ask(title, TODAY)[0] for title in ("CT1", "CT2")] == [["T1", "T2"], ["T2"]]


def test_the_portable_x_ray_sees_the_whole_ward(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views({"peers": ("PX1",), "modalities": ("DX", "CR"), "locations": ("WARD 3*",)}))
    assert ask("PX1", TODAY) == (["W1"], "0000")


def test_a_room_that_was_changed_is_found_by_the_barcode(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views({"peers": ("*",), "stations": ("@",), "beyond": {"accession"}}))
    assert ask("CT2", "AccessionNumber=T1")[0] == ["T1"]
    assert ask("CT2", "AccessionNumber=T*")[0] == ["T2"]


def test_the_night_is_one_list(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views({"peers": ("CT1",), "window_hours": (13, 1)}))
    assert [ask(title, TODAY)[0] for title in ("CT1", "CT2")] == [["L1", "T1", "T2", "W1"], ["T1", "T2", "W1"]]


def test_a_device_that_asks_for_nothing_is_shown_today(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views({"peers": ("PX1",), "default_window": True}))
    assert [ask(title)[0] for title in ("CT1", "PX1")] == [["L1", "T1", "T2", "W1"], ["T1", "T2", "W1"]]


def test_a_list_over_the_limit_is_refused(asking: Callable[[Worklist], Ask]) -> None:
    assert asking(views({"peers": ("*",), "limit": 3}))("CT1") == ([], "a700")


def test_a_list_that_is_cut_holds_the_nearest_and_is_no_success(asking: Callable[[Worklist], Ask]) -> None:
    ask = asking(views({"peers": ("*",), "limit": 3, "over_limit": "cut"}))
    assert ask("CT1") == (["T1", "T2", "W1"], "a700")
    assert ask("CT1", TODAY) == (["T1", "T2", "W1"], "0000")
