"""The review list in words: what each reason means, and what a person does about each kind."""

from __future__ import annotations

_OF_A_MESSAGE = {
    "bad-input": "it cannot be used",
    "bad-value": "the field holds what its type forbids",
    "duplicate-key": "the identifier is in use for another record, or a record is tied to itself",
    "hl7-charset": "its bytes do not belong to the character set that it names",
    "hl7-charset-refused": "its character set cannot be read from a frame",
    "hl7-not-conformant": "strict validation found fault with it",
    "hl7-segment-sequence": "segments are missing or stand where they cannot",
    "internal": "an error of ours: the log of the hl7 role tells more",
    "missing-field": "a field that is needed is empty",
    "not-readable": "it is not HL7",
    "sender-not-allowed": "the feed's settings do not name its sender",
    "state-conflict": "right in itself, but not now",
    "table-value": "the field holds a word that is not in its table",
    "too-large": "more than is taken in one message",
    "unknown-key": "it names a record that is not known, or was merged elsewhere",
    "unsupported": "not taken here",
    "unsupported-event": "its event is not taken",
    "unsupported-processing-id": "its processing id is not taken by this feed",
    "unsupported-type": "its type is not taken",
    "unsupported-version": "its HL7 version is not taken",
}
EXPLAINED: dict[str, dict[str, str]] = {
    "study-unmatched": {
        "no-order": "no order shares anything with it",
        "weak-evidence": "orders agree in patient, modality and time only: choose one, or wait",
    },
    "study-ambiguous": {
        "patient-differs": "the evidence names an order of another patient",
        "patient-missing": "the evidence names an order, but the images name no patient",
        "several-orders": "the evidence fits more than one order",
        "several-patients": "the evidence fits orders of more than one patient",
        "instances-name-two-patients": "its images name two patients",
        "unlinked-by-a-person": "a person undid its link",
        "wrong-entry": "its device says that the wrong worklist entry had been chosen: off its order",
    },
    "study-conflict": {"instances-name-two-patients": "its images name two patients"},
    "order-parked": {
        "modality-unknown": "the order's modality is not in mappings/codes/modality.yaml",
        "no-station": "no row of [[station]] takes it",
        "station-title-too-long": "the order names a station by more than the 16 characters of an AE title",
        "study-uid-of-another-patient": "the order's Study Instance UID is in use for another patient",
        "not-readable": "a device with utf8 = false cannot show it: details name the device and the tag",
        "order-contradicts-patient": "ordered for somebody who is another person than ADT says of the number",
        "no-step": "the order names no modality, procedure or time",
    },
    "order-conflict": {
        "order-of-another-patient": "a message moves a known order to another patient: not done",
        "order-numbers-of-two-orders": "placer and filler number belong to two orders",
        "accession-numbers-of-two-exams": "another exam comes with another accession number under one order: not taken",
        "accession-number-in-use": "its sender told a number after a device had used the one made here: that stays",
        "groups-contradict": "one message both ends and changes an order: nothing of it was done",
        "exam-unclear": "a message names none of several exams by an id, and could mean more than one: not applied",
        "step-unclear": "a message names none of several steps by an id, and could mean more than one: not applied",
        "replaced-too-late": "it was replaced when it had begun or ended: both it and its replacement stand",
        "filler-reports-an-error": "the filler reports an error with it (ORC-5 ER)",
    },
    "appointment-conflict": {
        "appointment-of-another-patient": "an appointment names an order of another patient: not applied",
        "order-numbers-of-two-orders": "the appointment's placer and filler number belong to two orders",
    },
    "report-untied": {"order-not-known": "neither its order nor its study is known: it waits for them"},
    "report-conflict": {
        "report-of-another-patient": "a report names another patient's order or number: not tied",
        "report-of-another-patients-study": "a report names another patient's study: not tied",
        "order-numbers-of-two-orders": "the report's placer and filler number belong to two orders",
    },
    "performed-conflict": {
        "patient-differs": "a device performed a step under an order of another patient: the order stays open",
        "order-given-up": "an order that was cancelled or discontinued is performed: it stays given up",
        "order-on-hold": "an order on hold is performed: it is in progress now",
        "told-and-rejected": "its exam was another's (wrong entry): the step waits again, others were told more",
        "patient-missing": "a device performed a step under an accession number, but names no patient: not applied",
        "done-by-a-link-undone": "a study's link was undone that had ended this order's step: it is not offered again",
        "step-unclear": "an exam was done, and which of several steps it was cannot be told: all stay open",
        "wrong-entry-linked": "made under a wrongly chosen entry, its device says; a person has linked its study",
    },
    "performed-open": {"silent": "a device began an exam, and neither ended it nor was heard of in it"},
    "performed-unscheduled": {"no-order": "a device began an exam without an order, and none has come"},
    "performed-discontinued": {"cancel-proposed": "broken off for a reason that speaks for cancelling the order"},
    "performed-uid-again": {
        "uid-of-another-device": "a device begins an exam under the MPPS UID of another device's: refused (0111)",
        "uid-of-another-exam": "a device begins another exam under an MPPS UID that it used before: refused (0111)",
    },
    "patient-identifiers": {
        "identifiers-of-several-patients": "its identifiers belong to several patients: not merged",
        "message-names-several-patients": "its numbers are of several patients: not taken",
        "prior-name-differs": "a merge named another person than the record that went with it",
        "visit-moved-orders-stay": "a visit moved to another patient; open orders that name no visit did not",
        "patient-id-of-another-authority": "a device got numbers of an authority that its row does not mean",
        "identifier-moved-orders-stay": "an identifier moved to another patient; its earlier owner's orders did not",
    },
    "patient-overlay": {
        "message-contradicts-patient": "two of name, birth date and sex are not those of its number: not taken",
        "name-birth-and-sex-changed": "name, birth date and sex changed at once: perhaps another person's record",
    },
    "instance-healed": {
        "stored-file-damaged": "its file was gone or damaged when it came again: the new one took its place"
    },
    "images-missing": {"listed-by-mpps": "the device says it is done and lists images that never came"},
    "rejection-note": {
        "rejection-not-allowed": "a peer without may = reject sent a rejection note: nothing was hidden",
        "rejection-unclear": "a rejection note does not say readably what it rejects: nothing was hidden",
        "objects-of-another-study": "a note names objects that are here in another study: those were not hidden",
        "rejected-in-part": "a part of the study was done under the wrong worklist entry: the order keeps the rest",
    },
    "images-unavailable": {
        "archive-has-none": "the archive says it has no image of it any more: taken out of the record and the viewer",
        "archive-lacks-some": "the archive says that some of its images can be had no more: it is shown as it is here",
    },
    "commitment-failed": {
        "stored-file-damaged": "a device asked whether its images are safe, and of some our file is gone or damaged"
    },
    "commitment-undeliverable": {
        "no-address": "a device asked whether its images are safe, and where it could be told is not known"
    },
    "instance-differs": {"same-uid-other-bytes": "an image came again with other bytes: kept aside"},
    "message-refused": _OF_A_MESSAGE,
    "message-quarantined": {
        "frame too-large": "the frame is larger than the feed takes: only its beginning is kept",
        "frame no-carriage-return": "the frame ends wrongly; the message in it is whole",
        "frame interrupted": "a new frame began before the end: only a part came",
        "frame unfinished": "the connection ended before the frame did: only a part came",
    },
    "outbound-dead": {
        "answered-AE": "the receiver found fault with a message of ours",
        "answered-AR": "the receiver refused a message of ours",
        "answered-CE": "the receiver found fault with a message of ours",
        "answered-CR": "the receiver refused a message of ours",
        "hl7-not-conformant": "strict validation found fault with a message of ours: not sent",
        "hl7-charset": "a value does not fit the destination's character set: not sent",
        "bad-value": "a value holds framing bytes: not sent",
        "restored-from-backup": "it waited when the backup was made: whether it was sent since, nobody here knows",
    },
    "restored": {"newer-data-lost": "a backup was restored: what came after it is not here and must be sent again"},
    "publication-waiting": {
        "several-patients": "the EHR has several Patients with the study's identifiers: not merged there yet",
    },
    "publication-dead": {
        "bad-value": "what we would write is not valid FHIR",
        "error-in-success": "the EHR answered success with an error in it, again and again",
        "internal": "an error of ours: the log of the worker tells more",
        "invalid": "the EHR finds the resource invalid",
        "no-id": "the EHR answers without an id, again and again",
        "no-identifier-system": "no identifier of the order has an issuer with a FHIR system ([[issuer]])",
        "not-fhir": "what answers does not speak FHIR",
        "remote-refused": "the EHR refuses it",
        "remote-unavailable": "the EHR was not reached, too many times",
        "several-matches": "the EHR has more than one resource where there must be one",
        "too-large": "the EHR takes no resource of this size",
        "version-conflict": "another writer changes the EHR's copy, again and again",
    },
}  # fmt: skip

