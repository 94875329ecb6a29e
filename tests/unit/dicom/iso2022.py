"""A decoder of DICOM text that is not pydicom's: ISO 2022 by designations, delimiters reset them (PS3.5 6.1.2.5)."""

from __future__ import annotations

ALONE = {"": "ascii", "ISO_IR 6": "ascii", "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}
PARTS = {100: 1, 101: 2, 109: 3, 110: 4, 144: 5, 127: 6, 126: 7, 138: 8, 148: 9, 166: 11}
G1 = {f"ISO_IR {n}": f"iso8859-{part}" for n, part in PARTS.items()}
G1 |= {f"ISO 2022 IR {n}": f"iso8859-{part}" for n, part in PARTS.items()}
G1 |= {"ISO_IR 13": "katakana", "ISO 2022 IR 13": "katakana"}
ESCAPES = {
    b"(B": ("g0", "ascii"),
    b"(J": ("g0", "romaji"),
    b")I": ("g1", "katakana"),
    b"$B": ("g0", "jis208"),
    b"$(D": ("g0", "jis212"),
    b"$)C": ("g1", "korean"),
    **{
        b"-" + final.encode(): ("g1", f"iso8859-{part}")
        for final, part in (
            *(("A", 1), ("B", 2), ("C", 3), ("D", 4), ("L", 5), ("G", 6), ("F", 7), ("H", 8), ("M", 9), ("T", 11)),
        )
    },
}
OF_TERM = {
    "ISO 2022 IR 87": "jis208",
    "ISO 2022 IR 159": "jis212",
    "ISO 2022 IR 149": "korean",
    **{term: codec for term, codec in G1.items() if term.startswith("ISO 2022")},
}
DOUBLE = {"jis208", "jis212", "korean"}


def decoded(raw: bytes, declared: str, *, name: bool) -> str:
    """The text of a value; raises when the bytes are not what `declared` says."""
    terms = declared.split("\\")
    if len(terms) == 1 and terms[0] in ALONE:
        return raw.decode(ALONE[terms[0]])
    allowed = {"ascii", "romaji", *(OF_TERM[term] for term in terms if term in OF_TERM)}
    first = {"g0": "ascii", "g1": G1.get(terms[0], "none")}
    state, text, at = dict(first), "", 0
    while at < len(raw):
        if raw[at] == 0x1B:
            escape = next(e for e in sorted(ESCAPES, key=len, reverse=True) if raw.startswith(e, at + 1))
            which, codec = ESCAPES[escape]
            assert codec in allowed, f"{codec} is not declared"
            state[which], at = codec, at + 1 + len(escape)
            continue
        codec = state["g1" if raw[at] >= 0x80 else "g0"]
        size = 2 if codec in DOUBLE else 1
        letter = _letter(raw[at : at + size], codec)
        text, at = text + letter, at + size
        if size == 1 and name and letter in "^=":
            state = dict(first)
    assert state["g0"] in ("ascii", "romaji"), "the value ends in another set"
    return text


def _letter(raw: bytes, codec: str) -> str:
    high = bytes(byte | 0x80 for byte in raw)
    match codec:
        case "jis208":
            return high.decode("euc_jp")
        case "jis212":
            return (b"\x8f" + high).decode("euc_jp")
        case "korean":
            return raw.decode("euc_kr")
        case "katakana":
            assert 0xA1 <= raw[0] <= 0xDF
            return raw.decode("shift_jis")
        case "romaji":
            return raw.decode("ascii")
    return raw.decode(codec)
