"""The viewer's install, against a pretend npm: trimmed, whole or not at all, once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bridge.errors import ConfigurationError, RemoteUnavailable
from bridge.web.viewer.files import read_manifest
from bridge.web.viewer.install import HERE, install, pinned, rework_index

NPM = """#!/bin/sh
echo "$@" >> "$NPM_CALLS"
[ -n "$NPM_FAILS" ] && { echo "npm error code EINTEGRITY" >&2; exit 1; }
dist=node_modules/@ohif/app/dist
mkdir -p $dist/ort $dist/assets
echo MIT > node_modules/@ohif/app/LICENSE
echo '<html><head><script>window.PUBLIC_URL="/"</script></head></html>' > $dist/index.html
for i in 1 2 3 4 5 6 7 8 9; do echo 'const a = 1;' >> $dist/app.bundle.0123456789abcdef.js; done
touch $dist/ort/big.wasm $dist/sw.js $dist/app-config.js $dist/app.js.map $dist/assets/apple-touch-startup-image-1.png
"""


def quiet(step: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def npm_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(NPM)
    npm.chmod(0o755)
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("NPM_CALLS", str(calls))
    return calls


@pytest.fixture
def viewer(tmp_path: Path, npm_calls: Path) -> Path:
    install(tmp_path / "data/viewer", quiet)
    return tmp_path / "data/viewer"


def test_what_needs_the_outside_or_is_ours_to_write_is_dropped(viewer: Path) -> None:
    names = sorted(p.relative_to(viewer).as_posix() for p in viewer.rglob("*") if p.is_file())
    assert names == [
        "LICENSE",
        "app.bundle.0123456789abcdef.js",
        "app.bundle.0123456789abcdef.js.gz",
        "bridge-viewer.json",
        "index.html",
        "index.html.gz",
        "inline-1.js",
        "storage-shim.js",
        "storage-shim.js.gz",
    ]


def test_the_manifest_names_the_version_and_its_checksum(viewer: Path) -> None:
    manifest = read_manifest(viewer)
    assert manifest is not None
    assert (manifest.version, manifest.integrity) == pinned()


def test_the_second_install_of_a_version_does_nothing(viewer: Path, npm_calls: Path) -> None:
    install(viewer, quiet)
    assert len(npm_calls.read_text().splitlines()) == 1


def test_packages_may_not_run_scripts(viewer: Path, npm_calls: Path) -> None:
    assert npm_calls.read_text().startswith("ci --ignore-scripts ")


def test_another_version_is_replaced_whole(viewer: Path) -> None:
    manifest = json.loads((viewer / "bridge-viewer.json").read_text())
    (viewer / "bridge-viewer.json").write_text(json.dumps(manifest | {"version": "3.0.0"}))
    (viewer / "old.js").write_text("old")
    install(viewer, quiet)
    assert not (viewer / "old.js").exists()
    assert (viewer / "index.html").exists()


def test_a_failed_download_leaves_the_old_viewer_and_no_rubbish(viewer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = json.loads((viewer / "bridge-viewer.json").read_text())
    (viewer / "bridge-viewer.json").write_text(json.dumps(manifest | {"version": "3.0.0"}))
    monkeypatch.setenv("NPM_FAILS", "1")
    with pytest.raises(RemoteUnavailable, match="EINTEGRITY"):
        install(viewer, quiet)
    assert [p.name for p in viewer.parent.iterdir()] == ["viewer"]
    assert (viewer / "index.html").exists()


def test_a_folder_that_holds_something_else_is_never_replaced(tmp_path: Path, npm_calls: Path) -> None:
    (tmp_path / "patients.db").write_text("x")
    with pytest.raises(ConfigurationError):
        install(tmp_path, quiet)
    assert not npm_calls.exists()


def test_a_machine_without_npm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="npm"):
        install(tmp_path / "viewer", quiet)


def test_progress_is_reported_to_its_end(tmp_path: Path, npm_calls: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    install(tmp_path / "viewer", lambda *step: seen.append(step))
    assert seen[-1] == ("installed", 1, 1)
    assert ("compress", 5, 5) in seen


def test_the_storage_shim_runs_before_every_other_script() -> None:
    page, _ = rework_index("<html><head><meta><script src='/app.js'></script></head></html>")
    assert page.startswith('<html><head><script src="/storage-shim.js"></script><meta>')


def test_no_inline_script_is_left_for_the_policy_to_block() -> None:
    page, scripts = rework_index("<html><head><script>a()</script><script>b()</script></head></html>")
    assert scripts == {"inline-1.js": "a()", "inline-2.js": "b()"}
    assert "a()" not in page and '<script src="/inline-2.js"></script>' in page


def test_the_lock_file_names_no_host_and_a_version_past_the_token_leak() -> None:
    """CVE-2026-12473 ends with 3.12.2; without `resolved` npm asks the site's own registry."""
    assert "http" not in (HERE / "package-lock.json").read_text()
    assert tuple(map(int, pinned()[0].split("."))) >= (3, 12, 2)
