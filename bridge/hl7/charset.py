"""MSH-18 to text, strictly: a byte that the declared set does not know is an error, never a replacement character.

HL7 v2 2.14.9.18 and table 0211; the DICOM terms are those of PS3.3 C.12.1.1.2. Sets of one byte and UTF-8, GB18030
and Big5 go through Python's codecs; the sets reached by ISO 2022 escapes (PS3.5 6.1.2.5) through the walk below,
because no codec of Python knows all of them, and because the bytes of JIS X 0208 include every HL7 delimiter: a
message is decoded first and split afterwards.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bridge.errors import NotReadable, Unsupported

UNDECODABLE = "hl7-charset"
"""The error code of bytes that do not fit MSH-18 (AE, 102)."""
REFUSED = "hl7-charset-refused"
"""The error code of a set that we do not take (AR, 102)."""

# table 0211 (spaces, `-`, `_`, `/` removed) -> (how we decode, DICOM term alone, DICOM term under code extensions)
_SETS: dict[str, tuple[str, str, str]] = {
    "": ("ascii", "", "ISO 2022 IR 6"),
    "ASCII": ("ascii", "", "ISO 2022 IR 6"),
    "ISOIR6": ("ascii", "", "ISO 2022 IR 6"),
    "88591": ("iso8859_1", "ISO_IR 100", "ISO 2022 IR 100"),
    "88592": ("iso8859_2", "ISO_IR 101", "ISO 2022 IR 101"),
    "88593": ("iso8859_3", "ISO_IR 109", "ISO 2022 IR 109"),
    "88594": ("iso8859_4", "ISO_IR 110", "ISO 2022 IR 110"),
    "88595": ("iso8859_5", "ISO_IR 144", "ISO 2022 IR 144"),
    "88596": ("iso8859_6", "ISO_IR 127", "ISO 2022 IR 127"),
    "88597": ("iso8859_7", "ISO_IR 126", "ISO 2022 IR 126"),
    "88598": ("iso8859_8", "ISO_IR 138", "ISO 2022 IR 138"),
    "88599": ("iso8859_9", "ISO_IR 148", "ISO 2022 IR 148"),
    "885915": ("iso8859_15", "ISO_IR 203", "ISO 2022 IR 203"),
    "ISOIR14": ("jisx0201", "ISO_IR 13", "ISO 2022 IR 13"),
    "ISOIR87": ("jisx0208", "", "ISO 2022 IR 87"),
    "ISOIR159": ("jisx0212", "", "ISO 2022 IR 159"),
    "KSX1001": ("ksx1001", "", "ISO 2022 IR 149"),
    "GB180302000": ("gb18030", "GB18030", ""),
    "UNICODEUTF8": ("utf_8", "ISO_IR 192", ""),
    # No DICOM term of their own: their text goes on as UTF-8.
    "BIG5": ("big5", "ISO_IR 192", ""),
    # Not of table 0211, but what senders mean that say 8859 and write typographic quotes and dashes.
    **{f"WINDOWS{page}": (f"cp{page}", "ISO_IR 192", "") for page in range(1250, 1259)},
}
_ALIASES = {
    "USASCII": "ASCII", "UNICODE": "UNICODEUTF8", "UTF8": "UNICODEUTF8", "GB18030": "GB180302000",
    "ISOIR13": "ISOIR14", "ISOIR149": "KSX1001", "ISOIR192": "UNICODEUTF8", "ISOIR100": "88591", "ISOIR101": "88592",
    "ISOIR109": "88593", "ISOIR110": "88594", "ISOIR144": "88595", "ISOIR127": "88596", "ISOIR126": "88597",
    "ISOIR138": "88598", "ISOIR148": "88599", "ISOIR203": "885915",
    **{f"CP{page}": f"WINDOWS{page}" for page in range(1250, 1259)},
}  # fmt: skip
_WHOLE = frozenset({"utf_8", "gb18030", "big5"})
_ALONE = _WHOLE | {f"cp{page}" for page in range(1250, 1259)}
"""Sets that no ISO 2022 escape reaches."""
_SIGNS_ABOVE = frozenset({"iso8859_1", "iso8859_9", "iso8859_15"})
"""Sets whose 80 to BF are signs, so that what reads as UTF-8 is no word of theirs; in the others it may be (ÓŁ)."""
_SWITCHED = frozenset({"jisx0201", "jisx0208", "jisx0212", "ksx1001"})

# ISO 2022 designations after ESC -> (which half, set)
_DESIGNATIONS: dict[bytes, tuple[int, str]] = {
    b"(B": (0, "ascii"), b"(J": (0, "ascii"), b"(I": (0, "katakana"), b")I": (1, "jisx0201"), b"$B": (0, "jisx0208"),
    b"$@": (0, "jisx0208"), b"$(D": (0, "jisx0212"), b"$(C": (0, "ksx1001"), b"$)C": (1, "ksx1001"),
    b"$)A": (1, "gb2312"), b"-A": (1, "iso8859_1"), b"-B": (1, "iso8859_2"), b"-C": (1, "iso8859_3"),
    b"-D": (1, "iso8859_4"), b"-L": (1, "iso8859_5"), b"-G": (1, "iso8859_6"), b"-F": (1, "iso8859_7"),
    b"-H": (1, "iso8859_8"), b"-M": (1, "iso8859_9"), b"-b": (1, "iso8859_15"), b"-T": (1, "tis_620"),
}  # fmt: skip
_ESCAPE = re.compile(rb"\x1b(\$[()][A-D]|\$[@B]|\([BIJ]|\)I|-[A-DFGHLMTb])")
_ANY_ESCAPE = re.compile(rb"\x1b[$()\-,.]")
_LINE = re.compile(rb"([\r\n])")
_DELIMITER = re.compile(rb"([|^&~=\r\n])")
_PAIRS = re.compile(rb"((?:[\x21-\x7e][\x21-\x7e])+)")
_TO_HIGH = bytes(i | 0x80 for i in range(256))
_CONTROLS = re.compile(rb"[\x80-\x9f]")
"""C1: no text of an 8859 set has them; where they stand, the bytes are of another set (mostly Windows-1252)."""


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """What MSH-18 says: `codec` of the first repetition, `switched` when ISO 2022 escapes may occur.

    `dicom_terms` are the values of (0008,0005), first to last; () means the attribute is absent.
    """

    codec: str
    switched: bool
    dicom_terms: tuple[str, ...]

    def check(self, raw: bytes) -> None:
        """Raises NotReadable(where="MSH-18") for a whole message that is plainly UTF-8 and is said to be Latin: every
        byte of it would decode, each letter to two others."""
        if self.switched or self.codec not in _SIGNS_ABOVE or raw.isascii():
            return
        with contextlib.suppress(UnicodeDecodeError):
            raw.decode("utf-8")
            raise NotReadable("UTF-8, and MSH-18 says otherwise", where="MSH-18", code=UNDECODABLE)

    def decode(self, raw: bytes) -> str:
        """The text. Raises NotReadable(where="MSH-18") on the first byte or escape that does not belong."""
        try:
            if self.switched:
                return _walk(raw, self.codec)
            if b"\x1b" in raw and _ANY_ESCAPE.search(raw):
                raise NotReadable("ISO 2022 escapes, but MSH-18 names no such set", where="MSH-18", code=UNDECODABLE)
            return _single(raw, self.codec)
        except UnicodeDecodeError as fault:
            raise NotReadable(
                f"byte {fault.start} does not belong to the declared character set", where="MSH-18", code=UNDECODABLE
            ) from None


ASCII = CharacterSet("ascii", False, ())


def choose(declared: Sequence[str], *, override: str = "", fallback: str = "") -> CharacterSet:
    """The set of a message: the feed's override, else the repetitions of MSH-18, else the feed's default.

    `override` and `fallback` are written as MSH-18 is, repetitions separated by `~`.
    Raises Unsupported (UTF-16, UTF-32, sets that cannot be combined) and NotReadable (a name that we do not know).
    """
    for codes in (override.split("~"), [code.strip() for code in declared], fallback.split("~")):
        if any(codes):
            return read_character_set(codes)
    return ASCII


def read_character_set(codes: Sequence[str]) -> CharacterSet:
    """The repetitions of MSH-18 (table 0211) as one set; the first is the default, the others are switched to."""
    sets = list(dict.fromkeys(_SETS[_key(code)] for code in codes)) or [_SETS[""]]
    if len(sets) > 1 and not any(one[0] in _SWITCHED for one in sets):
        # "ASCII~8859/1", "ASCII~UNICODE UTF-8": the wider set holds the narrower.
        sets = [one for one in sets if one[0] != "ascii"]
    if any(one[0] in _ALONE for one in sets) and len(sets) > 1:
        raise Unsupported("these character sets cannot be combined", where="MSH-18", code=REFUSED)
    codec, alone, _ = sets[0]
    if len(sets) == 1 and (alone or codec == "ascii"):
        return CharacterSet(codec, codec in _SWITCHED, (alone,) if alone else ())
    return CharacterSet(codec, True, _extended_terms(sets))


def _key(code: str) -> str:
    key = re.sub(r"[\s/_-]", "", code).upper()
    key = key.removeprefix("ISO") if key.startswith("ISO8859") else key
    key = _ALIASES.get(key, key)
    if key.startswith(("UNICODEUTF16", "UNICODEUTF32", "UTF16", "UTF32", "CNS11643")):
        raise Unsupported("UTF-16 and UTF-32 cannot be framed, CNS 11643 cannot be read", where="MSH-18", code=REFUSED)
    if key not in _SETS:
        raise NotReadable("an unknown character set", where="MSH-18", code=UNDECODABLE)
    return key


def _extended_terms(sets: list[tuple[str, str, str]]) -> tuple[str, ...]:
    """PS3.3 C.12.1.1.2: sets of two bytes never come first; an empty first value is ISO 646."""
    first_is_ascii = sets[0][0] in ("ascii", "jisx0208", "jisx0212", "ksx1001")
    rest = [one[2] for one in sets if one[0] != "ascii"]
    return ("", *rest) if first_is_ascii else tuple(rest)


def _walk(raw: bytes, first: str) -> str:
    """Follow the ISO 2022 designations; line ends and delimiters return to the first set (PS3.5 6.1.2.5.3)."""
    # A feed that declares KS X 1001 alone sends EUC-KR without escapes; two-byte JIS needs its escape always.
    start = "" if first in ("ascii", "jisx0208", "jisx0212") else first
    halves = ["ascii", start]
    out: list[str] = []
    parts = _ESCAPE.split(raw)
    for index in range(0, len(parts), 2):
        if index:
            half, name = _DESIGNATIONS[parts[index - 1]]
            halves[half] = name
        run = parts[index]
        if b"\x1b" in run:
            raise NotReadable("an ISO 2022 escape that is not known", where="MSH-18", code=UNDECODABLE)
        if not run:
            continue
        edge = _LINE if halves[0] != "ascii" else _DELIMITER
        head, *tail = edge.split(run, maxsplit=1)
        out.append(_decode_run(head, halves[0], halves[1]))
        if tail:
            halves[0] = "ascii"
            # Undeclared at the start: nothing to return to, and high bytes can mean only what was last designated.
            halves[1] = start or halves[1]
            out.append(_decode_run(b"".join(tail), halves[0], halves[1]))
    return "".join(out)


def _single(run: bytes, codec: str) -> str:
    """Raises UnicodeDecodeError, also where Python would take a control character for text."""
    if codec.startswith("iso8859") and not run.isascii() and (found := _CONTROLS.search(run)):
        raise UnicodeDecodeError(codec, run, found.start(), found.end(), "a control character")
    return run.decode(codec)


def _decode_run(run: bytes, low: str, high: str) -> str:
    """Bytes without an escape under one pair of designations."""
    if low == "ascii":
        if run.isascii():
            return run.decode("ascii")
        if high == "jisx0201":
            return "".join(chr(b) if b < 0x80 else _katakana(b) for b in run)
        # Single shifts (0x8e, 0x8f) of the EUC codecs are no part of ISO 2022 as DICOM and HL7 use it.
        return _single(run, {"": "ascii", "ksx1001": "euc_kr", "gb2312": "gb2312"}.get(high, high))
    if low == "katakana":
        return "".join(_katakana(b | 0x80) if 0x21 <= b < 0x7F else chr(b) for b in run if _must_be_low(b))
    codec, shift = {"jisx0208": ("euc_jp", b""), "jisx0212": ("euc_jp", b"\x8f"), "ksx1001": ("euc_kr", b"")}[low]
    out: list[str] = []
    for index, part in enumerate(_PAIRS.split(run)):
        if index % 2 == 0:
            if any(0x21 <= b < 0x7F for b in part):
                raise UnicodeDecodeError(low, part, 0, 1, "half a character")
            out.append(_decode_run(part, "ascii", high))
        elif shift:
            high_bytes = part.translate(_TO_HIGH)
            pairs = b"".join(shift + high_bytes[i : i + 2] for i in range(0, len(high_bytes), 2))
            out.append(pairs.decode(codec))
        else:
            out.append(part.translate(_TO_HIGH).decode(codec))
    return "".join(out)


class Switched:
    """A value whose set is switched by HL7's own escapes (v2.5.1 2.7.2, 2.7.3): these spell an ISO 2022 designation
    without its ESC, and what follows, up to the next, is the codes of that set. Each value begins anew."""

    def __init__(self, characters: CharacterSet) -> None:
        # Only of a set of single bytes can text become the bytes again that it was.
        single = not characters.switched and characters.codec not in _WHOLE
        self._own = ("ascii", characters.codec if single and characters.codec != "ascii" else "")
        self._codec = characters.codec if single else "ascii"
        self._halves = list(self._own)
        self._run: list[str] = []
        self._raw: list[bytes] = []
        self._readable = True
        self._out: list[str] = []

    def designate(self, several_bytes: bool, hexadecimal: str) -> bool:
        """`\\M..\\` (`several_bytes`) or `\\C..\\`; False when it is no designation of that kind, or when what came
        before it does not belong to its set."""
        try:
            code = bytes.fromhex(hexadecimal)
            found = _DESIGNATIONS.get(code)
            if found is None or several_bytes != code.startswith(b"$"):
                return False
            self._end_run()
        except ValueError:
            return False
        self._halves[found[0]] = found[1]
        return True

    def add(self, text: str, hexadecimal: str = "") -> None:
        """A piece of the value; of `\\X..\\` also the codes, which belong to the set that holds here."""
        self._run.append(text)
        try:
            self._raw.append(bytes.fromhex(hexadecimal) if hexadecimal else text.encode(self._codec))
        except ValueError:
            self._readable = False

    def whole(self) -> str | None:
        """The text; None when a part of it does not belong to its set."""
        try:
            self._end_run()
        except ValueError:
            return None
        return "".join(self._out)

    def _end_run(self) -> None:
        if tuple(self._halves) == self._own:
            self._out += self._run
        elif self._readable:
            self._out.append(_decode_run(b"".join(self._raw), *self._halves))
        else:
            raise ValueError("text of another set")
        self._run, self._raw, self._readable = [], [], True


def _must_be_low(byte: int) -> bool:
    if byte >= 0x80:
        raise UnicodeDecodeError("jisx0201", bytes([byte]), 0, 1, "a high byte in a 7-bit set")
    return True


def _katakana(byte: int) -> str:
    if not 0xA1 <= byte <= 0xDF:
        raise UnicodeDecodeError("jisx0201", bytes([byte]), 0, 1, "not in JIS X 0201")
    return chr(byte + 0xFEC0)
