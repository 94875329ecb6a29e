"""From the files of `mappings/` to a plan, once, at start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath

import bridge
from bridge.domain.coding import Code
from bridge.domain.performed import Fate
from bridge.errors import ConfigurationError
from bridge.mapping.apply import Rule, Section
from bridge.mapping.context import MappingContext
from bridge.mapping.load import Mapping, load, merge
from bridge.mapping.schema import FIELDS, Checker, RuleText
from bridge.mapping.tables import CodeTable
from bridge.mapping.transforms import TRANSFORMS
from bridge.mapping.transliteration import FILE as TRANSLITERATION
from bridge.mapping.transliteration import NONE, Transliteration, compile_table

DISCONTINUATION = "discontinuation"


def default_directory() -> FilePath:
    """`mappings/` of the checkout, else the copy that the wheel carries."""
    package = FilePath(bridge.__file__).parent
    checkout = package.parent / "mappings"
    return checkout if (checkout / "hl7" / "order.yaml").is_file() else package / "_mappings"


@dataclass(frozen=True, slots=True)
class Mappings:
    """Every section, ready to be applied. Immutable, shared by all threads."""

    patient: Section
    visit: Section
    event: Section
    allergies: Section
    allergy: Section
    merge: Section
    moved: Section
    order: Section
    procedure: Section
    step: Section
    attributes: Section
    report: Section
    observation: Section
    appointment: Section
    slot: Section
    tables: dict[str, CodeTable]
    transliteration: Transliteration = NONE

    @classmethod
    def load(cls, directory: FilePath, site: str | None, context: MappingContext) -> Mappings:
        """The mappings of `directory`, with `sites/<site>.yaml` laid upon them.

        Raises ConfigurationError with every fault as `file:line: text`.
        """
        faults: list[str] = []
        files = _read_files(directory, site, faults)
        checker = Checker(faults)
        tables = {
            name.removeprefix("codes/"): checker.table(name.removeprefix("codes/"), root)
            for name, root in files.items()
            if name.startswith("codes/")
        }
        _check_modalities(directory, tables.get("modality"), faults)
        _check_fates(tables.get(DISCONTINUATION), faults)
        rows: dict[str, tuple[RuleText, ...]] = {}
        for name in FIELDS:
            if name in files:
                rows |= checker.file(name, files[name], tables)
        transliteration = compile_table(files[TRANSLITERATION], faults) if TRANSLITERATION in files else NONE
        if faults:
            raise ConfigurationError(faults)
        sections = {
            name: Section(name, tuple(_compile(row, context, tables) for row in section))
            for name, section in rows.items()
        }
        return cls(**sections, tables=tables, transliteration=transliteration)

    def fate(self, reason: Code) -> str:
        """What a reason for discontinuing means (`domain.performed.Fate`); '' for one that no table holds."""
        table = self.tables.get(DISCONTINUATION)
        return table.get(f"{reason.value} {reason.scheme or 'DCM'}") if table else ""


def _check_fates(table: CodeTable | None, faults: list[str]) -> None:
    for row in table.rows if table else ():
        if row.ours not in set(Fate):
            faults.append(f"{row.mark}: '{row.ours}' is none of {', '.join(Fate)}")
        if len(row.sent.split()) != 2:
            faults.append(f"{row.mark}: '{row.sent}' is no code and scheme, like '110514 DCM'")


def _check_modalities(directory: FilePath, table: CodeTable | None, faults: list[str]) -> None:
    """A word that is no DICOM modality is found by no scanner's query (PS3.3 C.7.3.1.1.1)."""
    terms = directory / "fhir" / "modalities.yaml"
    known = load(terms, f"{directory.name}/fhir/modalities.yaml", faults) if terms.is_file() else None
    if known is None or table is None:
        return
    for row in table.rows:
        if row.ours and row.ours not in known.entries:
            faults.append(f"{row.mark}: '{row.ours}' is no DICOM modality; {known.mark.file} lists them")


def _compile(row: RuleText, context: MappingContext, tables: dict[str, CodeTable]) -> Rule:
    transform = TRANSFORMS[row.transform]
    table = tables[row.table] if row.table else None
    return Rule(
        row.name,
        row.paths,
        tuple(transform.step(context, table, path, type_1=row.type_1) for path, _ in row.paths),
        row.transform,
        transform,
        table,
        row.required,
        row.type_1,
        row.source,
        row.mark,
        row.vr,
    )


def _read_files(directory: FilePath, site: str | None, faults: list[str]) -> dict[str, Mapping]:
    """`hl7/order`, `codes/modality` ... as nodes, overlaid."""
    names = [*FIELDS, TRANSLITERATION, *(f"codes/{path.stem}" for path in sorted((directory / "codes").glob("*.yaml")))]
    files: dict[str, Mapping] = {}
    for name in names:
        root = load(directory / f"{name}.yaml", f"{directory.name}/{name}.yaml", faults)
        if root is not None:
            files[name] = root
    if not site:
        return files
    shown = f"{directory.name}/sites/{site}.yaml"
    if not site.replace("-", "").replace("_", "").isalnum():
        raise ConfigurationError([f"{directory.name}/sites:1: a site's name is letters, digits, - and _"])
    overlay = load(directory / "sites" / f"{site}.yaml", shown, faults)
    for name, node in overlay.entries.items() if overlay else ():
        at = overlay.keys[name] if overlay else None
        if not isinstance(node, Mapping):
            faults.append(f"{at}: expected keys under '{name}'")
        elif name not in names and not name.startswith("codes/"):
            faults.append(f"{at}: no mapping '{name}'; there are {', '.join(names)}, and new codes/...")
        else:
            files[name] = merge(files[name], node) if name in files else node
    return files
