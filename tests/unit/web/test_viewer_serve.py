"""The viewer's files as served: types, caching, compression, policy, and nothing but them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from bridge.web.viewer.files import MANIFEST, seal
from bridge.web.viewer.serve import EXPIRED, viewer_blueprint

BUNDLE = "app.bundle.0123456789abcdef.js"
FILES = {
    "index.html": "<!doctype html><html><head></head><body>OHIF " + "x" * 500 + "</body></html>",
    BUNDLE: "const pixel = 1;\n" * 100,
    "app.bundle.css": "body { color: red }\n" * 100,
    "0ddf166f7a343eda.wasm": "\0asm" * 100,
    "a34f9d1faa5f3315.woff2": "font",
    "manifest.json": "{}",
    "assets/favicon.ico": "icon",
    "assets/manifest.webapp": "{}",
}


def quiet(step: str, done: int, total: int) -> None:
    pass


def fake_viewer(folder: Path) -> Path:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    seal(folder, "1.0", "sha512-x", 1, quiet)
    return folder


def client_of(folder: Path, **options: object) -> FlaskClient:
    app = Flask("viewer-test")
    app.add_url_rule(EXPIRED, "expired", lambda: "session ended")
    app.register_blueprint(viewer_blueprint(folder, **{"investigational_banner": False, **options}))  # type: ignore[arg-type]
    return app.test_client()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("top")
    (top / "secret.txt").write_text("secret")
    return fake_viewer(top / "viewer")


@pytest.fixture(scope="module")
def client(folder: Path) -> FlaskClient:
    return client_of(folder)


def config_of(client: FlaskClient) -> dict[str, object]:
    text = client.get("/app-config.js").get_data(as_text=True)
    start = text.index("{")
    value: dict[str, object] = json.JSONDecoder().raw_decode(text[start:])[0]
    return value


@pytest.mark.parametrize(
    ("name", "mimetype"),
    [
        ("index.html", "text/html"),
        (BUNDLE, "text/javascript"),
        ("app.bundle.css", "text/css"),
        ("0ddf166f7a343eda.wasm", "application/wasm"),
        ("a34f9d1faa5f3315.woff2", "font/woff2"),
        ("manifest.json", "application/json"),
        ("assets/manifest.webapp", "application/json"),
        ("assets/favicon.ico", "image/x-icon"),
        ("app-config.js", "text/javascript"),
    ],
)
def test_every_file_has_the_type_a_browser_needs_under_nosniff(client: FlaskClient, name: str, mimetype: str) -> None:
    assert client.get(f"/{name}").mimetype == mimetype


@pytest.mark.parametrize(
    ("name", "caching"),
    [
        (BUNDLE, "public, max-age=31536000, immutable"),
        ("0ddf166f7a343eda.wasm", "public, max-age=31536000, immutable"),
        ("a34f9d1faa5f3315.woff2", "public, max-age=31536000, immutable"),
        ("app.bundle.css", "no-cache"),
        ("index.html", "no-cache"),
        ("viewer?StudyInstanceUIDs=1.2.3", "no-cache"),
        ("app-config.js", "no-store"),
        ("assets/favicon.ico", "public, max-age=86400"),
        ("manifest.json", "public, max-age=86400"),
        ("missing.js", "no-store"),
    ],
)
def test_only_names_with_a_content_hash_are_cached_for_good(client: FlaskClient, name: str, caching: str) -> None:
    assert client.get(f"/{name}").headers["Cache-Control"] == caching


@pytest.mark.parametrize("route", ["", "viewer?StudyInstanceUIDs=1.2", "segmentation", "tmtv", "notfoundstudy"])
def test_a_page_of_the_viewer_answers_its_index(client: FlaskClient, route: str) -> None:
    answer = client.get(f"/{route}")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, FILES["index.html"])


@pytest.mark.parametrize(
    "path", ["89.bundle.ffffffffffffffff.js", "missing.css", "viewer/x.js", "worklist", "dicomweb/studies"]
)
def test_what_is_not_there_is_a_problem_for_a_program_and_never_html(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/{path}", headers={"Accept": "*/*"})
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_browser_that_takes_gzip_gets_the_compressed_file(client: FlaskClient) -> None:
    answer = client.get(f"/{BUNDLE}", headers={"Accept-Encoding": "gzip, deflate, br"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data).decode() == FILES[BUNDLE]


@pytest.mark.parametrize("accepted", [None, "identity", "br", "gzip;q=0"])
def test_a_browser_that_does_not_take_gzip_gets_the_file_itself(client: FlaskClient, accepted: str | None) -> None:
    answer = client.get(f"/{BUNDLE}", headers={"Accept-Encoding": accepted} if accepted else {})
    assert "Content-Encoding" not in answer.headers
    assert answer.get_data(as_text=True) == FILES[BUNDLE]


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_a_cache_is_told_that_the_answer_depends_on_accept_encoding(client: FlaskClient, accepted: str) -> None:
    assert client.get(f"/{BUNDLE}", headers={"Accept-Encoding": accepted}).headers["Vary"] == "Accept-Encoding"


def test_a_known_etag_answers_304(client: FlaskClient) -> None:
    etag = client.get("/app.bundle.css").headers["ETag"]
    assert client.get("/app.bundle.css", headers={"If-None-Match": etag}).status_code == 304


def test_the_compressed_file_has_an_etag_of_its_own(client: FlaskClient) -> None:
    plain = client.get("/app.bundle.css").headers["ETag"]
    assert client.get("/app.bundle.css", headers={"Accept-Encoding": "gzip"}).headers["ETag"] != plain


@pytest.mark.parametrize("path", ["/", f"/{BUNDLE}", "/app-config.js", "/missing.js", "/viewer"])
def test_every_answer_carries_the_viewers_policy(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert policy.endswith("frame-ancestors 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_304_carries_the_policy_too(client: FlaskClient) -> None:
    etag = client.get("/").headers["ETag"]
    assert "Content-Security-Policy" in client.get("/", headers={"If-None-Match": etag}).headers


def test_only_the_named_ehr_may_frame_the_viewer(folder: Path) -> None:
    client = client_of(folder, frame_ancestors=["https://ehr.example"])
    assert client.get("/").headers["Content-Security-Policy"].endswith("frame-ancestors https://ehr.example")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%5c..%5csecret.txt",
        "//secret.txt",
        "/assets/favicon.ico%00",
        f"/{MANIFEST}",
        f"/{BUNDLE}.gz",
    ],
)
def test_nothing_but_the_viewers_files_can_be_fetched(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code in (308, 404)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_path_answers_anything_but_a_file_of_the_viewer(client: FlaskClient, path: str) -> None:
    answer = client.get("/" + path.replace("?", "").replace("#", "").lstrip("/"))  # `//x` names a host
    assert answer.status_code in (200, 308, 404)
    assert b"secret" not in answer.data


def test_a_missing_viewer_says_so_and_how_to_get_it(tmp_path: Path) -> None:
    answer = client_of(tmp_path / "none").get("/viewer?StudyInstanceUIDs=1.2.3")
    assert answer.status_code == 503
    assert "bridge viewer install" in answer.get_data(as_text=True)
    assert "Content-Security-Policy" in answer.headers


def test_a_viewer_installed_later_is_served_without_a_restart(tmp_path: Path) -> None:
    client = client_of(tmp_path / "viewer")
    assert client.get("/").status_code == 503
    fake_viewer(tmp_path / "viewer")
    assert client.get("/").status_code == 200


def test_a_broken_manifest_counts_as_no_viewer(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{")
    assert client_of(tmp_path).get("/").status_code == 503


def test_an_ended_session_leads_to_our_page_not_to_ohifs(client: FlaskClient) -> None:
    text = client.get("/app-config.js").get_data(as_text=True)
    assert 'location.assign("/launch/expired")' in text
    assert client.get("/launch/expired").get_data(as_text=True) == "session ended"


def test_nobody_can_browse_other_patients_from_the_viewer(client: FlaskClient) -> None:
    assert config_of(client)["showStudyList"] is False


def test_the_viewer_says_whose_images_these_are(client: FlaskClient) -> None:
    assert config_of(client)["showPatientInfo"] == "visible"


@pytest.mark.parametrize(("banner", "option"), [(True, "always"), (False, "never")])
def test_the_investigational_banner_is_the_sites_choice(folder: Path, banner: bool, option: str) -> None:
    config = config_of(client_of(folder, investigational_banner=banner))
    assert config["investigationalUseDialog"] == {"option": option}


def test_a_hostile_dicomweb_root_stays_a_string_in_the_configuration(folder: Path) -> None:
    hostile = '"}); alert(1); ({"\u2028</script>'
    text = client_of(folder, dicomweb_root=hostile).get("/app-config.js").get_data(as_text=True)
    assert json.dumps(hostile) in text
    assert "\u2028" not in text
