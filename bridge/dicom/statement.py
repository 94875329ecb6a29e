"""The DICOM Conformance Statement (PS3.2), written from the tables that run, so that it cannot say what they do not.

Presentation contexts, attributes, statuses, character sets, limits and settings are asked of the code itself.
`docs/conformance-dicom.md` is this text for the shipped settings and mappings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydicom.datadict import dictionary_description
from pydicom.uid import UID
from pynetdicom import AE

from bridge import __version__
from bridge.config import Settings
from bridge.config.dicom import CHARACTER_SETS
from bridge.dicom import mpps_table, status
from bridge.dicom.availability import MOST_INSTANCES
from bridge.dicom.classes import STORAGE
from bridge.dicom.commitment import MOST_REFERENCES
from bridge.dicom.model import lines
from bridge.dicom.policy import _MESSAGE_SYNTAXES, _OPERATION, CALLED_UNKNOWN, CALLING_UNKNOWN, CONGESTION, WORKLIST
from bridge.dicom.walk import MAX_DEPTH, MESSAGE_ELEMENTS, OBJECT_ELEMENTS, QUERY_ELEMENTS, TRANSFER_SYNTAXES
from bridge.domain.availability import PRESENT, Availability
from bridge.domain.commitment import FailureReason
from bridge.domain.performed import PerformedStatus
from bridge.domain.rejection import REFUSED, TITLES, Hidden
from bridge.mapping import Mappings
from bridge.markdown import code, table
from bridge.tls import CIPHERS

_SERVICES = [uid for uid in _OPERATION if uid not in STORAGE]
_FAULTS = {
    "BadInput": "the data set cannot be understood",
    "NotReadable": "the data set is cut short, malformed, too deep or too crowded",
    "Unsupported": "SOP class, instance or transfer syntax that is not taken",
    "MissingField": "an attribute that must be there is missing",
    "BadValue": "an attribute holds what it must not",
    "TooLarge": "more than the limits below",
    "StateConflict": "not in this state",
    "NotFound": "no such instance",
    "NotAllowed": "the device may not do this (`may`)",
    "StoreUnavailable": "database or disk is full, locked or away: later it may go",
}
"""What the rows of `status.TABLE` that a device may meet mean to it."""

_NOT_SAFE = {
    FailureReason.PROCESSING_FAILURE: "its file is not what came",
    FailureReason.NO_SUCH_OBJECT: "not here, its file is gone, or it was rejected",
    FailureReason.CLASS_CONFLICT: "it is here under another class",
    FailureReason.CLASS_NOT_SUPPORTED: "not here, and of a class that is not stored",
}

_AGAIN = {Hidden.QUALITY: "0000, and hidden (`rejected_for_quality`)", Hidden.RETENTION: "0000, an import: shown"}


def statement(settings: Settings, mappings: Mappings) -> str:
    """The whole statement as Markdown, in the order of PS3.2 Annex A; what a site may set is named beside its value."""
    chapters = (
        ("Overview", _overview()),
        ("Introduction", _introduction()),
        ("Networking", _networking(settings)),
        ("Media interchange", ["None: no media are written or read."]),
        ("Character sets", _charsets(settings)),
        ("Security", _security()),
        ("Annexes", _annexes(mappings)),
    )
    said = [
        "# DICOM Conformance Statement",
        "",
        f"Imaging Bridge {__version__}, in the form of PS3.2. Written by `bridge mappings statement dicom` from the "
        "tables that "
        "run; a test fails when they differ. Do not edit.",
    ]
    for number, (title, text) in enumerate(chapters, 1):
        said += ["", f"## {number}. {title}", "", *text]
    return "\n".join(said) + "\n"


# -- 1 and 2: overview, introduction ------------------------------------------------------------------------------


def _overview() -> list[str]:
    return [
        "Imaging Bridge serves the imaging orders of an HL7 v2 feed to modalities as a worklist, hears from them what "
        "was performed, takes their images into a durable archive and shows these to the clinical record. Images are "
        "read by DICOMweb behind its gate, not by DIMSE: it is no query/retrieve provider.",
        "",
        *table(
            ("SOP class", "UID", "As user", "As provider", "Allowed by (`may`)"),
            [
                *((UID(uid).name, uid, "no", "yes", code(_OPERATION[uid])) for uid in _SERVICES),
                (f"{len(STORAGE)} storage SOP classes (chapter 7)", "", "no", "yes", code("store")),
                (UID(WORKLIST).name, WORKLIST, "yes", "", "`bridge shadow` alone: it asks the old worklist"),
            ],
        ),
    ]


def _introduction() -> list[str]:
    return [
        "For those who connect a modality, and for whoever looks for the cause when it does not work. Clauses are "
        "those "
        "of DICOM PS3 and of IHE Radiology (Scheduled Workflow: Order Filler, Department System Scheduler, Performed "
        "Procedure Step Manager, Image Manager/Archive). What a site may set is named as in `config/bridge.toml`, with "
        "the value it has when nothing is said. A statement of conformance is no promise that two devices work "
        "together: that is for their test.",
        "",
        "AE: application entity. MPPS: modality performed procedure step. SCP, SCU: provider, user of a service.",
    ]


# -- 3: networking ------------------------------------------------------------------------------------------------


def _networking(settings: Settings) -> list[str]:
    return [
        "### 3.1 Implementation model",
        "",
        *_model(settings),
        "",
        "### 3.2 Associations",
        "",
        *_associations(settings),
        "",
        "### 3.3 Presentation contexts",
        "",
        *_contexts(),
        "",
        "### 3.4 Verification",
        "",
        "C-ECHO is answered with 0000 to any device that may (`echo`).",
        "",
        "### 3.5 Modality Worklist (PS3.4 Annex K, RAD-5)",
        "",
        *_worklist(settings),
        "",
        "### 3.6 Modality Performed Procedure Step (PS3.4 F.7, F.8; RAD-6, RAD-7)",
        "",
        *_performed(),
        "",
        "### 3.7 Storage (PS3.4 Annex B, RAD-8)",
        "",
        *_storage(settings),
        "",
        "### 3.8 Storage commitment (PS3.4 Annex J, RAD-10)",
        "",
        *_commitment(settings),
        "",
        "### 3.9 Instance availability (PS3.4 Annex R, RAD-49)",
        "",
        *_availability(),
        "",
        "### 3.10 Statuses",
        "",
        *_statuses(),
        "",
        "### 3.11 Network interface and configuration",
        "",
        *_configuration(settings),
    ]


def _model(settings: Settings) -> list[str]:
    title = settings.dicom.ae_title
    return [
        f"One AE, {code(title)} (`dicom.ae_title`), in one process of its own (`bridge run dicom`).",
        "",
        "```",
        "order (HL7 v2) --> worklist --> modality asks by C-FIND",
        "                                modality tells by N-CREATE, N-SET --> step, order, outbound HL7",
        "                                modality sends by C-STORE --> archive --> match --> ImagingStudy (FHIR)",
        "                                modality asks by N-ACTION --> check of the disk --> N-EVENT-REPORT",
        "```",
        "",
        "Nothing must come in that order. Images or steps before their order wait for it; a positive answer leaves "
        "only "
        "after what it promises is on the disk.",
    ]


def _associations(settings: Settings) -> list[str]:
    dicom = settings.dicom
    entity = AE()
    reasons = {
        "called AE title not ours (`require_called_ae_title`)": CALLED_UNKNOWN,
        "calling AE unknown, from another address, or may do nothing of what it asks": CALLING_UNKNOWN,
        "too many associations, or shutting down": CONGESTION,
    }
    return [
        f"- Application context {UID('1.2.840.10008.3.1.1.1')}. Implementation class UID "
        f"{entity.implementation_class_uid}, version {entity.implementation_version_name}.",
        f"- Maximum PDU {dicom.max_pdu_bytes} bytes (`max_pdu_bytes`); the peer's own is kept.",
        f"- At most {dicom.max_associations} associations at once (`max_associations`). Asynchronous operations are "
        "not negotiated: one operation at a time. User identity is not evaluated.",
        f"- An association on which nothing moves for {dicom.network_seconds:g} s (`network_seconds`) is ended.",
        "- Associations are begun only to tell the outcome of a storage commitment, and by `bridge shadow`.",
        "",
        *table(
            ("A-ASSOCIATE-RJ when", "Result / source / reason"),
            [(what, " / ".join(map(str, code_))) for what, code_ in reasons.items()],
        ),
    ]


def _contexts() -> list[str]:
    plain = ", ".join(f"{UID(uid).name} ({uid})" for uid in _MESSAGE_SYNTAXES)
    return [
        f"All classes but storage: the first of {plain} that is proposed.",
        "",
        "Storage: the first proposed transfer syntax of those in chapter 7, in the order of the proposal, for objects "
        "are "
        "kept as they come. Every class and syntax is accepted from every device that may `store`.",
        "",
        *table(
            ("Abstract syntax", "Role", "Extended negotiation"),
            [
                *((f"{UID(uid).name} ({uid})", "SCP", "see 3.5" if uid == WORKLIST else "none") for uid in _SERVICES),
                ("storage (chapter 7)", "SCP", "none"),
            ],
        ),
    ]


def _worklist(settings: Settings) -> list[str]:
    view = settings.worklist.view_of("")
    return [
        "Keys are compared with what the device would be told. M: R required, O optional key of Table K.6-1, - no key "
        "there. T: type of the attribute in the answer; it is told only when asked for, 1 and 2 always then. A key "
        "under "
        "an attribute without a matching is ignored, and the answers are FF01 instead of FF00.",
        "",
        *table(("Attribute", "Tag", "VR", "M", "T", "Matching"), _worklist_rows()),
        "",
        "- Single value, list of UID, universal, wild card (`*`, `?`), range, sequence; date and time of the step as "
        "one "
        "interval when both are ranges (K.4.1.1.3). An attribute that is empty matches universal keys only.",
        "- Names: case and accents do not count, each of the three component groups may be matched.",
        "- Extended negotiation: combined date-time matching; fuzzy matching of names when the device asks for it and "
        f"`fuzzy` lets it ({view.fuzzy!r}). ",
        "- A key that is longer than about four times what its VR holds, that is no value, range or pattern of its "
        "VR, or "
        "two items in a sequence are refused: A900 with the offending element.",
        "- Beside its keys stand the rules for the device (`[[worklist.view]]`, docs/worklist.md): stations, "
        "modalities, "
        f"places, statuses ({', '.join(sorted(view.statuses))}), age ({settings.worklist.age_days} days), and the "
        "hours round now that a query for today is given besides.",
        f"- Over the limit ({view.limit}) a query is refused with A700 and no answer; or, by setting, the entries that "
        "begin nearest to now are answered and A700 is the last status. 0000 says that all was told.",
        "- C-CANCEL ends the answers with FE00.",
        "- Attributes that a site's mapping adds (chapter 7) are told on top when asked for.",
    ]


def _worklist_rows() -> Iterator[tuple[str, ...]]:
    untold = 99  # deeper than this lie the items of a sequence that is not told
    for line in lines():
        if line.depth > untold:
            continue
        untold = 99 if line.row.told else line.depth
        name = "> " * line.depth + dictionary_description(line.tag)
        told = line.row.type if line.row.told else f"{line.row.type}, not held"
        yield name, _tag(line.tag), line.row.vr, line.row.match, told, line.kind


def _performed() -> list[str]:
    final = [one.value for one in PerformedStatus if one is not PerformedStatus.IN_PROGRESS]
    return [
        f"N-CREATE begins a step, always IN PROGRESS; N-SET changes it and ends it with {' or '.join(final)}, after "
        "which "
        "nothing may change (0110, Error ID A710). N-GET tells it. Without an Affected SOP Instance UID we make one.",
        "",
        "C: type in N-CREATE. S: N-SET may hold it (else it is ignored, 0107). E: type once the step has ended. V: "
        "without "
        "it the step is refused; other deviations are taken and logged, or with `performed.strict = true` refused too "
        "(0120 missing, 0121 empty, 0106 invalid).",
        "",
        *table(("Attribute", "Tag", "VR", "C", "S", "E", "V"), _step_rows(mpps_table.TABLE)),
        "",
        "A step finds its order by study, accession number, procedure and step id of (0040,0270); several items are a "
        "group case. What it cannot find waits, and is found when the order comes.",
    ]


def _step_rows(rows: Iterable[mpps_table.Row], depth: int = 0) -> Iterator[tuple[str, ...]]:
    for row in rows:
        yield (
            "> " * depth + row.name, mpps_table.where(row.tag), row.vr, row.create,
            "" if depth else "yes" if row.settable else "no", row.final, "yes" if row.vital else "",
        )  # fmt: skip
        yield from _step_rows(row.items, depth + 1)


def _storage(settings: Settings) -> list[str]:
    storage = settings.storage
    return [
        "Level 2 (full): every attribute of an object is kept, as it came and in its transfer syntax; the preamble of "
        "the "
        "file is zero. No pixel is decoded, nothing is coerced.",
        "",
        "- 0000 leaves after file, folder and index are synced.",
        "- The same instance again: with the same bytes 0000 and nothing changes; with other bytes 0000, the first "
        "stays, "
        "the other is kept aside and a person is told.",
        f"- Refused with A700: less than {storage.min_free_bytes // 1024**2} MiB free (`min_free_bytes`). An object "
        "over "
        f"{storage.max_object_bytes // 1024**2} MiB (`max_object_bytes`) ends the association.",
        f"- Refused with C000: sequences nested over {MAX_DEPTH} deep, over {OBJECT_ELEMENTS} elements and items, cut "
        "short, a file where a data set belongs. With A900: UIDs missing, malformed or other than the command's.",
        "- Deflated transfer syntax is not accepted: a megabyte of it may be gigabytes.",
        "",
        "Rejection notes (IHE RAD-66): of a device that may `reject`, a Key Object Selection with one of these titles "
        "(DCM) hides what its evidence (0040,A375) names before it is answered 0000, also what comes after it.",
        "",
        *table(
            ("Title", "Hides for", "The same instance again"),
            (
                (value, title, f"{status.STORE_CODES['rejected']:04X}" if title in REFUSED else _AGAIN[title])
                for value, title in TITLES.items()
            ),
        ),
    ]


def _commitment(settings: Settings) -> list[str]:
    return [
        "N-ACTION 1 is answered 0000 once the request is on the disk. Each instance is then checked: known, of that "
        "class, "
        "its file there, as long as it was and with the same SHA-256. N-EVENT-REPORT 1 (all are safe) or 2 tells each "
        "instance in exactly one list, until the device has answered 0000.",
        "",
        *table(
            ("Failure reason (0008,1197)", "When"), [(f"{reason:04X}", _NOT_SAFE[reason]) for reason in FailureReason]
        ),
        "",
        "- The report comes on an association of ours to the peer's `host` and `port`, with SCP/SCU role selection; a "
        "device that ignores it gets it all the same. Without `host` a person is told. With `commitment` = same it "
        "comes first on the association that asked, while that is open and silent.",
        "- The same request again is answered 0000 and reported once; the same transaction with another list is 0131. "
        "At "
        f"most {MOST_REFERENCES} instances a request.",
    ]


def _availability() -> list[str]:
    present = " or ".join(PRESENT)
    return [
        "N-CREATE of an archive that may `ian`, one study each; the newest word of an archive on an instance holds. "
        f"{present} counts as come when a device lists the instance by MPPS. A study whose instances are all "
        f"{Availability.UNAVAILABLE} at every archive that speaks of them leaves record and viewer, and a person is "
        "told; of some, a person is told.",
        "",
        "Type 1 attributes of Table R.3.2-1 are required (0120, 0121; 0106 for a value that cannot be), absent type 2 "
        f"ones are taken; attributes outside the table are ignored (0107). At most {MOST_INSTANCES} instances a "
        "notification.",
    ]


def _statuses() -> list[str]:
    rows = {kind: (*row, status.ACTION.get(kind, row.step)) for kind, row in status.TABLE.items()}
    finer = [*status.STEP_CODES.items(), *status.STORE_CODES.items(), ("no such action", status.NO_SUCH_ACTION)]
    return [
        *table(
            ("When", "C-FIND", "C-STORE", "N-CREATE, N-SET, N-GET", "N-ACTION"),
            [
                (_FAULTS[kind.__name__], *(f"{one:04X}" for one in row))
                for kind, row in rows.items()
                if kind.__name__ in _FAULTS
            ],
        ),
        "",
        "Finer: " + ", ".join(f"{word.replace('-', ' ')} {one:04X}" for word, one in finer) + ". After a failed "
        "sync nothing is answered: the association is aborted and the process ends, for nobody knows what is safe. "
        "Error "
        "Comment (0000,0902) says what was wrong and never quotes a value.",
    ]


def _configuration(settings: Settings) -> list[str]:
    dicom = settings.dicom
    return [
        f"TCP, IPv4 or IPv6; {dicom.host}, port {dicom.port} (`host`, `port`). Loopback unless told otherwise.",
        "",
        f"- A query's identifier or an attribute list: at most {dicom.max_message_bytes // 1024**2} MiB "
        f"(`max_message_bytes`), {QUERY_ELEMENTS} and {MESSAGE_ELEMENTS} elements.",
        "- Devices: `[[dicom.peer]]` by AE title, with addresses, what they may, their character set and authorities. "
        f"One without a row may: {', '.join(sorted(dicom.unknown_peers)) or 'nothing'} (`unknown_peers`).",
    ]


# -- 5 to 7 -------------------------------------------------------------------------------------------------------


def _charsets(settings: Settings) -> list[str]:
    known = ", ".join(sorted(CHARACTER_SETS - {""}))
    return [
        f"Read and written: {known}, with code extensions.",
        "",
        "Answers come in the device's set (`character_set` of its row); without one in the query's own (0008,0005), "
        f"unless that names the default repertoire or none; else in the site's ({settings.dicom.character_set}). What "
        "it lacks is told by the alphabetic group alone, else spelt by a declared table, else, with `utf8 = true`, in "
        "ISO_IR 192; with `utf8 = false` the entry is withheld and listed for a person. A question mark never stands "
        "for a letter. Objects are kept as they come.",
    ]


def _security() -> list[str]:
    return [
        "By AE title, address, TLS certificate and operation, each by setting; refusals are logged and audited with "
        "title and address. No attribute of a patient is in a log, a metric, an error comment or a file name.",
        "",
        f"With `tls_certificate_file` the port speaks TLS 1.2 and 1.3 alone (BCP 195, PS3.15 B.9): of 1.2 the suites "
        f"`{CIPHERS}`, no renegotiation. Client certificates are asked for with `tls_client_ca_file`, and required "
        "unless `tls_client_required` is false; `tls_client_crl_file` names the revoked ones.",
    ]


def _annexes(mappings: Mappings) -> list[str]:
    rows = [
        (rule.name, dictionary_description(int(rule.name[1:5] + rule.name[6:10], 16)), rule.vr,
         ", ".join(str(path) for path, _ in rule.paths))
        for rule in mappings.attributes.rules
    ]  # fmt: skip
    syntaxes = sorted(TRANSFER_SYNTAXES, key=_by_number)
    classes = sorted(STORAGE, key=_by_number)
    return [
        "### 7.1 Storage SOP classes",
        "",
        "Private classes are added by `storage.private_sop_classes`.",
        "",
        *table(("Name", "UID"), [(UID(uid).name, uid) for uid in classes]),
        "",
        "### 7.2 Transfer syntaxes of storage",
        "",
        *table(("Name", "UID"), [(UID(uid).name, uid) for uid in syntaxes]),
        "",
        "### 7.3 Attributes from the order message, told on top",
        "",
        "Where the other attributes of the worklist come from is in docs/conformance-hl7.md.",
        "",
        *table(("Tag", "Attribute", "VR", "From"), rows),
        "",
        "### 7.4 Private attributes, coded terms, standard extended classes",
        "",
        "None of our own. Codes of procedures and protocols are the sender's.",
    ]


def _by_number(uid: str) -> list[int]:
    return [int(part) for part in uid.split(".")]


def _tag(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
