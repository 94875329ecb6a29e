"""The two applications: the public origin (launch, links, console, API) and the viewer's (images)."""

from __future__ import annotations

from flask import Flask, render_template
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge.config import Settings
from bridge.web import headers, problems
from bridge.web.entrance import END, entrance_blueprint
from bridge.web.health import health_blueprint
from bridge.web.launch import Launches, launch_blueprint
from bridge.web.links import links_blueprint
from bridge.web.ports import Deps

MAX_BODY = 1024 * 1024
STATIC = "/launch/static"


def create_public_app(deps: Deps) -> Flask:
    """The WSGI application of `web.public_url`."""
    app = _app(deps.settings, deps.settings.web.public_url)
    launches = Launches(deps)
    app.add_url_rule("/", "front", lambda: render_template("front.html"))
    for blueprint in (
        launch_blueprint(launches),
        links_blueprint(launches),
        health_blueprint(deps.ready),
        *deps.public,
    ):
        app.register_blueprint(blueprint)
    return app


def create_viewer_app(deps: Deps) -> Flask:
    """The WSGI application of `web.viewer_url`."""
    app = _app(deps.settings, deps.settings.web.viewer_url)
    entrance, current_session = entrance_blueprint(deps)
    app.register_blueprint(entrance)  # first: its `/` comes before OHIF's
    for make in deps.viewer:
        app.register_blueprint(make(current_session))
    return app


def _app(settings: Settings, url: str) -> Flask:
    app = Flask(__name__, static_url_path=STATIC)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY  # a blueprint that takes more says so on its request
    app.jinja_env.globals |= {"site": settings.site.name, "end": f"{settings.web.viewer_url}{END}"}
    headers.protect(app, url, settings.web.viewer_url)
    problems.handle(app)
    if hops := settings.web.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app
