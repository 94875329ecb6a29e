"""What went wrong, and whether trying again may help.

Every exception that crosses a module border descends from `BridgeError` and carries two facts:

* `retry`: SAFE (nothing happened, the same call may be made again), AMBIGUOUS (it may have happened: look first),
  NEVER (the same call fails the same way).
* `code`: a word of our own, stable, printed in logs and looked up by each standard's folder in its one table
  (HL7 acknowledgement, DIMSE status, OperationOutcome, HTTP problem).

Texts never hold patient data: they name the field, not its content.

    BridgeError
    ├── ConfigurationError      the site's files are wrong: every fault at once
    ├── BadInput                a peer sent something that cannot be used
    │   ├── NotReadable         not HL7, not DICOM, not JSON; undecodable bytes
    │   ├── Unsupported         a type, event, version or SOP class that we do not take
    │   ├── MissingField        a required field is empty
    │   ├── BadValue            a field holds a value that its type or table forbids
    │   ├── TooLarge            over a limit
    │   └── StateConflict       right in itself, wrong now (MPPS final, step known)
    ├── NotFound                no such order, study, instance, session
    ├── NotAllowed              known, but not for this peer, session or user
    ├── StoreError              our own storage
    │   ├── StoreUnavailable    locked, full, shutting down: say nothing or "later"
    │   └── StoreBroken         a sync failed: stop answering and end the process
    └── RemoteError             an EHR, an authorisation server, an archive
        ├── RemoteUnavailable   refused, timed out, 5xx, 429
        └── RemoteRefused       it understood and will not (400, 403, 422)
"""

from __future__ import annotations

from enum import Enum


class Retry(Enum):
    """Whether the same call may be made again."""

    SAFE = "safe"
    AMBIGUOUS = "ambiguous"
    NEVER = "never"


class BridgeError(Exception):
    """The root: `code` is stable and free of patient data, `where` names the field, tag or setting."""

    code = "error"
    retry = Retry.NEVER

    def __init__(self, message: str, *, where: str = "", code: str = "") -> None:
        super().__init__(message)
        self.where = where
        if code:
            self.code = code


class ConfigurationError(BridgeError):
    """One or more faults in configuration or mapping files; `faults` lists every one as `file:line: text`."""

    code = "configuration"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class BadInput(BridgeError):
    code = "bad-input"


class NotReadable(BadInput):
    code = "not-readable"


class Unsupported(BadInput):
    code = "unsupported"


class MissingField(BadInput):
    code = "missing-field"


class BadValue(BadInput):
    code = "bad-value"


class TooLarge(BadInput):
    code = "too-large"


class StateConflict(BadInput):
    code = "state-conflict"


class NotFound(BridgeError):
    code = "not-found"


class NotAllowed(BridgeError):
    code = "not-allowed"


class StoreError(BridgeError):
    code = "store"


class StoreUnavailable(StoreError):
    code = "store-unavailable"
    retry = Retry.SAFE


class StoreBroken(StoreError):
    code = "store-broken"
    retry = Retry.AMBIGUOUS


class RemoteError(BridgeError):
    code = "remote"

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        code: str = "",
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, where=where, code=code)
        self.status = status
        self.retry_after = retry_after


class RemoteUnavailable(RemoteError):
    code = "remote-unavailable"
    retry = Retry.AMBIGUOUS


class RemoteRefused(RemoteError):
    code = "remote-refused"
