"""A report (ORU^R01) is kept, tied to its order and study, and never to another patient's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bridge.domain.identity import Identifier
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import OrderRequest, OrderStatus, StepStatus, left
from bridge.domain.report import COMPLETING, ReportRequest, rank
from bridge.store import audit, orders, patients, reports, review, studies
from bridge.store.db import Connection
from bridge.workflow import identifying, order_events
from bridge.workflow.context import Context
from bridge.workflow.scheduling import Result

CONFLICT = "report-conflict"
ANOTHER_PATIENT = "report-of-another-patient"
UNTIED = "report-untied"
NOT_OF_IMAGING = "no imaging report: no modality, no text, and its order is not known: nothing is kept"
NO_ORDER = "the order of the report is not known: tied when it comes"


def take_report(connection: Connection, request: ReportRequest, message_id: int, who: str, context: Context) -> Result:
    """Keep one report inside its message's transaction: a new one, or the newest word on a known one."""
    at = context.clock.now()
    if not request.of_imaging and not _is_known(connection, request):
        return Result(warnings=[NOT_OF_IMAGING], changed=False)
    whose = identifying.take_patient_of_order(connection, request.patient, request.sent, message_id, at)
    if whose.parked:
        return Result(parked=[whose.parked], changed=False)
    patient_id = whose.patient_id
    row = reports.find_report(connection, request.number)
    if row is None:
        values = {**_numbers(request), "patient_id": patient_id, **_content(request), **_times(request, at)}
        report_id = reports.add_report(connection, {**values, "message_id": message_id, "updated_at": at})
    elif row.patient_id != patient_id:
        details = {"message": message_id}
        review.open_review(connection, CONFLICT, f"report:{row.id}", ANOTHER_PATIENT, at, details)
        return Result(parked=[ANOTHER_PATIENT], changed=False)
    elif not _supersedes(request, row, at):
        return Result(warnings=["older than what is stored: no effect"], changed=False)
    else:
        report_id = row.id
        values = {k: v for k, v in _numbers(request).items() if v} | _changes(request) | _times(request, at)
        reports.change_report(connection, report_id, {**values, "message_id": message_id, "updated_at": at})
    audit.write_audit(connection, at=at, who=who, action="report-taken", subject=f"report:{report_id}")
    return _tie(connection, report_id, at)


def _is_known(connection: Connection, request: ReportRequest) -> bool:
    """Whether the report is a correction, or of an order or a study that is ours."""
    if reports.find_report(connection, request.number) is not None:
        return True
    if orders.find_order(connection, request.placer, request.filler):
        return True
    accession = request.accession
    if accession and (
        reports.orders_by_accession(connection, accession) or reports.studies_by_accession(connection, accession)
    ):
        return True
    uid = request.study_instance_uid
    return bool(uid) and studies.find_study(connection, uid) is not None


def order_came(connection: Connection, order: OrderRequest, context: Context) -> None:
    """An order was made or changed: reports that waited for it find it now."""
    for report_id in reports.waiting_for_order(connection, order.placer, order.filler, order.accession):
        _tie(connection, report_id, context.clock.now())


def study_came(connection: Connection, study_id: int, at: datetime) -> None:
    """A study was linked to its orders: their reports are reports of it."""
    for row in reports.reports_of_study(connection, study_id):
        if row.study_id is None:
            _tie(connection, row.id, at)


def patient_changed(connection: Connection, identifiers: tuple[Identifier, ...], at: datetime) -> None:
    """Records were merged or moved: what was another patient's may be this one's now."""
    for patient_id in patients.find_patient(connection, identifiers):
        for report_id in reports.untied_of_patient(connection, patient_id):
            _tie(connection, report_id, at)


def _numbers(request: ReportRequest) -> dict[str, Any]:
    accession = request.accession or Identifier("")
    return {
        "filler_order_number": request.number.value,
        "filler_issuer": request.number.issuer,
        "placer_order_number": request.placer.value if request.placer else None,
        "placer_issuer": request.placer.issuer if request.placer else "",
        "accession_number": accession.value,
        "accession_issuer": accession.issuer,
        "study_instance_uid": request.study_instance_uid,
    }


def _content(request: ReportRequest) -> dict[str, Any]:
    code = left(request.code)
    return {
        "status": request.status,
        "code": [code.value, code.scheme, code.meaning] if code else None,
        "interpreter": left(request.interpreter).dicom,
        "text": request.text,
        "impression": request.impression,
        "document": request.document or None,
        "document_type": request.document_type,
    }


def _changes(request: ReportRequest) -> dict[str, Any]:
    """A correction with a text replaces all of the old content: an old PDF must not stand beside a new text."""
    content = _content(request)
    if not request.text and not request.document:
        for name in ("text", "impression", "document", "document_type"):
            del content[name]
    replaced = {"text", "impression", "document", "document_type"}
    replaced |= {"code"} if request.code else set()  # also by nothing: the null deletes
    replaced |= {"interpreter"} if request.interpreter else set()
    return {k: v for k, v in content.items() if v or k in replaced}


