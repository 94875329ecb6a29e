"""The HTTP server: cheroot, threads, no fork. TLS is the reverse proxy's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from cheroot.wsgi import Server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("bridge.web.server")

MAX_HEADER_BYTES = 65536
BACKLOG = 128
IDLE_SECONDS = 20
KEPT_CONNECTIONS = 1024


class _Server(Server):
    nodelay = True
    max_request_header_size = MAX_HEADER_BYTES
    keep_alive_conn_limit = KEPT_CONNECTIONS

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        # cheroot writes peers' bytes into its messages: only the fact is logged.
        log.log(level, "server trouble", exc_info=traceback)


class WebServer:
    """One listener. `bind` first (port 0 takes a free one), then `start` with the application."""

    def __init__(self, host: str, port: int, *, threads: int, drain_seconds: int = 10) -> None:
        self._server = _Server(
            (host, port),
            None,
            numthreads=threads,
            server_name="bridge",
            request_queue_size=BACKLOG,
            timeout=IDLE_SECONDS,
            shutdown_timeout=drain_seconds,
        )
        self._thread: threading.Thread | None = None

    def bind(self) -> int:
        """Take the port and return its number. Raises `OSError` when it is taken."""
        _by_a_daemon(self._server.prepare)
        return self.port

    @property
    def port(self) -> int:
        return int(self._server.bind_addr[1])

    def start(self, app: WSGIApplication) -> None:
        """Serve `app` in threads of its own; binds when that has not been done."""
        if not self._server.ready:
            self.bind()
        self._server.wsgi_app = app
        self._thread = threading.Thread(target=self._server.serve, name=f"web-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections, let running requests finish for `drain_seconds`, then end."""
        self._server.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _by_a_daemon(work: Callable[[], None]) -> None:
    """What `work` raises is raised; the threads that it starts are daemons, as the thread that it runs in.

    The interpreter waits for cheroot's others for ever: a process that failed later would keep the port.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as fault:  # noqa: BLE001 - told in the caller's thread
            done.set_exception(fault)

    threading.Thread(target=run, name="web-bind", daemon=True).start()
    done.result()
