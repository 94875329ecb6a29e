"""Interleaved rounds of CPU time, and the messages that are measured (shared/reference/performance.md 2.4, 6)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


def segment(name: str, fields: dict[int, str]) -> str:
    """A line from its fields by number; MSH-1 is the separator itself."""
    first = 2 if name == "MSH" else 1
    return "|".join([name, *(fields.get(number, "") for number in range(first, max(fields) + 1))])


_SMITH, _CALLBACK = "200345^Schmidt^Karl^^^Prof. Dr.^^^KV&1.2.276.0.76.4.16&ISO", "^WPN^PH^^49^201^88100"
_PLACER, _FILLER = "PO-2026-55012^RIS^1.2.276.0.76.3.1.1.7^ISO", "FO-2026-88171^RIS^1.2.276.0.76.3.1.1.8^ISO"
_HOSPITAL, _PROCEDURE = "HOSPITAL&1.2.276.0.76.3.1.1&ISO", "CTTHABD^CT Thorax und Abdomen mit KM^99HOSP"
_STEP = {
    1: "A2026030100012^RIS^1.2.276.0.76.3.1.1.9^ISO", 2: "RP2026-30112", 3: "1.2.276.0.76.3.1.1.10.20260301.30112",
    5: "CT", 7: "CT1^Somatom^99HOSP", 8: "RAD-R2^Raum 2^99HOSP", 9: "CT_SOMATOM",
}  # fmt: skip
_OMI = (
    segment("MSH", {
        2: r"^~\&", 3: "RIS", 4: "HOSPITAL^1.2.276.0.76.3.1.1^ISO", 5: "BRIDGE", 6: "RADIOLOGY",
        7: "20260301101500.123+0100", 9: "OMI^O23^OMI_O23", 10: "RIS20260301101500001", 11: "P", 12: "2.5.1",
        15: "AL", 16: "AL", 17: "DEU", 18: "UNICODE UTF-8", 21: "IHE_RAD",
    }),
    segment("PID", {
        1: "1", 3: f"4711815^^^{_HOSPITAL}^MR~A123456780^^^GKV&1.2.276.0.76.4.8&ISO^NI",
        5: "Müller-Lüdenscheidt^Hans^Georg^^Dr.^^L^A", 7: "19530412", 8: "M",
        11: "Hauptstraße 12^^Musterstadt^^45127^DEU^H", 13: "^PRN^PH^^49^201^1234567", 14: "^WPN^PH^^49^201^7654321",
        15: "DEU", 16: "M", 30: "N",
    }),
    segment("PV1", {
        1: "1", 2: "I", 3: "CHIR-3^312^2^HOSPITAL^^^N", 4: "R", 7: f"100234^Weber^Sabine^^^Dr. med.^^^{_HOSPITAL}",
        8: _SMITH, 10: "CHI", 14: "R", 15: "A0", 19: f"2026009911^^^{_HOSPITAL}^VN", 44: "20260227083000+0100",
    }),
    segment("AL1", {1: "1", 2: "DA", 3: "J01CA04^Amoxicillin^ATC", 4: "MO", 5: "Exanthem", 6: "20190301"}),
    segment("ORC", {
        1: "NW", 2: _PLACER, 3: _FILLER, 5: "SC", 9: "20260301101400+0100", 10: "300456^Klein^Petra", 12: _SMITH,
        13: "CHIR-3^^^HOSPITAL", 14: _CALLBACK, 17: "CHIR^Chirurgie^L",
    }),
    segment("TQ1", {1: "1", 2: "1", 7: "20260302083000+0100", 8: "20260302091500+0100", 9: "R^Routine^HL70485"}),
    segment("OBR", {
        1: "1", 2: _PLACER, 3: _FILLER, 4: _PROCEDURE + "^CTTA-P1^Protokoll portalvenös^99PROT", 12: "MRSA^Träger^L",
        13: r"Z. n. Kolon-CA \T\ Metastasen", 16: _SMITH, 17: _CALLBACK, 18: "A2026030100012", 24: "CT", 30: "WALK",
        31: "C18.7^Bösartige Neubildung: Colon sigmoideum^I10GM", 34: "400567&Nowak&Eva&&&MTRA", 44: _PROCEDURE,
    }),
    segment("NTE", {1: "1", 2: "P", 3: "Bitte orale Kontrastierung ab 07:30 Uhr~Kreatinin vom 28.02.: 0,9 mg/dl"}),
    segment("OBX", {1: "1", 2: "NM", 3: "29463-7^Body weight^LN", 5: "81.5", 6: "kg^kilogram^UCUM", 11: "F"}),
    segment("OBX", {1: "2", 2: "NM", 3: "8302-2^Body height^LN", 5: "178", 6: "cm^centimeter^UCUM", 11: "F"}),
    segment("IPC", {**_STEP, 4: "SPS-30112-1", 6: "CTTH^CT Thorax nativ^99PROT"}),
    segment("IPC", {**_STEP, 4: "SPS-30112-2", 6: "CTABD^CT Abdomen portalvenös^99PROT"}),
)  # fmt: skip
OMI = ("\r".join(_OMI) + "\r").encode()
"""The 12-segment OMI^O23 (v2.5.1): one requested procedure, two steps, two patient identifiers."""

_CHARLES, _ONCE = "200345^Smith^Charles^^^Dr", "1^once^^20260302093000^^R"
_ORM = (
    segment("MSH", {
        2: r"^~\&", 3: "RIS", 4: "HOSPITAL", 5: "BRIDGE", 6: "RADIOLOGY", 7: "20260301101500", 9: "ORM^O01",
        10: "RIS20260301101500002", 11: "P", 12: "2.3.1", 18: "8859/1",
    }),
    segment("PID", {
        1: "1", 3: "4711815^^^HOSPITAL&1.2.276.0.76.3.1.1&ISO^MR", 5: "O'Connor^Mary^Jane^^Mrs^^L",
        7: "19610907", 8: "F",
        11: "12 High Street^^Springfield^IL^62701^USA^H", 13: "(217)555-0142", 16: "M", 18: "2026009912^^^HOSPITAL^AN",
    }),
    segment("PV1", {
        1: "1", 2: "O", 3: "RADCLIN^^^HOSPITAL", 7: "100234^Weber^Sabine^^^Dr", 8: _CHARLES, 15: "B6",
        19: "2026009912^^^HOSPITAL^VN", 44: "20260301083000",
    }),
    segment("AL1", {1: "1", 2: "DA", 3: "7980^Penicillin^RXNORM", 4: "MO", 5: "Hives"}),
    segment("ORC", {
        1: "NW", 2: "PO-2026-55013^RIS", 3: "FO-2026-88172^RIS", 5: "SC", 7: _ONCE, 9: "20260301101400",
        10: "300456^Klein^Petra", 12: _CHARLES, 13: "^^^HOSPITAL",
        14: "^WPN^PH^^1^217^5550199", 17: "PULM^Pulmonology^L",
    }),
    segment("OBR", {
        1: "1", 2: "PO-2026-55013^RIS", 3: "FO-2026-88172^RIS",
        4: "71046^XR chest 2 views^C4^CXR2^Chest pa and lateral^99PROT", 12: "MRSA^MRSA carrier^L", 13: "Asthma",
        16: _CHARLES, 17: "^WPN^PH^^1^217^5550199", 18: "A2026030100013", 19: "RP30113", 20: "SPS30113", 24: "DX",
        27: _ONCE, 30: "WHLC", 31: "R05^Cough^I10", 34: "400567&Nowak&Eva",
    }),
    segment("NTE", {1: "1", 2: "P", 3: "Rule out pneumonia; lateral view if patient can stand."}),
    segment("OBX", {1: "1", 2: "NM", 3: "29463-7^Body weight^LN", 5: "154.3", 6: "[lb_av]", 11: "F"}),
    segment("ZDS", {1: "1.2.276.0.76.3.1.1.10.20260301.30113^100^Application^DICOM"}),
)  # fmt: skip
ORM = ("\r".join(_ORM) + "\r").encode("latin-1")
"""ORM^O01 (v2.3.1) with ZDS, as IHE's RAD-4 has it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """CPU seconds of one call over the rounds."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]

    def times_faster_than(self, other: Figure) -> float:
        """The median of the ratios taken round by round, so that a slow minute weighs on both sides."""
        return statistics.median(b / a for a, b in zip(self.rounds, other.rounds, strict=True))


def cpu_of(call: Callable[[], object], calls: int) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def interleaved(subjects: Mapping[str, Callable[[], object]], rounds: int, seconds: float = 0.1) -> dict[str, Figure]:
    """Each subject for about `seconds` of CPU in every round, in turn; the first, unmeasured round warms up."""
    calls = {name: max(2, round(seconds / max(cpu_of(call, 3), 1e-6))) for name, call in subjects.items()}
    seen: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, call in subjects.items():
            seen[name].append(cpu_of(call, calls[name]))
    return {name: Figure(statistics.median(one), min(one), max(one), tuple(one)) for name, one in seen.items()}
