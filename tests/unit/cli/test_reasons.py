"""Every reason for which a person must look is explained, at the prompt and in the documents."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import errors
from bridge.cli_reasons import EXPLAINED, NEXT, explained, next_commands
from bridge.hl7.mllp import FaultKind
from bridge.workflow.reviewing import INSTEAD

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "docs" / "operating.md").read_text()
BAD_INPUT = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.BadInput)
}  # fmt: skip
NEVER_KEPT = {"out-of-sequence"}
"""Answered, but the message is not stored: it comes again when its turn has come."""
OTHER_DOORS = {"duplicate", "different-bytes", "other-study", "rejected"}
"""Refusals of MPPS and of images, answered there."""


def modules(folder: str) -> Iterator[tuple[Any, ast.Module]]:
    for file in sorted((ROOT / "bridge" / folder).glob("*.py")):
        if file.stem != "__init__":
            yield importlib.import_module(f"bridge.{folder}.{file.stem}"), ast.parse(file.read_text())


def words(module: Any, node: ast.AST | None) -> set[str]:
    """The literals that an expression may come to: constants by name too."""
    match node:
        case ast.Constant(str(value)):
            return {value}
        case ast.Name(name):
            value = getattr(module, name, None)
            return {value} if isinstance(value, str) else set()
        case ast.IfExp(_, body, other):
            return words(module, body) | words(module, other)
    return set()


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def opened() -> set[tuple[str, str]]:
    """(kind, reason) as the workflow writes them, where both are plain; helpers' reasons under their module's kind."""
    found = set()
    for module, tree in modules("workflow"):
        conflict = getattr(module, "CONFLICT", "order-conflict")
        for name, call in calls(tree):
            if name == "open_review":
                kinds, reasons = words(module, call.args[1]), words(module, call.args[3])
                found |= {(k, r) for k in kinds for r in reasons}
            elif name == "_park":
                found |= {(conflict, r) for one in call.args for r in words(module, one)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name in ("_park_reason", "_order_of", "_study_of"):
                kind = "order-parked" if node.name == "_park_reason" else conflict
                values = [n.value for n in ast.walk(node) if isinstance(n, ast.Return)]
                told = [v.elts[1] if isinstance(v, ast.Tuple) else v for v in values]
                told += [
                    v.orelse.elts[1] for v in values if isinstance(v, ast.IfExp) and isinstance(v.orelse, ast.Tuple)
                ]
                found |= {(kind, r) for one in told for r in words(module, one) if r}
    return found


def test_every_reason_that_the_workflow_writes_is_explained() -> None:
    found = opened()
    assert len(found) > 12
    assert {pair for pair in found if pair[1] not in EXPLAINED.get(pair[0], {})} == set()


def test_every_reason_of_the_matching_is_explained() -> None:
    module = importlib.import_module("bridge.domain.matching")
    reasons = {
        reason
        for name, call in calls(ast.parse((ROOT / "bridge" / "domain" / "matching.py").read_text()))
        if name == "Decision"
        for reason in words(module, call.args[1])
    }
    reasons |= {"unlinked-by-a-person", "instances-name-two-patients", "wrong-entry"}
    assert reasons == EXPLAINED["study-unmatched"].keys() | EXPLAINED["study-ambiguous"].keys()


def test_every_refusal_of_a_message_is_explained() -> None:
    codes = {kind.code for kind in BAD_INPUT.values()}
    for folder in ("hl7", "mapping", "workflow"):
        for module, tree in modules(folder):
            for name, call in calls(tree):
                if name in BAD_INPUT:
                    codes |= {w for k in call.keywords if k.arg == "code" for w in words(module, k.value)}
    assert codes - EXPLAINED["message-refused"].keys() - NEVER_KEPT - OTHER_DOORS == set()


def test_every_broken_frame_is_explained() -> None:
    assert {f"frame {kind.value}" for kind in FaultKind} - EXPLAINED["message-quarantined"].keys() == set()


def test_every_answer_of_a_fhir_server_is_explained() -> None:
    waits = {"endpoint-paused"}
    codes = {errors.BadValue.code, errors.RemoteRefused.code, errors.RemoteUnavailable.code}
    for module, tree in modules("fhir"):
        for name, call in calls(tree):
            if name in ("RemoteRefused", "RemoteUnavailable"):
                codes |= {w for k in call.keywords if k.arg == "code" for w in words(module, k.value) if w}
            elif name == "broken":
                codes |= words(module, call.args[0])
    assert codes - EXPLAINED["publication-dead"].keys() - waits == set()


def rows() -> list[tuple[set[str], str]]:
    """Of the documents' table: the kinds of each row, and its reasons as written."""
    body = TABLE[TABLE.index("## What stands on the review list") : TABLE.index("## Alarms")]
    cells = [line.split("|")[1:3] for line in body.splitlines() if line.startswith("| ")]
    return [({k.strip() for k in kinds.split(",")}, reasons) for kinds, reasons in cells]


@pytest.mark.parametrize("kind", EXPLAINED)
def test_every_explained_reason_stands_in_the_documents(kind: str) -> None:
    told = " ".join(reasons for kinds, reasons in rows() if kind in kinds)
    assert [reason for reason in EXPLAINED[kind] if f"`{reason}`" not in told] == []


def test_the_documents_show_no_reason_that_is_not_explained() -> None:
    for kinds, reasons in rows()[1:]:
        for kind in kinds:
            assert set(re.findall(r"`([^`]+)`", reasons)) - EXPLAINED[kind].keys() == set(), kind


def test_one_word_is_told_by_its_kind() -> None:
    assert explained("message-refused", "not-readable MSH") == "it is not HL7"
    assert "utf8" in explained("order-parked", "not-readable")


def test_a_kind_that_closes_by_itself_is_never_offered_the_closing() -> None:
    assert not any("review close" in command for kind in INSTEAD for command in NEXT[kind])


def test_what_to_type_next_fits_what_waits() -> None:
    assert next_commands({"study-unmatched", "study-ambiguous"}) == list(NEXT["study-unmatched"])
    assert next_commands({"outbound-dead"}) == list(NEXT["outbound-dead"])
    assert next_commands({"order-conflict"}) == ["bridge review close ENTRY --reason TEXT"]
