"""OperationOutcome: what a server's tells, and the one table from our errors to ours (R4 http 3.1.0.1)."""

from __future__ import annotations

from typing import Any

from bridge.errors import (
    BadInput,
    BridgeError,
    NotAllowed,
    NotFound,
    RemoteError,
    StateConflict,
    StoreError,
    StoreUnavailable,
    TooLarge,
)

ISSUE_TYPES = frozenset(
    {
        *("invalid", "structure", "required", "value", "invariant", "security", "login", "unknown"),
        *(
            "expired",
            "forbidden",
            "suppressed",
            "processing",
            "not-supported",
            "duplicate",
            "multiple-matches",
            "not-found",
        ),
        *("deleted", "too-long", "code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient"),
        *("lock-error", "no-store", "exception", "timeout", "incomplete", "throttled", "informational"),
    }
)
"""IssueType (R4, required binding)."""

# The first that fits: subclasses before their parents.
ANSWERS: tuple[tuple[type[BridgeError], int, str], ...] = (
    (TooLarge, 413, "too-long"),
    (StateConflict, 409, "conflict"),
    (BadInput, 400, "invalid"),
    (NotFound, 404, "not-found"),
    (NotAllowed, 403, "forbidden"),
    (StoreUnavailable, 503, "transient"),
    (StoreError, 500, "exception"),
    (RemoteError, 502, "transient"),
    (BridgeError, 500, "exception"),
)


def write_outcome(error: BridgeError) -> tuple[int, dict[str, Any]]:
    """HTTP status and OperationOutcome. `diagnostics` is our own stable code, never a text of somebody else."""
    status, kind = next((s, k) for t, s, k in ANSWERS if isinstance(error, t))
    issue = {"severity": "error", "code": kind, "diagnostics": error.code}
    return status, {"resourceType": "OperationOutcome", "issue": [issue]}


def issues(resource: object) -> tuple[tuple[str, str], ...]:
    """(severity, code) of each issue, free of patient data: codes outside FHIR's own list read `unknown`."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "OperationOutcome":
        return ()
    rows = resource.get("issue")
    return tuple(
        (str(row.get("severity", "")), code if (code := str(row.get("code"))) in ISSUE_TYPES else "unknown")
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    )


def is_error(resource: object) -> bool:
    return any(severity in ("error", "fatal") for severity, _ in issues(resource))
