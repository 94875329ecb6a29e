"""What a device may be shown of the worklist, whatever it asks: the site's rules come on top of the query's keys.

A key never loosens a rule, unless the site says which may: a wild card, or another station's name, finds no more than
the device's own part. Each rule that hides an entry has a name, so that a person can be told why it is on no list: none
of them hides in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from heapq import nsmallest

from bridge.domain.keys import range_of, text_matches, when_matches
from bridge.domain.lifecycle import VISIBLE
from bridge.domain.order import OrderStatus, StepStatus
from bridge.domain.worklist import Matcher, WorklistEntry, WorklistKeys

WITHDRAWN = frozenset({OrderStatus.HD, OrderStatus.CA, OrderStatus.DC})
"""Orders on hold or given up: none of their steps is shown, whatever the step says."""
KEPT = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED})
"""What may be done again."""
_SOUGHT = {
    "patient": ("patient_id", "patient_name"),
    "accession": ("accession_number",),
    "procedure": ("requested_procedure_id", "study_instance_uids"),
    "step": ("step_id",),
}
"""The keys by which a device seeks somebody or something, by the words of `beyond`."""
_OF_A_LIST = frozenset(
    {"station_ae_title", "station_name", "step_location", "modality", "step_status", "start_date", "start_time"}
)
_FEWEST = 2
"""Letters that a name must begin with to seek somebody: one alone finds a whole list in 26 queries."""


class Listing(list[WorklistEntry]):
    """Entries in order of start. `cut`: there are more, which the device must be told in the end."""

    cut = False


@dataclass(frozen=True, slots=True)
class View:
    """What the site shows a device now. Empty `stations`, `modalities` and `locations` limit nothing.

    `beyond`: the keys that lift these three, and show who did not come. `earliest`: the first day (DA) that is shown.
    Who asks for `today` (DA) is shown `window` too: the first and the last moment (DA and TM in one) round now.
    `default_window`: who asks for nothing in particular asks for today. `kept_since`: what a device has ended since
    then stays (None: nothing does). `missed`: who was to come before that moment and did not is hidden ('' =
    nobody is).
    """

    stations: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    statuses: frozenset[StepStatus] = VISIBLE
    beyond: frozenset[str] = frozenset()
    earliest: str = ""
    today: str = ""
    window: tuple[str, str] = ("", "")
    default_window: bool = False
    kept_since: datetime | None = None
    missed: str = ""

    @property
    def listed(self) -> frozenset[StepStatus]:
        """The statuses that an entry which is shown may have."""
        return self.statuses | KEPT if self.kept_since else self.statuses


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about a step and is not in its entry. `placeholder`: only spoken of so far, not ordered. `ended_at`:
    when a device ended it. `no_show`: its patient did not come, as far as is known."""

    order_status: str
    placeholder: bool = False
    parked: str = ""
    ended_at: datetime | None = None
    no_show: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule that hides an entry, and what the entry has of it; of the rule `key` the key's name in `WorklistKeys`."""

    rule: str
    found: str = ""


def list_keys(keys: WorklistKeys) -> dict[str, str] | None:
    """The keys of a query for a list, such as a scanner repeats all day; None for one that seeks somebody or something.
    None of them says who a patient is."""
    asked = {one.name: getattr(keys, one.name) for one in fields(keys) if one.name != "fuzzy"}
    given = {name: key for name, key in asked.items() if (key.strip(" *?^=") if isinstance(key, str) else key)}
    return given if given.keys() <= _OF_A_LIST else None


def moved(days_: str, by: timedelta) -> str:
    """A day or range of days (DA) so much later; what is none stays."""

    def later(day: str) -> str:
        try:
            return f"{datetime.strptime(day, '%Y%m%d').replace(tzinfo=UTC) + by:%Y%m%d}" if day else ""
        except (ValueError, OverflowError):
            return day

    return "-".join(later(day.strip()) for day in days_.split("-"))


def opened(view: View, keys: WorklistKeys) -> View:
    """The view of a device that asks by these keys: what the site lets them lift is lifted, and what it asks of who
    names no day, patient, order or step (what fits that may be months of work) is asked of no other."""
    asked = list_keys(keys)
    by_default = view.default_window and asked is not None and "start_date" not in asked
    if any(_seeks(keys, name) for word in view.beyond for name in _SOUGHT[word]):
        view = replace(view, stations=(), modalities=(), locations=(), missed="")
    return replace(view, default_window=by_default)


def days(view: View, keys: WorklistKeys) -> tuple[str, str]:
    """The first and the last day (DA, '' = open) on which an entry may begin that an `opened` view shows."""
    asked = _asked_day(view, keys)
    low, high = range_of(asked) if asked else ("", "")
    if _asks_today(view, keys):
        low, high = low and min(low, view.window[0][:8]), high and max(high, view.window[1][:8])
    return max(low, view.earliest), high


