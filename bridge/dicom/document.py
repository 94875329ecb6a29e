"""What is derived from a stored file for viewers: DICOM JSON (PS3.18 F) and the places of its frames.

An element that cannot be told in JSON is left out and its tag logged: one odd value must not hide a study.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr_element

from bridge import log as logs
from bridge.dicom.frames import frame_places
from bridge.dicom.header import DEFER, Opened, mapped, open_file, text
from bridge.dicom.walk import ODD, PIXEL_DATA
from bridge.errors import NotFound
from bridge.uids import is_uid
from bridge.workflow.ports import InstanceDocument

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_AMBIGUOUS = {"OB or OW": "OW", "US or SS": "US", "US or OW": "OW", "US or SS or OW": "OW"}
_PIXELS = {PIXEL_DATA: "OW", 0x7FE00008: "OF", 0x7FE00009: "OD"}
log = logging.getLogger(__name__)


def describe(path: Path) -> InstanceDocument:
    """DICOM JSON and frame places of a stored file (`workflow.ports.Describer`).

    Binary values over 1 kB and pixel data stand as BulkDataURI
    `{study}/series/{series}/instances/{instance}/bulkdata/{place}`, relative to the studies root; `place` is what
    `bulkdata` takes. Text is UTF-8, so (0008,0005) says so. Raises `NotReadable`, `Unsupported`, `StoreUnavailable`.
    """
    opened = open_file(path)
    study, series, instance = (text(opened.data, tag) for tag in (0x0020000D, 0x0020000E, 0x00080018))
    base = (
        f"{study}/series/{series}/instances/{instance}/bulkdata" if all(map(is_uid, (study, series, instance))) else ""
    )
    document = to_json(opened.data, base)
    _pixel_element(document, opened, base)
    with mapped(path) as buffer:
        frames = frame_places(opened, buffer)
    return InstanceDocument(_encode(document), frames)


def bulkdata(path: Path, place: str) -> bytes:
    """The value behind a BulkDataURI: a tag (`7FE00010`), or `tag.item.tag` inside sequences; `NotFound` if none.

    Encapsulated pixel data come as their fragments in one piece, without the offset table.
    """
    opened = open_file(path)
    try:
        steps = [int(part, 16 if index % 2 == 0 else 10) for index, part in enumerate(place.split("."))]
    except ValueError:
        raise NotFound("no such bulk data", where="bulkdata") from None
    if len(steps) == 1 and steps[0] in _PIXELS and steps[0] in opened.places:
        at = opened.places[steps[0]]
        pieces = at.fragments[1:] if at.length < 0 else ((at.offset, at.length),)
        with mapped(path) as buffer:
            return b"".join(buffer[offset : offset + length] for offset, length in pieces)
    try:
        data = opened.data
        for tag, index in zip(steps[:-1:2], steps[1::2], strict=True):
            data = data[tag].value[index]
        value = data[steps[-1]].value
    except ODD:
        raise NotFound("no such bulk data", where="bulkdata") from None
    if not isinstance(value, bytes):
        raise NotFound("no such bulk data", where="bulkdata")
    return value


def to_json(data: Dataset, base: str = "", place: str = "") -> dict[str, Any]:
    """The DICOM JSON model of a data set; with `base`, large binary values become links below it."""
    document: dict[str, Any] = {}
    for tag in sorted(data.keys()):
        if tag.element == 0 or tag.group == 2:
            continue
        key = f"{tag:08X}"
        try:
            document[key] = _element(data, tag, base, f"{place}{key}")
        except (*ODD, OSError):
            logs.work(log, "element not told", logging.WARNING, where=f"({tag.group:04X},{tag.element:04X})")
    if "00080005" in document and not place:
        document["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return document


def _element(data: Dataset, tag: Any, base: str, place: str) -> dict[str, Any]:
    raw = data.get_item(tag, keep_deferred=True)
    if base and isinstance(raw, RawDataElement) and raw.length > DEFER:
        vr = _AMBIGUOUS.get(_vr(raw), _vr(raw))
        if vr in _BINARY:
            return {"vr": vr, "BulkDataURI": f"{base}/{place}"}
    element = data[tag]
    if element.VR == "SQ":
        found: list[Dataset] = list(element.value or ())
        inner = [to_json(item, base, f"{place}.{index}.") for index, item in enumerate(found)]
        return {"vr": "SQ", "Value": inner} if inner else {"vr": "SQ"}
    if element.VR in _AMBIGUOUS:
        element = _settled(element, data)
    if base and element.VR in _BINARY and isinstance(element.value, bytes) and len(element.value) > DEFER:
        return {"vr": element.VR, "BulkDataURI": f"{base}/{place}"}
    return _leaf(element)


def _leaf(element: DataElement) -> dict[str, Any]:
    told = element.to_json_dict(None, 0)
    if element.VR == "PN" and "Value" in told:
        told["Value"] = [{group: name for group, name in value.items() if name} for value in told["Value"]]
    orjson.dumps(told)  # an element that JSON cannot hold fails here, alone
    return told


def _settled(element: DataElement, data: Dataset) -> DataElement:
    """A VR that depends on other elements, decided (PS3.5 Annex A); unsigned words when they are missing."""
    vr = _AMBIGUOUS[element.VR]
    try:
        settled = correct_ambiguous_vr_element(element, data, bool(data.original_encoding[1]))
    except ODD:
        settled = element
    if isinstance(settled, DataElement) and settled.VR not in _AMBIGUOUS:
        return settled
    return DataElement(element.tag, "OW" if isinstance(element.value, bytes) else vr, element.value)


def _vr(raw: RawDataElement) -> str:
    if raw.VR:
        return raw.VR
    try:
        return dictionary_VR(raw.tag)
    except KeyError:
        return "UN"


def _pixel_element(document: dict[str, Any], opened: Opened, base: str) -> None:
    for tag, vr in _PIXELS.items():
        if tag in opened.places and base:
            at = opened.places[tag]
            vr = "OB" if at.length < 0 else at.vr or vr
            document[f"{tag:08X}"] = {"vr": vr, "BulkDataURI": f"{base}/{tag:08X}"}


def _encode(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document)
