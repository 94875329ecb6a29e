"""The house's own rules, held true by looking at its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[2]
TREES = {
    file.relative_to(ROOT).as_posix(): ast.parse(file.read_text()) for file in sorted((ROOT / "bridge").rglob("*.py"))
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with its dotted name as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def offenders(*names: str, but: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{file}:{node.lineno} {name}"
        for file, tree in TREES.items()
        if not file.startswith(but)
        for name, node in calls(tree)
        if name in names or any(name.endswith(f".{one}") for one in names if "." in one)
    ]


def with_argument(argument: str, value: object) -> list[str]:
    return [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        for _, node in calls(tree)
        if any(
            k.arg == argument and isinstance(k.value, ast.Constant) and k.value.value is value for k in node.keywords
        )
    ]


def test_who_imports_whom(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_only_the_clock_asks_the_machine_for_the_time() -> None:
    """Durations by `time.monotonic` and a pause are no time of day."""
    found = offenders(
        "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.localtime", "time.gmtime",
        but=("bridge/clock.py", "bridge/log.py", "bridge/sandbox/"),
    )  # fmt: skip
    assert found == []


@pytest.mark.parametrize("name", ["eval", "exec", "compile", "__import__", "yaml.load", "os.system", "os.popen"])
def test_nothing_from_outside_is_run(name: str) -> None:
    assert offenders(name) == []


@pytest.mark.parametrize(("argument", "value"), [("shell", True), ("verify", False)])
def test_no_shell_and_no_unverified_peer(argument: str, value: object) -> None:
    assert with_argument(argument, value) == []


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "pynetdicom.apps", "sqlite3"])
def test_what_is_not_imported(module: str) -> None:
    found = []
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
            found += [f"{file}:{node.lineno}" for name in names if name == module or name.startswith(f"{module}.")]  # type: ignore[attr-defined]
    assert found == []


def test_sql_is_never_put_together_from_text() -> None:
    """Values are parameters. A PRAGMA of our own constants is not a query."""
    found = []
    for file, tree in TREES.items():
        for name, node in calls(tree):
            if name.split(".")[-1] not in ("text", "execute", "exec_driver_sql", "executemany", "literal_column"):
                continue
            for argument in node.args[:1]:
                made = isinstance(argument, ast.JoinedStr | ast.BinOp) or (
                    isinstance(argument, ast.Call) and ast.unparse(argument.func).endswith(".format")
                )
                if made and not ast.unparse(argument).startswith("f'PRAGMA "):
                    found.append(f"{file}:{node.lineno}")
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    migrations = "bridge/store/migrations/"
    assert [f for f, tree in TREES.items() if not ast.get_docstring(tree) and not f.startswith(migrations)] == []
