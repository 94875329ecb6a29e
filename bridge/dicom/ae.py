"""The bridge's application entity: a listener, and the operations behind it (PS3.7, PS3.8)."""

from __future__ import annotations

import logging
import ssl

from bridge import log as logs
from bridge import tls
from bridge.clock import Clock
from bridge.config import Dicom, Settings
from bridge.dicom.acceptor import Acceptor
from bridge.dicom.operations import Operations
from bridge.dicom.services import AcquiringService, PerformingService, Services, WorklistService
from bridge.dicom.stock import StockListener
from bridge.errors import StoreUnavailable
from bridge.mapping.transliteration import NONE, Transliteration

log = logging.getLogger(__name__)


def tls_context(settings: Dicom) -> ssl.SSLContext | None:
    """None for a listener in plain text. Raises `ConfigurationError` for files that cannot be used."""
    if settings.tls_certificate_file is None:
        return None
    files = tls.ServerFiles(
        settings.tls_certificate_file,
        settings.tls_key_file,
        settings.tls_client_ca_file,
        settings.tls_client_crl_file,
        settings.tls_client_required,
    )
    return tls.server_context(files, what="dicom")


class DicomServer:
    """Listens for modalities. `start`, then `drain` (finish what runs, begin nothing) and `stop`."""

    def __init__(self, settings: Settings, services: Services, clock: Clock, table: Transliteration = NONE) -> None:
        self.settings = settings.dicom
        self.operations = Operations(settings, services, clock, table)
        self.archive = self.operations.archive
        own = self.settings.transport == "own"
        self._listener: Acceptor | StockListener = (
            Acceptor(settings, self.operations, clock, tls_context(self.settings))
            if own
            else StockListener(settings, self.operations, clock)
        )

    @property
    def port(self) -> int:
        """The port in use, also when the settings ask for any (0)."""
        port = self._listener.port
        if port is None:
            raise StoreUnavailable("the DICOM listener is not started")
        return port

    @property
    def associations(self) -> int:
        """Associations that are open."""
        return self._listener.associations

    def start(self) -> None:
        """Listen; `OSError` when the port is taken."""
        self._listener.start()
        logs.work(log, "dicom listening", port=self.port, aet=self.settings.ae_title)

    def drain(self, timeout: float) -> bool:
        """Accept nothing new and wait for running operations; False when some still run after `timeout` seconds."""
        self.operations.begin_nothing()
        self._listener.close()
        return self.operations.finish(timeout)

    def stop(self) -> None:
        """End everything now: the listener, then every association with an A-ABORT."""
        self.operations.begin_nothing()
        self._listener.close()
        self._listener.abort()
        self.operations.close()


__all__ = [
    "AcquiringService",
    "DicomServer",
    "PerformingService",
    "Services",
    "WorklistService",
]
