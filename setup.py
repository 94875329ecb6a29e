"""The wheel carries the sites' tables and the default configuration: `pip install` is enough."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["bridge*"]), "bridge._mappings", "bridge._config"],
    package_dir={"bridge._mappings": "mappings", "bridge._config": "config"},
    package_data={
        "bridge._mappings": ["**/*.yaml"],
        "bridge._config": ["**/*.toml"],
        "bridge.web": ["templates/*", "static/*"],
        "bridge.web.viewer": ["*.json", "*.js"],
        "bridge.sandbox": ["*.toml", "templates/*", "static/*"],
        "bridge.store": ["migrations/script.py.mako"],
    },
)
