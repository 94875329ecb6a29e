"""The resources of the Studies Service (PS3.18 10.1.1) by their paths, read before anything is looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from bridge.dicomweb.status import bad
from bridge.errors import NotFound
from bridge.uids import is_uid

_TAG = re.compile(r"[0-9A-F]{8}(?:\.[0-9]{1,6}\.[0-9A-F]{8}){0,8}")
_FRAME = re.compile(r"0*[1-9][0-9]{0,8}")
_RENDERED = ("rendered", "thumbnail")


class Kind(Enum):
    SEARCH_STUDIES = "search-studies"
    SEARCH_SERIES = "search-series"
    SEARCH_INSTANCES = "search-instances"
    RETRIEVE = "retrieve"
    METADATA = "metadata"
    FRAMES = "frames"
    BULKDATA = "bulkdata"
    RENDERED = "rendered"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: '' for a level that it leaves open. `frames` count from 1; `tag` is as in a BulkDataURI."""

    kind: Kind
    study: str = ""
    series: str = ""
    instance: str = ""
    frames: tuple[int, ...] = ()
    tag: str = ""


def read_target(path: str) -> Target:
    """The resource of a percent-decoded path below the service root, without a leading slash.

    Raises `NotFound` for a path of no resource, `BadValue` for a UID, frame list or tag that is none.
    """
    found = _resource(path.split("/"))
    for uid, level in ((found.study, "study"), (found.series, "series"), (found.instance, "instance")):
        if uid and not is_uid(uid):
            raise bad("not a UID (PS3.5 9.1)", level)
    return found


def _resource(path: list[str]) -> Target:
    # An empty segment would read as "level left open": it names nothing.
    if "" in path:
        raise NotFound("no such resource", where="path")
    match path:
        case ["studies"]:
            return Target(Kind.SEARCH_STUDIES)
        case ["series"]:
            return Target(Kind.SEARCH_SERIES)
        case ["instances"]:
            return Target(Kind.SEARCH_INSTANCES)
        case ["studies", study, "series"]:
            return Target(Kind.SEARCH_SERIES, study)
        case ["studies", study, "instances"]:
            return Target(Kind.SEARCH_INSTANCES, study)
        case ["studies", study, "series", series, "instances"]:
            return Target(Kind.SEARCH_INSTANCES, study, series)
        case ["studies", study, "series", series, "instances", instance, *rest]:
            return _view(rest, study, series, instance)
        case ["studies", study, "series", series, *rest]:
            return _view(rest, study, series)
        case ["studies", study, *rest]:
            return _view(rest, study)
    raise NotFound("no such resource", where="path")


def _view(rest: list[str], study: str, series: str = "", instance: str = "") -> Target:
    match rest:
        case []:
            return Target(Kind.RETRIEVE, study, series, instance)
        case ["metadata"]:
            return Target(Kind.METADATA, study, series, instance)
        case [view] if view in _RENDERED:
            return Target(Kind.RENDERED, study, series, instance)
        case ["frames", numbers] if instance:
            return Target(Kind.FRAMES, study, series, instance, frames=_frames(numbers))
        case ["frames", numbers, view] if instance and view in _RENDERED:
            return Target(Kind.RENDERED, study, series, instance, frames=_frames(numbers))
        case ["bulkdata", tag] if instance:
            if not _TAG.fullmatch(tag.upper()):
                raise bad("not the tag of an element", "bulkdata")
            return Target(Kind.BULKDATA, study, series, instance, tag=tag.upper())
    raise NotFound("no such resource", where="path")


def _frames(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(_FRAME.fullmatch(n) for n in numbers):
        raise bad("not a list of frame numbers", "frames")
    return tuple(map(int, numbers))
