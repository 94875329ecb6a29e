"""Interleaved rounds of CPU time, and the messages that are measured (shared/reference/performance.md 2.4, 6)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

OMI = "\r".join(
    (
        r"MSH|^~\&|RIS|HOSPITAL^1.2.276.0.76.3.1.1^ISO|BRIDGE|RADIOLOGY|20260301101500.123+0100||OMI^O23^OMI_O23|"
        r"RIS20260301101500001|P|2.5.1|||AL|AL|DEU|UNICODE UTF-8|||IHE_RAD",
        r"PID|1||4711815^^^HOSPITAL&1.2.276.0.76.3.1.1&ISO^MR~A123456780^^^GKV&1.2.276.0.76.4.8&ISO^NI||"
        r"Müller-Lüdenscheidt^Hans^Georg^^Dr.^^L^A||19530412|M|||Hauptstraße 12^^Musterstadt^^45127^DEU^H||"
        r"^PRN^PH^^49^201^1234567|^WPN^PH^^49^201^7654321|DEU|M|||||||||||||||N",
        r"PV1|1|I|CHIR-3^312^2^HOSPITAL^^^N|R|||100234^Weber^Sabine^^^Dr. med.^^^HOSPITAL&1.2.276.0.76.3.1.1&ISO|"
        r"200345^Schmidt^Karl^^^Prof. Dr.^^^KV&1.2.276.0.76.4.16&ISO||CHI||||R||A0|||"
        r"2026009911^^^HOSPITAL&1.2.276.0.76.3.1.1&ISO^VN|||||||||||||||||||||||||20260227083000+0100",
        r"AL1|1|DA|J01CA04^Amoxicillin^ATC|MO|Exanthem|20190301",
        r"ORC|NW|PO-2026-55012^RIS^1.2.276.0.76.3.1.1.7^ISO|FO-2026-88171^RIS^1.2.276.0.76.3.1.1.8^ISO||SC||||"
        r"20260301101400+0100|300456^Klein^Petra||200345^Schmidt^Karl^^^Prof. Dr.|CHIR-3^^^HOSPITAL|"
        r"^WPN^PH^^49^201^88100|||CHIR^Chirurgie^L",
        r"TQ1|1|1|||||20260302083000+0100|20260302091500+0100|R^Routine^HL70485",
        r"OBR|1|PO-2026-55012^RIS^1.2.276.0.76.3.1.1.7^ISO|FO-2026-88171^RIS^1.2.276.0.76.3.1.1.8^ISO|"
        r"CTTHABD^CT Thorax und Abdomen mit KM^99HOSP^CTTA-P1^Protokoll portalvenös^99PROT||||||||||"
        r"Z. n. Kolon-CA \T\ Metastasen||||200345^Schmidt^Karl^^^Prof. Dr.^^^KV|^WPN^PH^^49^201^88101|"
        r"A2026030100012||||||CT||||||WALK|C18.7^Bösartige Neubildung: Colon sigmoideum^I10GM|||"
        r"400567&Nowak&Eva&&&MTRA||||||||||CTTHABD^CT Thorax und Abdomen^99HOSP",
        r"NTE|1|P|Bitte orale Kontrastierung ab 07:30 Uhr~Kreatinin vom 28.02.: 0,9 mg/dl",
        r"OBX|1|NM|29463-7^Body weight^LN||81.5|kg^kilogram^UCUM|||||F|||20260301090000+0100",
        r"OBX|2|NM|8302-2^Body height^LN||178|cm^centimeter^UCUM|||||F|||20260301090000+0100",
        r"IPC|A2026030100012^RIS^1.2.276.0.76.3.1.1.9^ISO|RP2026-30112|1.2.276.0.76.3.1.1.10.20260301.30112|"
        r"SPS-30112-1|CT|CTTH^CT Thorax nativ^99PROT|CT1^Somatom^99HOSP|RAD-R2^Raum 2^99HOSP|CT_SOMATOM",
        r"IPC|A2026030100012^RIS^1.2.276.0.76.3.1.1.9^ISO|RP2026-30112|1.2.276.0.76.3.1.1.10.20260301.30112|"
        r"SPS-30112-2|CT|CTABD^CT Abdomen portalvenös^99PROT|CT1^Somatom^99HOSP|RAD-R2^Raum 2^99HOSP|CT_SOMATOM",
        "",
    )
).encode("utf-8")
"""The 12-segment OMI^O23 (v2.5.1): one requested procedure, two steps, two patient identifiers."""

ORM = "\r".join(
    (
        r"MSH|^~\&|RIS|HOSPITAL|BRIDGE|RADIOLOGY|20260301101500||ORM^O01|RIS20260301101500002|P|2.3.1||||||8859/1",
        r"PID|1||4711815^^^HOSPITAL&1.2.276.0.76.3.1.1&ISO^MR||O'Connor^Mary^Jane^^Mrs^^L||19610907|F|||"
        r"12 High Street^^Springfield^IL^62701^USA^H||(217)555-0142|||M|CAT|2026009912^^^HOSPITAL^AN",
        r"PV1|1|O|RADCLIN^^^HOSPITAL||||100234^Weber^Sabine^^^Dr|200345^Smith^Charles^^^Dr|||||||B6||||"
        r"2026009912^^^HOSPITAL^VN|||||||||||||||||||||||||20260301083000",
        r"AL1|1|DA|7980^Penicillin^RXNORM|MO|Hives",
        r"ORC|NW|PO-2026-55013^RIS|FO-2026-88172^RIS||SC||1^once^^20260302093000^^R||20260301101400|"
        r"300456^Klein^Petra||200345^Smith^Charles^^^Dr|^^^HOSPITAL^^^^^Pulmonology|^WPN^PH^^1^217^5550199|||PULM^Pulmonology^L",
        r"OBR|1|PO-2026-55013^RIS|FO-2026-88172^RIS|71046^XR chest 2 views^C4^CXR2^Chest pa and lateral^99PROT|||||||||"
        r"MRSA^MRSA carrier^L||||200345^Smith^Charles^^^Dr|^WPN^PH^^1^217^5550199|A2026030100013|RP30113|SPS30113||||DX|||"
        r"1^once^^20260302093000^^R|||WHLC|R05^Cough^I10|||400567&Nowak&Eva",
        r"NTE|1|P|Rule out pneumonia; lateral view if patient can stand.",
        r"OBX|1|NM|29463-7^Body weight^LN||154.3|[lb_av]|||||F",
        r"ZDS|1.2.276.0.76.3.1.1.10.20260301.30113^100^Application^DICOM",
        "",
    )
).encode("latin-1")
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
    return {
        name: Figure(statistics.median(one), min(one), max(one), tuple(one)) for name, one in seen.items()
    }