_LINK = "bridge review link STUDY ORDER · bridge review unlink STUDY --reason TEXT"
_MESSAGE = "bridge messages show MESSAGE · bridge messages replay MESSAGE --yes"
_EXAM = "bridge performed show performed:NUMBER"
_CLOSE = "bridge review close ENTRY --reason TEXT"
NEXT: dict[str, tuple[str, ...]] = {
    "study-unmatched": (_LINK,),
    "study-ambiguous": (_LINK,),
    "study-conflict": (_LINK, _CLOSE),
    "order-parked": (
        "bridge messages replay --parked --yes (when the cause is mended)",
        "bridge review accept ENTRY --reason TEXT (order-contradicts-patient, the same person after all)",
    ),
    "patient-overlay": (
        "bridge review accept ENTRY --reason TEXT · bridge messages replay MESSAGE --yes (the same person after all)",
        _CLOSE,
    ),
    "performed-open": (_EXAM, "bridge performed finish UID --status COMPLETED --reason TEXT"),
    "performed-unscheduled": (_EXAM, _CLOSE),
    "images-missing": (_EXAM, _CLOSE),
    "performed-uid-again": (_EXAM, _CLOSE),
    "performed-discontinued": (_CLOSE,),
    "message-refused": (_MESSAGE, _CLOSE),
    "message-quarantined": (_MESSAGE, _CLOSE),
    "outbound-dead": ("bridge outbound retry OUTBOUND · bridge outbound drop OUTBOUND",),
    "images-unavailable": (_LINK, _CLOSE),
    "commitment-failed": ("bridge commitment show COMMITMENT · bridge commitment retry COMMITMENT", _CLOSE),
    "commitment-undeliverable": ("bridge commitment drop COMMITMENT --reason TEXT (or host and port in its row)",),
    "publication-waiting": ("bridge publications list",),
    "publication-dead": ("bridge publications retry PUBLICATION", _CLOSE),
}
"""What a person does about a kind; of a kind that is not here: close it when they have dealt with it."""


def explained(kind: str, reason: str) -> str:
    """`reason` as the store has it: a word, and for some also the field to blame."""
    known = EXPLAINED.get(kind, {})
    return known.get(reason) or known.get(reason.partition(" ")[0]) or "see docs/operating.md"


def next_commands(kinds: set[str]) -> list[str]:
    """What to type for these kinds, each once."""
    found = [command for kind in (*NEXT, "") if kind in kinds for command in NEXT.get(kind, ())]
    found += [_CLOSE] if kinds - NEXT.keys() else []
    return sorted(set(found), key=found.index)
