"""The DICOMweb gate keeps a session to its studies (security: S26, S27, S29), over every route and form of a UID."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.domain.access import Session
from bridge.domain.viewing import StudyRow
from bridge.web.dicomweb import dicomweb_blueprint
from tests.unit.dicomweb.pretend_images import A2, A, B, PretendImages, Tree, session_of, two_patients

SERIES, INSTANCE = "1", "1.1"
_ROUTES = {
    "search-series": "studies/{s}/series",
    "search-instances": "studies/{s}/instances",
    "search-series-instances": "studies/{s}/series/{r}/instances",
    "study": "studies/{s}",
    "series": "studies/{s}/series/{r}",
    "instance": "studies/{s}/series/{r}/instances/{i}",
    "study-metadata": "studies/{s}/metadata",
    "series-metadata": "studies/{s}/series/{r}/metadata",
    "instance-metadata": "studies/{s}/series/{r}/instances/{i}/metadata",
    "frames": "studies/{s}/series/{r}/instances/{i}/frames/1",
    "pixels": "studies/{s}/series/{r}/instances/{i}/bulkdata/7FE00010",
    "bulkdata": "studies/{s}/series/{r}/instances/{i}/bulkdata/00420011",
    "rendered": "studies/{s}/series/{r}/instances/{i}/rendered",
    "thumbnail": "studies/{s}/thumbnail",
}
_FORMS = {
    "plain": lambda uid: uid,
    "percent-encoded": lambda uid: "".join(f"%{ord(c):02X}" for c in uid),
    "percent-encoded-lower": lambda uid: quote(uid).replace(".", "%2e"),
    "twice-encoded": lambda uid: uid.replace(".", "%252E"),
    "trailing-dot": lambda uid: uid + ".",
    "leading-zero": lambda uid: uid[:-1] + "0" + uid[-1],
    "trailing-space": lambda uid: uid + "%20",
    "trailing-line-end": lambda uid: uid + "%0A",
    "null": lambda uid: uid + "%00",
    "behind-ours": lambda uid: f"{A}/../{uid}",
    "behind-ours-encoded": lambda uid: f"{A}%2F..%2F{uid}",
    "list": lambda uid: f"{A},{uid}",
    "backslash-list": lambda uid: f"{A}%5C{uid}",
    "parameter": lambda uid: f"{uid};x=1",
    "other-digits": lambda uid: quote(uid.replace("1", "١")),
}


@pytest.fixture(scope="module")
def images() -> Iterator[PretendImages]:
    with tempfile.TemporaryDirectory() as folder:
        yield two_patients(Path(folder))


@pytest.fixture(scope="module")
def client(images: PretendImages) -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(dicomweb_blueprint(images, lambda: session_of(A, A2)))
    return app.test_client()


def _path(route: str, study: str, of: str) -> str:
    return "/dicom-web/" + _ROUTES[route].format(s=study, r=f"{of}.{SERIES}", i=f"{of}.{INSTANCE}")


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("route", _ROUTES)
def test_another_patients_study_is_refused(client: FlaskClient, route: str, form: str) -> None:
    response = client.get(_path(route, _FORMS[form](B), B))
    assert response.status_code in (400, 403, 404)
    assert b"SECRET" not in response.data
    assert B.encode() not in response.data


@pytest.mark.parametrize("route", _ROUTES)
def test_whether_the_study_exists_cannot_be_told(client: FlaskClient, route: str) -> None:
    real, unreal = client.get(_path(route, B, B)), client.get(_path(route, "1.2.840.99", "1.2.840.99"))
    assert (real.status_code, real.data) == (unreal.status_code, unreal.data)
    assert real.status_code == 403


@pytest.mark.parametrize("route", [r for r, path in _ROUTES.items() if "{r}" in path and r != "rendered"])
def test_our_study_with_another_patients_series_is_not_found(client: FlaskClient, route: str) -> None:
    response = client.get(_path(route, A, B))
    assert response.status_code == 404
    assert b"SECRET" not in response.data


@pytest.mark.parametrize("route", [r for r, path in _ROUTES.items() if "{i}" in path and r != "rendered"])
def test_our_series_with_another_instance_is_not_found(client: FlaskClient, route: str) -> None:
    for foreign in (f"{B}.{INSTANCE}", f"{A2}.{INSTANCE}", f"{A}.2.1"):
        path = "/dicom-web/" + _ROUTES[route].format(s=A, r=f"{A}.{SERIES}", i=foreign)
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("route", _ROUTES)
def test_the_same_routes_open_for_our_own_study(client: FlaskClient, route: str) -> None:
    expected = 406 if route in ("rendered", "thumbnail") else 200
    assert client.get(_path(route, A, A)).status_code == expected


_NAMES = st.sampled_from(
    [
        *("StudyInstanceUID", "0020000D", "PatientID", "00100020", "PatientName", "AccessionNumber", "StudyDate"),
        *("IssuerOfPatientID", "ModalitiesInStudy", "SeriesInstanceUID", "SOPInstanceUID", "Modality", "accept"),
        *("fuzzymatching", "emptyvaluematching", "includefield", "limit", "offset", "StudyDescription"),
    ]
)
_VALUES = st.one_of(
    st.sampled_from(
        [
            *("", "*", "?", "MRN1", "MRN*", "SECRET*", "*SECRET*", "US", "HOSP-B", "ACC1", "all", "true", "0", "1"),
            *(A, B, f"{A},{B}", f"{B}\\{A}", f"{B}.{SERIES}", f"{B}.{INSTANCE}", "*/*", "' OR 1=1"),
            *("20260110", "19000101-20991231"),
        ]
    ),
    st.text(max_size=12),
)
_TARGETS = st.sampled_from(["studies", "series", "instances", f"studies/{A}/series", f"studies/{A}/instances"])


@settings(max_examples=1000, deadline=None)
@given(target=_TARGETS, query=st.lists(st.tuples(st.one_of(_NAMES, st.text(max_size=8)), _VALUES), max_size=6))
def test_no_query_shows_more_than_the_session(client: FlaskClient, target: str, query: list[tuple[str, str]]) -> None:
    response = client.get(f"/dicom-web/{target}?{urlencode(query)}")
    assert response.status_code in (200, 400, 406)
    assert b"SECRET" not in response.data
    assert b"HOSP-B" not in response.data
    if response.status_code == 200:
        assert {row["0020000D"]["Value"][0] for row in response.get_json(force=True)} <= {A, A2}


def test_the_patient_id_of_two_issuers_shows_one_patient(client: FlaskClient) -> None:
    found = client.get("/dicom-web/studies?00100020=MRN1&limit=101").get_json(force=True)
    assert {row["00100021"]["Value"][0] for row in found} == {"HOSP-A"}


def test_a_session_without_studies_sees_none(images: PretendImages) -> None:
    app = Flask(__name__)
    app.register_blueprint(dicomweb_blueprint(images, lambda: session_of()))
    client = app.test_client()
    assert [client.get(f"/dicom-web/{t}").get_json(force=True) for t in ("studies", "series", "instances")] == [[]] * 3


class CarelessImages(PretendImages):
    """A store that forgot to check: it answers every session as if all studies were its own."""

    def studies(self, session: Session) -> list[StudyRow]:
        return list(self.rows.values())

    def _study(self, session: Session, study_uid: str) -> Tree:
        return self.tree[study_uid]


@pytest.fixture(scope="module")
def careless(images: PretendImages) -> FlaskClient:
    app = Flask(__name__)
    open_to_all = CarelessImages(images.rows, images.tree, images.documents, images.values)
    app.register_blueprint(dicomweb_blueprint(open_to_all, lambda: session_of(A, A2)))
    return app.test_client()


@pytest.mark.parametrize("route", _ROUTES)
def test_the_gate_refuses_by_itself(careless: FlaskClient, route: str) -> None:
    assert careless.get(_path(route, B, B)).status_code == 403


@pytest.mark.parametrize("target", ["studies", "series", "instances"])
def test_the_gate_narrows_searches_by_itself(careless: FlaskClient, target: str) -> None:
    found = careless.get(f"/dicom-web/{target}").get_json(force=True)
    assert {row["0020000D"]["Value"][0] for row in found} == {A, A2}
