"""OHIF at `/` of the viewer's own origin: files by manifest, a generated configuration, the viewer's headers.

Register launch, DICOMweb and the rest on the same application: their rules are more exact than the catch-all
here, so Flask prefers them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from flask import Blueprint, Response, request, send_from_directory

from bridge.web.problems import answer
from bridge.web.viewer.files import MANIFEST, Manifest, read_manifest

MODES = ("viewer", "segmentation", "tmtv", "dynamic-volume", "usAnnotation", "basic")
PAGES = frozenset({"", "index.html", "notfoundstudy", "notfoundserver", *MODES})
EXPIRED = "/launch/expired"

# Our own table: the machine's /etc/mime.types must not decide what a browser runs under nosniff.
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webapp": "application/json",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
HASHED = re.compile(r"(\.bundle\.[0-9a-f]{16}\.js|(^|/)[0-9a-f]{16}\.(wasm|woff2))$")

CONFIG = """window.config = Object.assign(%s, {
  httpErrorHandler: function (error) {
    if (error && (error.status === 401 || error.status === 403)) location.assign(%s);
  },
});
"""

NOT_INSTALLED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Viewer not installed</title>
<h1>Viewer not installed</h1>
<p>The image viewer's files are not on this server. Its administrator can fetch them with
<code>bridge viewer install</code>; no restart is needed.</p></html>
"""


def viewer_blueprint(
    root: Path,
    *,
    investigational_banner: bool,
    dicomweb_root: str = "/dicom-web",
    frame_ancestors: Sequence[str] = (),
) -> Blueprint:
    """Serves the viewer installed in `root` at `/`; 503 with a clear page while there is none.

    `investigational_banner` shows OHIF's own "investigational use" notice over the image. `frame_ancestors` are the
    EHR origins that may frame the viewer; none by default.
    """
    # An absolute folder: Flask reads a relative one from the application's package.
    folder = root.resolve()
    installed = _Installed(folder)
    config = app_config(investigational_banner, dicomweb_root)
    headers = security_headers(frame_ancestors)
    blueprint = Blueprint("viewer", __name__)

    @blueprint.after_request
    def protect(response: Response) -> Response:
        response.headers.update(headers)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @blueprint.get("/app-config.js")
    def configuration() -> Response:
        return Response(config, mimetype=TYPES[".js"])

    @blueprint.get("/", defaults={"name": ""})
    @blueprint.get("/<path:name>")
    def file(name: str) -> Response:
        manifest = installed.manifest()
        if manifest is None:
            return Response(NOT_INSTALLED, 503, mimetype="text/html")
        if name in PAGES:
            name = "index.html"
        # Only names of the manifest reach the disk; a missing chunk must not become HTML, it would fail obscurely:
        # scripts do not ask for text/html.
        if name not in manifest.files:
            return answer(404, "not-found")
        return _send(folder, name, manifest)

    return blueprint


def app_config(investigational_banner: bool, dicomweb_root: str) -> str:
    """The text of app-config.js: one same-origin DICOMweb source, no study list, no address from outside."""
    source: dict[str, object] = {
        "friendlyName": "PACS",
        "name": "bridge",
        "qidoRoot": dicomweb_root,
        "wadoRoot": dicomweb_root,
        "wadoUriRoot": "/wado",  # required by OHIF, unused with wadors
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "qidoSupportsIncludeField": False,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,  # some archives refuse a quoted type=
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
    }
    values: dict[str, object] = {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "showStudyList": False,  # nobody browses other patients
        "showPatientInfo": "visible",  # whose images these are, without a click
        "investigationalUseDialog": {"option": "always" if investigational_banner else "never"},
        "customizationService": {"ohif.tours": {"$set": []}},  # a tour would dim the first launch
        "maxNumberOfWebWorkers": 3,
        "strictZSpacingForVolumeViewport": True,
        "showErrorDetails": "production",
        "defaultDataSourceName": "bridge",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "bridge",
                "configuration": source,
            }
        ],
    }
    return CONFIG % (json.dumps(values, indent=2), json.dumps(EXPIRED))


def security_headers(frame_ancestors: Sequence[str] = ()) -> dict[str, str]:
    """The headers of every answer of the viewer's origin. 'unsafe-eval': OHIF's JPEG 2000 decoder needs it."""
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' blob: data:; "
        f"font-src 'self' data:; frame-ancestors {' '.join(frame_ancestors) or chr(39) + 'none' + chr(39)}"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


class _Installed:
    """The manifest, read again when it changes: an upgrade needs no restart."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: tuple[tuple[int, int], Manifest | None] = ((0, 0), None)

    def manifest(self) -> Manifest | None:
        try:
            stat = (self._root / MANIFEST).stat()
        except OSError:
            return None
        mark = (stat.st_mtime_ns, stat.st_ino)
        seen, manifest = self._seen
        if mark != seen:
            manifest = read_manifest(self._root)
            self._seen = (mark, manifest)
        return manifest


def _send(root: Path, name: str, manifest: Manifest) -> Response:
    entry = manifest.files[name]
    packed = entry.gzip and request.accept_encodings.quality("gzip") > 0
    response = send_from_directory(
        root,
        name + ".gz" if packed else name,
        mimetype=TYPES.get(Path(name).suffix, "application/octet-stream"),
        etag=entry.sha256[:32] + ("-gzip" if packed else ""),
    )
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    if entry.gzip:
        response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = _cache(name)
    # The ETag is the content's; npm's file times are not.
    response.headers.pop("Last-Modified", None)
    return response


def _cache(name: str) -> str:
    if HASHED.search(name):
        return "public, max-age=31536000, immutable"
    if name.startswith("assets/") or name == "manifest.json":
        return "public, max-age=86400"
    return "no-cache"  # an upgrade keeps the names of index.html and of the style sheets
