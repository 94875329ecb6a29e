"""`GET /metrics` of the public origin: numbers for Prometheus, for the site's own eyes only."""

from __future__ import annotations

import hmac
import ipaddress
import threading
from collections.abc import Callable, Iterator, Mapping

from flask import Blueprint, Response, request

from bridge.clock import Clock
from bridge.config import Settings
from bridge.errors import NotAllowed
from bridge.metrics import CONTENT_TYPE, Family, render
from bridge.workflow.measuring import Measures

CACHE_SECONDS = 5.0
"""However many scrape, the database is asked so seldom."""
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")


def metrics_blueprint(settings: Settings, clock: Clock, measure: Callable[[], Measures]) -> Blueprint:
    """403 for whoever has neither an allowed address nor the token; 503 when the store does not answer."""
    pages = Blueprint("metrics", __name__)
    cache = _Cache(clock, measure)

    @pages.get("/metrics")
    def metrics() -> Response:
        if not (_by_token(settings) or _by_address(settings)):
            raise NotAllowed("not for this address", where="metrics")
        return Response(cache.text(), content_type=CONTENT_TYPE)

    return pages


class _Cache:
    """One thread measures, the others wait for its answer."""

    def __init__(self, clock: Clock, measure: Callable[[], Measures]) -> None:
        self._clock = clock
        self._measure = measure
        self._lock = threading.Lock()
        self._text = b""
        self._until = float("-inf")

    def text(self) -> bytes:
        with self._lock:
            if self._clock.monotonic() >= self._until:
                self._text = render(families(self._measure()))
                self._until = self._clock.monotonic() + CACHE_SECONDS
            return self._text


def _by_token(settings: Settings) -> bool:
    file = settings.metrics.token_file
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if file is None or kind.lower() != "bearer":
        return False
    try:
        wanted = file.read_bytes().strip()  # each time: a new token counts at once
    except OSError:
        return False
    return bool(wanted) and hmac.compare_digest(wanted, given.strip().encode())


def _by_address(settings: Settings) -> bool:
    if not settings.web.trusted_proxies and any(name in request.headers for name in _FORWARDED):
        return False  # the proxy's address, not the asker's
    try:
        asker = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return any(asker in ipaddress.ip_network(network, strict=False) for network in settings.metrics.allow_from)


def families(measures: Measures) -> Iterator[Family]:
    """Every gauge. Ages are in seconds, at the moment of measuring."""
    facts = measures.facts
    now = facts.at.timestamp()
    feeds = facts.feeds
    yield _by_feed(
        "bridge_feed_last_message_age_seconds",
        "Since the newest message, resends too",
        {f.name: now - f.last_at.timestamp() for f in feeds if f.last_at},
    )
    yield _by_feed("bridge_feed_messages", "Messages kept", {f.name: f.messages for f in feeds}, counter=True)
    minute, hour = ({name: rate[i] for name, rate in measures.rates.items()} for i in (0, 1))
    yield _by_feed("bridge_feed_messages_last_minute", "Messages kept in the last minute", minute)
    yield _by_feed("bridge_feed_messages_last_hour", "Messages kept in the last hour", hour)
    yield _by_feed(
        "bridge_feed_error_share",
        "Refused or quarantined among the newest messages (alarms.error_window)",
        {f.name: f.refused / f.recent for f in feeds if f.recent},
    )
    for kind, name, text in (
        ("message-refused", "bridge_feed_refused", "Refused messages on the review list"),
        ("message-quarantined", "bridge_feed_quarantined", "Quarantined frames on the review list"),
        ("order-parked", "bridge_feed_parked", "Parked orders and steps on the review list"),
    ):
        counts = {f.name: 0 for f in feeds} | {w.feed: w.count for w in facts.waiting if w.kind == kind}
        yield _by_feed(name, text, counts)
    yield from _queues(measures, now)
    yield from _reviews(measures, now)
    yield Family(
        "bridge_commitments",
        "Storage commitments of which the device has not taken our word, by state",
        ("device", "state"),
        tuple(((c.calling_ae_title, c.state), c.count) for c in facts.commitments),
    )
    yield Family(
        "bridge_studies",
        "Studies by state and match",
        ("state", "match"),
        tuple(((state, match), count) for state, match, count in measures.studies),
    )
    yield Family(
        "bridge_clock_moved_seconds",
        "Wall clock ahead of (or, negative, behind) the time that leases and queues go by",
        (),
        (((), (facts.at - facts.steady).total_seconds()),),
    )
    yield Family("bridge_free_disk_bytes", "Free under the archive", (), (((), facts.free_bytes),))
    yield Family(
        "bridge_role_beat_age_seconds",
        "Since the role was last heard of",
        ("role",),
        tuple(((role,), (facts.steady - at).total_seconds()) for role, at in facts.roles.items()),
    )
    yield Family(
        "bridge_alarm",
        "1 for each open alarm",
        ("kind", "subject"),
        tuple(((alarm["kind"], alarm["subject"]), 1) for alarm in measures.alarms),
    )


def _by_feed(name: str, text: str, values: Mapping[str, float], *, counter: bool = False) -> Family:
    samples = tuple(((feed,), float(value)) for feed, value in values.items())
    return Family(name, text, ("feed",), samples, "counter" if counter else "gauge")


def _queues(measures: Measures, now: float) -> Iterator[Family]:
    queues, owed = measures.facts.queues, measures.facts.owed
    yield Family(
        "bridge_outbound_messages",
        "HL7 messages of ours by state",
        ("destination", "state"),
        tuple(
            ((q.destination, state), count)
            for q in queues
            for state, count in (("waiting", q.waiting), ("stopped", q.stopped), ("sent", q.sent), ("dead", q.dead))
        ),
    )
    yield Family(
        "bridge_outbound_oldest_age_seconds",
        "Since the oldest waiting HL7 message of ours was queued",
        ("destination",),
        tuple(((q.destination,), now - q.oldest.timestamp() if q.oldest else 0) for q in queues),
    )
    yield Family(
        "bridge_publications",
        "Publications that an EHR lacks, by state",
        ("ehr", "state"),
        tuple(((o.connection, o.state), o.count) for o in owed),
    )
    yield Family("bridge_publications_done", "Publications that are at their EHR", (), (((), measures.done),))
    yield Family(
        "bridge_publication_oldest_age_seconds",
        "Since the oldest publication has been owed, by state",
        ("ehr", "state"),
        tuple(((o.connection, o.state), now - o.oldest.timestamp()) for o in owed),
    )


def _reviews(measures: Measures, now: float) -> Iterator[Family]:
    counts: dict[str, int] = {}
    oldest: dict[str, float] = {}
    for one in measures.facts.waiting:
        counts[one.kind] = counts.get(one.kind, 0) + one.count
        oldest[one.kind] = max(now - one.oldest.timestamp(), oldest.get(one.kind, 0))
    yield Family(
        "bridge_reviews_open", "Entries that wait for a person", ("kind",), tuple(((k,), n) for k, n in counts.items())
    )
    yield Family(
        "bridge_review_oldest_age_seconds",
        "Since the oldest entry waits for a person",
        ("kind",),
        tuple(((k,), age) for k, age in oldest.items()),
    )