def _times(request: ReportRequest, at: datetime) -> dict[str, Any]:
    return {"issued_at": request.issued, "event_at": request.sent or at}


def _supersedes(request: ReportRequest, row: Any, at: datetime) -> bool:
    """OBR-22 decides; of one OBR-22 the more final report holds, whenever it was sent, then MSH-7. Without OBR-22 MSH-7
    decides, and of one MSH-7 the more final report holds."""
    sent, known = request.sent or at, row.event_at
    final, known_final = rank(request.status), rank(row.status)
    if request.issued is None or row.issued_at is None:
        return bool((sent, final) >= (known, known_final))
    return bool((request.issued, final, sent) >= (row.issued_at, known_final, known))


def _tie(connection: Connection, report_id: int, at: datetime) -> Result:
    """Find the order and the study of a report; one of another patient's is left to a person."""
    row = reports.get_report(connection, report_id)
    order, reason = _order_of(connection, row)
    study_id = None
    if not reason:
        study_id, reason = _study_of(connection, row, order)
    order_id = order.id if order else None
    if (order_id, study_id) != (row.order_id, row.study_id):
        reports.change_report(connection, report_id, {"order_id": order_id, "study_id": study_id, "updated_at": at})
    subject = f"report:{report_id}"
    if reason:
        review.open_review(connection, CONFLICT, subject, reason, at, {})
        return Result(parked=[reason])
    waits = order is None and study_id is None
    review.close_review(connection, (CONFLICT,) if waits else (CONFLICT, UNTIED), subject, at, "bridge", "tied")
    if waits:  # perhaps for ever, and somebody wrote it for somebody to read
        review.open_review(connection, UNTIED, subject, "order-not-known", at, {})
    if order is None:
        return Result(warnings=[NO_ORDER])
    if row.status in COMPLETING:
        _complete(connection, order, f"ORU {row.status}", row.message_id, at)
    return Result()


def _order_of(connection: Connection, row: Any) -> tuple[orders.OrderRow | None, str]:
    """The report's order, by its numbers, else by the accession number where that names one order alone."""
    filler = Identifier(row.filler_order_number, row.filler_issuer)
    placer = Identifier(row.placer_order_number, row.placer_issuer) if row.placer_order_number else None
    found = orders.find_order(connection, placer, None if filler == placer else filler)
    found = [one for one in found if not identifying.is_nobodys(connection, one)]
    if not found and row.accession_number:
        accession = Identifier(row.accession_number, row.accession_issuer)
        found = [orders.get_order(connection, o) for o in reports.orders_by_accession(connection, accession)]
        found = [one for one in found if not identifying.is_nobodys(connection, one)]
        if len(found) > 1 and all(f.patient_id == row.patient_id for f in found):
            return None, ""  # one report for orders that were read together: the study ties it
    if len(found) > 1:
        return None, "order-numbers-of-two-orders"
    if found and found[0].patient_id != row.patient_id:
        return None, ANOTHER_PATIENT
    return (found[0] if found else None), ""


def _study_of(connection: Connection, row: Any, order: orders.OrderRow | None) -> tuple[int | None, str]:
    """113014 or ZDS, else the order's own study, else the accession number where that names one study alone."""
    found: list[int] = []
    if row.study_instance_uid:
        study = studies.find_study(connection, row.study_instance_uid)
        found = [study.id] if study is not None else []
    if not found and order is not None:
        found = reports.studies_of_order(connection, order.id)
    if not found and row.accession_number:
        found = reports.studies_by_accession(connection, Identifier(row.accession_number, row.accession_issuer))
    if len(found) != 1:
        return None, ""
    return (found[0], "") if _same_patient(connection, row, found[0]) else (None, "report-of-another-patients-study")


def _same_patient(connection: Connection, row: Any, study_id: int) -> bool:
    owners = reports.patients_of_study(connection, study_id)
    if owners:
        return owners == [row.patient_id]
    study = studies.get_study(connection, study_id)
    return patients.carries(connection, row.patient_id, study.patient_id, study.patient_issuer)


def _complete(connection: Connection, order: orders.OrderRow, event: str, message_id: int | None, at: datetime) -> None:
    """A final report says that the exam was done: the order ends, and no scanner is offered it any more. Also one whose
    NW is still to come: that tells of the exam, and takes nothing of it back."""
    if order.status not in (OrderStatus.SC, OrderStatus.IP):
        return
    order_events.device_says(connection, order.id, OrderStatus.CM, event, at, message_id=message_id)
    for step in orders.steps_of_order(connection, order.id):
        if step.status in VISIBLE:
            orders.set_step_status(connection, step.id, StepStatus.COMPLETED)
