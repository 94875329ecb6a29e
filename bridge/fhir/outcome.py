"""OperationOutcome: what a server's tells (R4 http 3.1.0.1)."""

from __future__ import annotations

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
