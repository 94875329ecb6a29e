"""The site's settings: every fault at once, nothing silently ignored, and the shipped file tells the truth."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel

from bridge.cli import main
from bridge.config import Settings
from bridge.errors import ConfigurationError
from bridge.hl7.charset import choose
from bridge.hl7.statement import CHARSET_NAMES

ROOT = Path(__file__).resolve().parents[3]
DEFAULT = ROOT / "config" / "bridge.toml"


def load(folder: Path, text: str, **environment: str) -> Settings:
    file = folder / "bridge.toml"
    file.write_text(text)
    return Settings.load(file, environment)


def faults(folder: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as fault:
        load(folder, text, **environment)
    return fault.value.faults


# -- faults -------------------------------------------------------------------------------------------------------


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        '[site]\ntime_zone = "Mars/Olympus"\n[dicom]\nport = 70000\n[worklist]\nage_days = 0\n[web]\nthreds = 3\n',
        BRIDGE_NO_SUCH="1",
    )
    for where in ("site.time_zone", "dicom.port", "worklist.age_days", "web.threds", "BRIDGE_NO_SUCH"):
        assert any(where in line for line in found), where
    assert len(found) == 5


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[wb]\n", "wb"),
        ("[[station]]\nmodality = 'CT'\n", "ae_titles"),
        ("[[station]]\nae_titles = []\n", "ae_titles"),
        ("[[station]]\nae_titles = ['MUCH TOO LONG A NAME']\n", "ae_titles"),
        ("[[station]]\nae_titles = ['A\\\\B']\n", "ae_titles"),
        ("[dicom]\nunknown_peers = ['everything']\n", "unknown_peers"),
        ("[[worklist.view]]\npeers = ['CT1']\n", "CT1"),
        ("[[worklist.view]]\npeers = ['*']\nwindow_hours = [1]\n", "worklist.view.0.window_hours"),
        ("[[hl7.feed]]\nname = 'a'\nport = 1\n[[hl7.feed]]\nname = 'a'\nport = 2\n", "hl7"),
        ("[[ehr]]\nname = 'a'\nfhir_base = 'https://x'\n[[ehr]]\nname = 'a'\nfhir_base = 'https://y'\n", "ehr"),
        ("[[issuer]]\nname = 'a'\n[[issuer]]\nname = 'a'\n", "issuer"),
        ("[launch]\nsession_minutes = 100000\n", "session_minutes"),
        ("web = 3\n", "web"),
    ],
)
def test_a_fault_names_the_setting(tmp_path: Path, text: str, where: str) -> None:
    assert any(where in line for line in faults(tmp_path, text))


def test_a_title_that_is_too_long_is_one_fault(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, '[[station]]\nae_titles = ["MUCH_TOO_LONG_A_TITLE"]')
    assert "station.0.ae_titles.0" in fault


@pytest.mark.parametrize("text", ["[site\n", "x = \xff"], ids=["no TOML", "no UTF-8"])
def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "bridge.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError) as fault:
        Settings.load(tmp_path / "bridge.toml", {})
    assert len(fault.value.faults) == 1


def test_a_missing_file_is_a_fault_and_not_the_defaults(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        Settings.load(tmp_path / "none.toml", {})


# -- two hosts, and plain http ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public", "viewer", "good"),
    [
        ("https://bridge.example", "https://images.example", True),
        ("http://localhost:1", "http://127.0.0.1:1", True),
        ("https://bridge.example:1", "https://bridge.example:2", False),
        ("https://bridge.example", "https://BRIDGE.example", False),
        ("http://bridge.example", "https://images.example", False),
        ("https://user@bridge.example", "https://images.example", False),
        ("https://bridge.example?x=1", "https://images.example", False),
        ("ftp://bridge.example", "https://images.example", False),
    ],
)
def test_launches_and_images_are_two_hosts_by_https(tmp_path: Path, public: str, viewer: str, good: bool) -> None:
    text = f"[web]\npublic_url = '{public}'\nviewer_url = '{viewer}'\n"
    if good:
        load(tmp_path, text)
    else:
        assert faults(tmp_path, text)


@pytest.mark.parametrize("base", ["http://ehr.example/fhir", "ehr.example/fhir", "https://ehr.example/fhir#x"])
def test_an_ehr_is_reached_by_https(tmp_path: Path, base: str) -> None:
    assert faults(tmp_path, f"[[ehr]]\nname = 'a'\nfhir_base = '{base}'\n")


# -- environment and paths ----------------------------------------------------------------------------------------


def test_a_variable_beats_the_file(tmp_path: Path) -> None:
    found = load(tmp_path, "[dicom]\nport = 1\n", BRIDGE_DICOM__PORT="2", BRIDGE_SITE__NAME="Here", HOME="/")
    assert (found.dicom.port, found.site.name) == (2, "Here")


@pytest.mark.parametrize("name", ["BRIDGE_DICOM__PROT", "BRIDGE_DICM__PORT", "BRIDGE_HL7__FEED__PORT", "BRIDGE_"])
def test_a_variable_that_names_no_setting_is_a_fault(tmp_path: Path, name: str) -> None:
    assert faults(tmp_path, "", **{name: "1"}) == [f"environment: {name} names no setting"]


def test_a_variable_over_a_section_that_is_none_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    assert any("web" in line for line in faults(tmp_path, "web = 3\n", BRIDGE_WEB__PORT="1"))


def test_paths_are_beside_the_file(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "data = '../d'\n[database]\npassword_file = 'pw'\n[[ehr]]\nname='a'\nfhir_base='https://x'\ntoken_file='t'\n"
        "[[launch.link]]\niss='https://p'\njwks_file='/abs/k'\n",
    )
    assert found.data == (tmp_path / "../d").resolve()
    assert (found.database.password_file, found.ehr[0].token_file) == (tmp_path / "pw", tmp_path / "t")
    assert found.launch.link[0].jwks_file == Path("/abs/k")


def test_every_setting_that_names_a_file_is_beside_the_file(tmp_path: Path) -> None:
    """A path that is left as it stood would depend on where the bridge was started."""
    relative = [name for name, value in _paths(load(tmp_path, uncommented())) if not value.is_absolute()]
    assert relative == []


def _paths(model: BaseModel, at: str = "") -> Iterator[tuple[str, Path]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, BaseModel):
                yield from _paths(one, f"{at}{name}.")
            elif isinstance(one, Path):
                yield at + name, one


# -- the shipped file ---------------------------------------------------------------------------------------------


def uncommented() -> str:
    """The shipped file with every setting that it shows in a comment switched on."""
    shown = re.compile(r"^# (?=\[+[a-z_.0-9]+\]+$|[a-z_0-9]+ = )", re.MULTILINE)
    return shown.sub("", DEFAULT.read_text())


def leaves(model: type[BaseModel], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        inner = next((a for a in (field.annotation, *get_args(field.annotation)) if _is_model(a)), None)
        if inner is not None:
            yield from leaves(inner, f"{at}{name}.")
        else:
            yield at + name, field.get_default(call_default_factory=True) if not field.is_required() else ...


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _at(tree: Any, path: str) -> list[Any]:
    """The values at a path, through every item of an array of tables."""
    found = [tree]
    for part in path.split("."):
        found = [one[part] for node in found for one in (node if isinstance(node, list) else [node]) if part in one]
    return found


def test_every_setting_stands_in_the_shipped_file() -> None:
    shown = tomllib.loads(uncommented())
    missing = [path for path, _ in leaves(Settings) if not _at(shown, path)]
    assert missing == []


def test_what_the_shipped_file_sets_is_what_the_program_would_do_without_it() -> None:
    written = Settings.model_validate(tomllib.loads(DEFAULT.read_text()))
    assert written == Settings()


def test_the_shipped_file_shows_only_settings_that_exist(tmp_path: Path) -> None:
    load(tmp_path, uncommented())


# -- the documents ------------------------------------------------------------------------------------------------


def commands(group: click.Command, at: str = "bridge") -> Iterator[str]:
    if not isinstance(group, click.Group):
        yield at
        return
    if group.invoke_without_command:
        yield at
    for name, command in group.commands.items():
        if not command.hidden:
            yield from commands(command, f"{at} {name}")


def test_every_command_stands_in_the_documents() -> None:
    texts = "\n".join(p.read_text() for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))))
    assert [c for c in commands(main) if c not in texts] == []


def test_every_command_that_the_documents_show_exists() -> None:
    words = set(commands(main))
    heads = {" ".join(c.split()[:2]) for c in words}
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for shown in re.findall(r"`bridge ([a-z]+)", file.read_text()):
            assert f"bridge {shown}" in heads, f"{file.name} shows `bridge {shown}`"


# -- the character sets of a feed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["charset_override", "charset_default"])
@pytest.mark.parametrize(
    "name",
    [
        *CHARSET_NAMES,
        "utf-8",
        "UNICODE",
        "GB18030",
        "8859-1",
        "~ISO IR87",
        "ISO IR6~ISO IR87~ISO IR159",
        "8859/1~KS X 1001",
    ],
)
def test_a_character_set_that_can_be_read_may_be_set(tmp_path: Path, setting: str, name: str) -> None:
    feed = load(tmp_path, f'[[hl7.feed]]\nname = "ris"\n{setting} = "{name}"\n').hl7.feed[0]
    choose((), override=feed.charset_override, fallback=feed.charset_default)


@pytest.mark.parametrize("setting", ["charset_override", "charset_default"])
@pytest.mark.parametrize("name", ["latin-one", "windows-1259", "UNICODE UTF-16", "8859/1~UNICODE UTF-8"])
def test_a_character_set_that_no_message_could_be_read_in_is_a_fault(tmp_path: Path, setting: str, name: str) -> None:
    (fault,) = faults(tmp_path, f'[[hl7.feed]]\nname = "ris"\n{setting} = "{name}"\n')
    assert setting in fault and ("character set" in fault or "stands alone" in fault)
