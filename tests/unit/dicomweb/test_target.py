"""The resources of the Studies Service by their paths (PS3.18 10.1.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.dicomweb.target import Kind, Target, read_target
from bridge.errors import BadValue, NotFound
from bridge.uids import is_uid

I = "studies/1.2/series/1.3/instances/1.4"  # noqa: E741


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("studies", Target(Kind.SEARCH_STUDIES)),
        ("series", Target(Kind.SEARCH_SERIES)),
        ("instances", Target(Kind.SEARCH_INSTANCES)),
        ("studies/1.2", Target(Kind.RETRIEVE, "1.2")),
        ("studies/1.2/metadata", Target(Kind.METADATA, "1.2")),
        ("studies/1.2/series", Target(Kind.SEARCH_SERIES, "1.2")),
        ("studies/1.2/instances", Target(Kind.SEARCH_INSTANCES, "1.2")),
        ("studies/1.2/series/1.3", Target(Kind.RETRIEVE, "1.2", "1.3")),
        ("studies/1.2/series/1.3/metadata", Target(Kind.METADATA, "1.2", "1.3")),
        ("studies/1.2/series/1.3/instances", Target(Kind.SEARCH_INSTANCES, "1.2", "1.3")),
        ("studies/1.2/series/1.3/thumbnail", Target(Kind.RENDERED, "1.2", "1.3")),
        (I, Target(Kind.RETRIEVE, "1.2", "1.3", "1.4")),
        (f"{I}/metadata", Target(Kind.METADATA, "1.2", "1.3", "1.4")),
        (f"{I}/rendered", Target(Kind.RENDERED, "1.2", "1.3", "1.4")),
        (f"{I}/frames/1,3", Target(Kind.FRAMES, "1.2", "1.3", "1.4", (1, 3))),
        (f"{I}/frames/2/rendered", Target(Kind.RENDERED, "1.2", "1.3", "1.4", (2,))),
        (f"{I}/bulkdata/7fe00010", Target(Kind.BULKDATA, "1.2", "1.3", "1.4", tag="7FE00010")),
        (f"{I}/bulkdata/54000100.0.54001010", Target(Kind.BULKDATA, "1.2", "1.3", "1.4", tag="54000100.0.54001010")),
    ],
)
def test_path_of(path: str, target: Target) -> None:
    assert read_target(path) == target


@pytest.mark.parametrize(
    "path",
    [
        *("", "studies/", "/studies", "studies//metadata", "patients/1", "studies/1.2/frames/1", "STUDIES"),
        *("studies/1.2/series/1.3/", "studies/1.2/series/1.3/instances/"),
        *(f"{I}/frames", f"{I}/frames/1/2", f"{I}/bulkdata"),
    ],
)
def test_no_resource(path: str) -> None:
    with pytest.raises(NotFound):
        read_target(path)


@pytest.mark.parametrize(
    "uid", ["1.02", "1.2.", ".1.2", "1", "1..2", "..", "1.2\n", "1.2 ", "1.٢", "1." * 32 + "1", "x"]
)
def test_what_is_no_uid_is_refused_at_every_level(uid: str) -> None:
    for path in (f"studies/{uid}", f"studies/1.2/series/{uid}", f"studies/1.2/series/1.3/instances/{uid}"):
        with pytest.raises(BadValue):
            read_target(path)


@pytest.mark.parametrize("numbers", ["0", "-1", "1,", ",1", "1,,2", "a", "1;2", "9999999999", "١"])
def test_what_is_no_frame_list_is_refused(numbers: str) -> None:
    with pytest.raises(BadValue):
        read_target(f"{I}/frames/{numbers}")


@pytest.mark.parametrize("tag", ["7FE0", "7FE00010x", "..", "00400275.00400009", "PixelData"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(BadValue):
        read_target(f"{I}/bulkdata/{tag}")


@given(st.lists(st.sampled_from(["studies", "series", "instances", "1.2", "..", "%2e", "metadata", "frames", "1", ""])))
def test_any_path_is_a_target_of_good_uids_or_refused(parts: list[str]) -> None:
    try:
        target = read_target("/".join(parts))
    except (NotFound, BadValue):
        return
    assert all(is_uid(uid) for uid in (target.study, target.series, target.instance) if uid)
