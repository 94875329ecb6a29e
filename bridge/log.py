"""One JSON line per unit of work, with no patient data.

Values are escaped by JSON, so a peer cannot forge a line. Only keys of `FIELDS` are written: a field must be known
here to be free of patient data before it may appear.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache

FIELDS = frozenset(
    {
        *("role", "event", "feed", "peer", "aet", "control_id", "message_type", "code", "status", "outcome", "ms"),
        *("count", "size", "connection", "target", "attempt", "retry_after", "study_id", "order_id", "message_id"),
        *("review_id", "session_id", "reason", "where", "error", "pid", "port", "path", "version", "issuer", "rule"),
        *("state", "created"),
    }
)


class JsonFormatter(logging.Formatter):
    """`{"t": ..., "level": ..., "logger": ..., "msg": ..., **fields}`; exceptions by type and place, never by text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "t": f"{_second(int(record.created))}.{int(record.msecs):03d}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update((k, v) for k, v in fields.items() if k in FIELDS)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            tb = record.exc_info[2]
            while tb is not None and tb.tb_next is not None:
                tb = tb.tb_next
            if tb is not None:
                line["where"] = f"{tb.tb_frame.f_code.co_filename}:{tb.tb_lineno}"
        return json.dumps(line, default=str)


@lru_cache(maxsize=8)
def _second(since_1970: int) -> str:
    return datetime.fromtimestamp(since_1970, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def set_up(level: str = "INFO", *, stream: object = None) -> None:
    """Send every record of the process to standard error as JSON lines; foreign libraries from WARNING on."""
    handler = logging.StreamHandler(stream or sys.stderr)  # type: ignore[arg-type]
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("bridge").setLevel(level)
    # Not written into a line, and looked up for every record all the same (the logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    # These format identifiers and data sets into their records: patient data.
    for name in ("pynetdicom", "pydicom", "hl7apy", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def work(logger: logging.Logger, event: str, /, level: int = logging.INFO, **fields: object) -> None:
    """Log one unit of work: `work(log, "message", feed="ris", code="AA", ms=1.2)`."""
    logger.log(level, event, extra={"fields": fields})
