"""Messages that cost a quadratic reader minutes: each an ORM^O01 whose order is read."""

from __future__ import annotations

HEAD = r"MSH|^~\&|RIS|HOSP|BRIDGE|HOSP|20260301101500||ORM^O01|C-1|P|2.3.1||||||8859/1"
PID, ORC, OBR = "PID|1||P-1^^^HOSP^MR||Doe^Jane", "ORC|NW|1|2", "OBR|1|1|2|P1^Chest^L" + "|" * 20 + "CT"


def order(*further: str, pid: str = PID) -> str:
    return "\r".join((HEAD, pid, ORC, OBR, *further, ""))


BAD_CASES = {
    "a 4 MB field": order("OBX|1|ED|PDF^^L||" + "A" * 4_000_000),
    "a 4 MB note": order("NTE|1||" + "A b " * 1_000_000),
    "20,000 repetitions": order(pid="PID|1||" + "~".join(f"P{i}^^^HOSP^MR" for i in range(20_000)) + "||Doe^Jane"),
    "20,000 repetitions of a name": order(pid=PID + "~Doe^Jane^^^^^A" * 20_000),
    "5,000 segments": order(*[f"OBX|{i}|ST|c^t||v" for i in range(5_000)]),
    "5,000 notes": order(*[f"NTE|{i}||note {i}" for i in range(5_000)]),
    "a million escapes": order("NTE|1||" + "\\F\\\\X41\\" * 500_000),
    "a million escapes of the sender's own": order("NTE|1||" + "\\Zx\\" * 1_000_000),
    "a million components": order(pid="PID|1||1^^^HOSP^MR||" + "a^" * 1_000_000),
    "4 MB of backslashes": order("NTE|1||" + "\\" * 4_000_000),
    "4 MB of hexadecimal": order("NTE|1||\\X" + "41" * 2_000_000),
    "200,000 wrapped lines": order("NTE|1||" + "x\r" * 200_000),
    "20,000 orders": order() + "OBR|1\r" * 20_000,
    "400 steps": order(*[f"IPC|A|RP|1.2|S{i}|CT|P^p^L" for i in range(400)]),
    "20,000 patients": "\r".join((HEAD, *["PID|1||A"] * 20_000, ORC, "")),
}