def hidden(view: View, entry: WorklistEntry, standing: Standing) -> Iterator[Reason]:
    """The rules of an `opened` view that keep the entry from the device."""
    if entry.step_status not in view.statuses and not _is_kept(view, entry, standing):
        yield Reason("step-status", entry.step_status)
    if standing.no_show and entry.step_status == StepStatus.SCHEDULED and _moment(entry) < view.missed:
        yield Reason("no-show", f"{entry.start_date} {entry.start_time}".strip())
    if not entry.start_date:
        yield Reason("no-start")
    elif entry.start_date < view.earliest:
        yield Reason("too-old", entry.start_date)
    elif view.default_window and entry.start_date != view.today and not _is_near(view, entry):
        yield Reason("day", entry.start_date)
    if view.stations and not set(view.stations) & set(entry.station_ae_titles):
        yield Reason("station", ", ".join(entry.station_ae_titles))
    if view.modalities and entry.modality not in view.modalities:
        yield Reason("modality", entry.modality)
    places = [place for place in (entry.step_location, entry.patient_location) if place]
    if view.locations and not any(text_matches(one, place) for one in view.locations for place in places):
        yield Reason("location", ", ".join(places))


def reasons(view: View, wanted: Matcher, entry: WorklistEntry, standing: Standing) -> Iterator[Reason]:
    """All that keeps a step from a device that asks for `wanted`, first what no query can change. None: shown.

    `view` as `opened` gives it for these keys.
    """
    if standing.placeholder:
        yield Reason("placeholder")
    if standing.order_status in WITHDRAWN:
        yield Reason("order-status", standing.order_status)
    if standing.parked:
        yield Reason("parked", standing.parked)
    yield from hidden(view, entry, standing)
    for name in wanted.failing(entry):
        if not (name == "start_date" and _is_near_today(view, wanted.keys, entry)):
            yield Reason("key", name)


def nearest(entries: Iterable[WorklistEntry], most: int, now: datetime) -> Listing:
    """Of more than `most` entries those that begin nearest to now (on the clocks of their site)."""
    found, cut = list[WorklistEntry](), False
    for entry in entries:
        found.append(entry)
        if len(found) > 2 * most:  # never all of them in memory
            found, cut = nsmallest(most, found, lambda one: _far(one, now)), True
    cut = cut or len(found) > most
    listing = Listing(nsmallest(most, found, lambda one: _far(one, now)) if cut else found)
    listing.cut = cut
    listing.sort(key=lambda one: (one.start_date, one.start_time, one.step_pk))
    return listing


def _far(entry: WorklistEntry, now: datetime) -> float:
    try:
        begins = datetime.strptime(_moment(entry), "%Y%m%d%H%M%S").replace(tzinfo=now.tzinfo)
    except ValueError:
        return float("inf")
    return abs((begins - now).total_seconds())


def _moment(entry: WorklistEntry) -> str:
    return entry.start_date + (entry.start_time + "000000")[:6]


def _seeks(keys: WorklistKeys, name: str) -> bool:
    """Whether a key names one: a whole number, or how a name begins."""
    key = getattr(keys, name)
    if not isinstance(key, str):
        return bool(key)
    begins = key.partition("*")[0].partition("?")[0].strip(" ^=")
    return len(begins) >= _FEWEST if name == "patient_name" else bool(begins) and begins == key.strip()


def _asked_day(view: View, keys: WorklistKeys) -> str:
    return view.today if view.default_window else keys.start_date.strip()


def _asks_today(view: View, keys: WorklistKeys) -> bool:
    """A range of days with a range of times is one interval, to the minute (K.4.1.1.3): it means what it says."""
    day = _asked_day(view, keys)
    if not day or ("-" in day and "-" in keys.start_time):
        return False
    low, high = range_of(day)
    return low <= view.today and (not high or view.today <= high)


def _is_kept(view: View, entry: WorklistEntry, standing: Standing) -> bool:
    ended, since = standing.ended_at, view.kept_since
    return entry.step_status in KEPT and ended is not None and since is not None and ended >= since


def _is_near(view: View, entry: WorklistEntry) -> bool:
    return bool(entry.start_time) and view.window[0] <= _moment(entry) <= view.window[1]


def _is_near_today(view: View, keys: WorklistKeys, entry: WorklistEntry) -> bool:
    """Asked for today, and begun or to begin within the window: midnight is nobody's end of a shift."""
    timely = when_matches("", keys.start_time, entry.start_date, entry.start_time)
    return timely and _asks_today(view, keys) and _is_near(view, entry)
