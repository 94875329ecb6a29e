"""WADO-RS (PS3.18 10.4): objects, metadata, frames and bulk data, sent as stored.

Nothing is transcoded. Asked without a transfer syntax, objects and compressed frames are sent in the one that they
are stored in (8.7.3 allows it for what exists in no other form); asked for another one, the answer is 406.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bridge.dicomweb.accept import MULTIPART, Offer
from bridge.dicomweb.answer import Answer, chosen, json_answer, json_type, whole
from bridge.dicomweb.body import Piece, Slice, closing, new_boundary, part_head, size_of
from bridge.dicomweb.ports import Images
from bridge.dicomweb.status import not_acceptable
from bridge.dicomweb.target import Target
from bridge.domain.access import Session
from bridge.domain.viewing import FrameParts, InstanceFile, InstanceRow
from bridge.errors import NotFound

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
PIXEL_DATA = "7FE00010"
OCTETS = "application/octet-stream"
DICOM = "application/dicom"
_NATIVE = frozenset({"1.2.840.10008.1.2", EXPLICIT_LITTLE, "1.2.840.10008.1.2.1.98"})
_RELATIVE = b'"BulkDataURI":"'
_MEDIA = {  # PS3.18 Table 8.7.3-5, by the last components of 1.2.840.10008.1.2
    **dict.fromkeys(("4.50", "4.51", "4.57", "4.70"), "image/jpeg"),
    "5": "image/dicom-rle",
    **dict.fromkeys(("4.80", "4.81"), "image/jls"),
    **dict.fromkeys(("4.90", "4.91"), "image/jp2"),
    **dict.fromkeys(("4.92", "4.93"), "image/jpx"),
    **dict.fromkeys(("4.201", "4.202", "4.203"), "image/jphc"),
    **dict.fromkeys(("4.110", "4.111", "4.112"), "image/jxl"),
    **dict.fromkeys(("4.100", "4.100.1", "4.101", "4.101.1"), "video/mpeg2"),
    **dict.fromkeys((f"4.{n}{part}" for n in range(102, 107) for part in ("", ".1")), "video/mp4"),
}


def media_type(transfer_syntax_uid: str) -> tuple[str, str]:
    """Media type and transfer syntax of frames as they are stored; implicit VR has the same bytes as explicit."""
    if transfer_syntax_uid in _NATIVE:
        return OCTETS, EXPLICIT_LITTLE
    return _MEDIA.get(transfer_syntax_uid.removeprefix("1.2.840.10008.1.2."), OCTETS), transfer_syntax_uid


def metadata(images: Images, session: Session, target: Target, root: str, accept: str, encoding: str) -> Answer:
    """`/metadata`: ready objects joined; links made absolute paths, which OHIF and RFC 3986 resolve alike.

    No value can hold the replaced bytes: inside a JSON string every quotation mark has a backslash before it.
    """
    content_type = json_type(accept)
    objects = images.metadata(session, target.study, target.series, target.instance)
    if not objects:
        raise NotFound("no instance", where="path")
    content = b"[" + b",".join(objects) + b"]"
    return json_answer(content_type, content.replace(_RELATIVE, _RELATIVE + f"{root}/studies/".encode()), encoding)


def retrieve(images: Images, session: Session, target: Target, accept: str) -> Answer:
    """A study, a series or an instance as `application/dicom`: one part a file."""
    if target.instance:
        return _one(images.instance(session, target.study, target.series, target.instance), accept)
    rows = images.instances(session, target.study, target.series)
    if not rows:
        raise NotFound("no instance", where="path")
    for syntax in {row.transfer_syntax_uid for row in rows}:
        chosen(accept, (Offer(MULTIPART, DICOM, syntax),), f"{MULTIPART}; type={DICOM}; transfer-syntax={syntax}")
    boundary = new_boundary()
    return Answer(200, _multipart(boundary, DICOM), _files(images, session, target.study, rows, boundary), None)


def frames(images: Images, session: Session, target: Target, accept: str) -> Answer:
    """`/frames/{list}`: one part a frame, or the frame alone for who asks for it so."""
    file = images.instance(session, target.study, target.series, target.instance)
    _check_frames(file)
    if not file.frames:
        raise NotFound("the object has no frames", where="frames")
    if max(target.frames) > len(file.frames):
        raise NotFound("no such frame", where="frames")
    return _frames(file, [file.frames[number - 1] for number in target.frames], accept)


def bulkdata(images: Images, session: Session, target: Target, accept: str) -> Answer:
    """The value of an element; pixel data from the file, a part a frame when compressed (PS3.18 8.7.3.3.2)."""
    file = images.instance(session, target.study, target.series, target.instance)
    if file.transfer_syntax_uid == BIG_ENDIAN:
        raise not_acceptable("stored as big endian: retrieve the instance")
    if target.tag == PIXEL_DATA and file.frames:
        native = file.transfer_syntax_uid in _NATIVE
        joined = tuple(pair for frame in file.frames for pair in frame)
        return _frames(file, [joined] if native else list(file.frames), accept)
    value = images.bulkdata(session, target.study, target.series, target.instance, target.tag)
    offers = (Offer(MULTIPART, OCTETS, EXPLICIT_LITTLE), Offer(OCTETS, "", EXPLICIT_LITTLE))
    return _parts(chosen(accept, offers, OCTETS), OCTETS, [[value]])


def _one(file: InstanceFile, accept: str) -> Answer:
    syntax = file.transfer_syntax_uid
    content_type = f"{DICOM}; transfer-syntax={syntax}"
    offer = chosen(accept, (Offer(MULTIPART, DICOM, syntax), Offer(DICOM, "", syntax)), content_type)
    return _parts(offer, content_type, [[Slice(file.path, 0, file.size)]])


def _files(
    images: Images, session: Session, study_uid: str, rows: Iterable[InstanceRow], boundary: str
) -> Iterator[Piece]:
    """Looked up one after the other: memory stays flat, and what is taken away meanwhile breaks the body off."""
    first = True
    for row in rows:
        file = images.instance(session, study_uid, row.series_instance_uid, row.sop_instance_uid)
        content_type = f"{DICOM}; transfer-syntax={file.transfer_syntax_uid}"
        yield part_head(boundary, content_type, file.size, first=first)
        yield Slice(file.path, 0, file.size)
        first = False
    yield closing(boundary)


def _check_frames(file: InstanceFile) -> None:
    refused = {BIG_ENDIAN: "big endian", DEFLATED: "a deflated data set"}.get(file.transfer_syntax_uid)
    if refused:
        raise not_acceptable(f"stored as {refused}: its frames are not offered, retrieve the instance")


def _frames(file: InstanceFile, asked: list[FrameParts], accept: str) -> Answer:
    media, syntax = media_type(file.transfer_syntax_uid)
    native = syntax == EXPLICIT_LITTLE
    offers = [Offer(MULTIPART, media, syntax), Offer(MULTIPART, OCTETS, syntax, explicit=not native)]
    if len(asked) == 1:
        offers += [Offer(media, "", syntax), Offer(OCTETS, "", syntax, explicit=not native)]
    content_type = f"{media}; transfer-syntax={syntax}"
    offer = chosen(accept, tuple(offers), f"{MULTIPART}; type={content_type}")
    return _parts(offer, content_type, [[Slice(file.path, *pair) for pair in frame] for frame in asked])


def _parts(offer: Offer, content_type: str, parts: list[list[Piece]]) -> Answer:
    if offer.media != MULTIPART:
        return whole(content_type, parts[0])
    boundary = new_boundary()
    pieces: list[Piece] = []
    for part in parts:
        pieces.append(part_head(boundary, content_type, size_of(part), first=not pieces))
        pieces += part
    pieces.append(closing(boundary))
    return Answer(200, _multipart(boundary, content_type.partition(";")[0]), pieces, size_of(pieces))


def _multipart(boundary: str, part_type: str) -> dict[str, str]:
    return {"Content-Type": f'{MULTIPART}; type="{part_type}"; boundary={boundary}'}
