"""The Storage Commitment Push Model on the wire (PS3.4 Annex J): what N-ACTION asks, what N-EVENT-REPORT tells."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from bridge.dicom.header import read_data_set
from bridge.dicom.policy import COMMITMENT
from bridge.domain.commitment import CommitmentRequest, CommitmentResult, Reference
from bridge.errors import BadValue, MissingField, NotFound, TooLarge, Unsupported
from bridge.uids import is_uid

INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known instance (J.3.5)."""
REQUEST_COMMITMENT = 1
MOST_REFERENCES = 50_000
ELEMENTS = 4 * MOST_REFERENCES


def read_request(event: Event) -> CommitmentRequest:
    """What an N-ACTION asks; raises what is wrong with it. The same item twice is one."""
    request: Any = event.request
    if str(event.context.abstract_syntax) != COMMITMENT:
        raise Unsupported("not an operation of this SOP class", where="(0000,0003)")
    if _uid(request.RequestedSOPInstanceUID) != INSTANCE:
        raise NotFound("not the well-known instance", where="(0000,1001)")
    if request.ActionTypeID != REQUEST_COMMITMENT:
        raise Unsupported("no such action", where="(0000,1008)", code="no-such-action")
    if request.ActionInformation is None:
        raise MissingField("no list of instances", where="(0008,1199)")
    data = read_data_set(request.ActionInformation.getvalue(), str(event.context.transfer_syntax), most=ELEMENTS)
    transaction = _required(data, "TransactionUID", "(0008,1195)")
    items = data.get("ReferencedSOPSequence")
    if not items:
        raise MissingField("no list of instances", where="(0008,1199)")
    if len(items) > MOST_REFERENCES:
        raise TooLarge("more instances than are taken in one request", where="(0008,1199)")
    references = {
        Reference(
            _required(item, "ReferencedSOPClassUID", "(0008,1150)"),
            _required(item, "ReferencedSOPInstanceUID", "(0008,1155)"),
        ): None
        for item in items
    }
    if len({one.sop_instance_uid for one in references}) != len(references):
        raise BadValue("one instance under two classes", where="(0008,1150)")
    return CommitmentRequest(transaction, tuple(references))


def event_information(result: CommitmentResult) -> Dataset:
    """The Event Information (J.3.3): each instance in one of the two lists."""
    data = Dataset()
    data.TransactionUID = result.transaction_uid
    if result.committed:
        data.ReferencedSOPSequence = [_item(one) for one in result.committed]
    if result.failed:
        data.FailedSOPSequence = [_item(one) for one, _ in result.failed]
        for item, (_, reason) in zip(data.FailedSOPSequence, result.failed, strict=True):
            item.FailureReason = int(reason)
    return data


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


def _required(data: Dataset, keyword: str, where: str) -> str:
    if keyword not in data:
        raise MissingField("a required attribute is missing", where=where)
    uid = _uid(data[keyword].value)
    if not is_uid(uid):
        raise BadValue("not a UID", where=where)
    return uid


def _uid(value: Any) -> str:
    return str(value or "").strip(" \0")
