"""MSH-18 (table 0211) to text and to (0008,0005)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BadInput, NotReadable, Unsupported
from bridge.hl7.charset import ASCII, choose, read_character_set

ONE_BYTE = [
    ("8859/1", "iso8859_1", "ISO_IR 100", "Müller"),
    ("8859/2", "iso8859_2", "ISO_IR 101", "Dvořák"),
    ("8859/3", "iso8859_3", "ISO_IR 109", "Ġorġ"),
    ("8859/4", "iso8859_4", "ISO_IR 110", "Ķīsis"),
    ("8859/5", "iso8859_5", "ISO_IR 144", "Люкceмбypг"),
    ("8859/6", "iso8859_6", "ISO_IR 127", "قباني"),
    ("8859/7", "iso8859_7", "ISO_IR 126", "Διονυσιος"),
    ("8859/8", "iso8859_8", "ISO_IR 138", "שרון"),
    ("8859/9", "iso8859_9", "ISO_IR 148", "Çavuşoğlu"),
    ("8859/15", "iso8859_15", "ISO_IR 203", "Œuvre€"),
    ("UNICODE UTF-8", "utf_8", "ISO_IR 192", "王^Wáng 🫀"),
    ("GB 18030-2000", "gb18030", "GB18030", "王小东"),
    ("BIG-5", "big5", "ISO_IR 192", "王小東"),
    ("windows-1252", "cp1252", "ISO_IR 192", "O’Brien – €"),
    ("windows-1250", "cp1250", "ISO_IR 192", "Dvořák – „Š“"),
]


@pytest.mark.parametrize(("code", "codec", "term", "name"), ONE_BYTE)
def test_a_declared_set_is_decoded_and_named_in_dicom(code: str, codec: str, term: str, name: str) -> None:
    found = read_character_set([code])
    assert (found.decode(name.encode(codec)), found.dicom_terms) == (name, (term,))


@pytest.mark.parametrize("code", ["", "ASCII", "ISO IR6"])
def test_ascii_leaves_specific_character_set_absent(code: str) -> None:
    assert read_character_set([code]) == ASCII
    with pytest.raises(NotReadable, match="byte 1"):
        ASCII.decode(b"M\xfcller")


@pytest.mark.parametrize(
    ("spelling", "same"),
    [("utf-8", "UNICODE UTF-8"), ("UNICODE", "UNICODE UTF-8"), ("8859-1", "8859/1"), ("ISO8859/1", "8859/1"),
     ("ISO_8859-15", "8859/15"), ("ISO_IR 100", "8859/1"), ("iso ir87", "ISO IR87"), ("GB18030", "GB 18030-2000")],
)  # fmt: skip
def test_spellings_found_in_the_field_are_taken(spelling: str, same: str) -> None:
    assert read_character_set([spelling]) == read_character_set([same])


@pytest.mark.parametrize(
    ("codes", "raw", "text", "terms"),
    [
        # PS3.5 H.3.1 and H.3.2: Yamada^Tarou
        (["ISO IR6", "ISO IR87"], b"Yamada^Tarou~\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", "Yamada^Tarou~山田^太郎",
         ("", "ISO 2022 IR 87")),
        (["ISO IR14", "ISO IR87"], b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3~\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
         "ﾔﾏﾀﾞ^ﾀﾛｳ~山田^太郎", ("ISO 2022 IR 13", "ISO 2022 IR 87")),
        (["ISO IR14"], b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ", ("ISO_IR 13",)),
        (["", "ISO IR87", "ISO IR159"], b"\x1b$(D0!\x1b(B^\x1b$B;3\x1b(B", "丂^山",
         ("", "ISO 2022 IR 87", "ISO 2022 IR 159")),
        (["ISO IR87"], b"A^\x1b$B;3ED\x1b(B", "A^山田", ("", "ISO 2022 IR 87")),
        # PS3.5 I.2: Hong^Gildong
        (["ISO IR6", "KS X 1001"], b"Hong^Gildong~\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong~洪^吉洞",
         ("", "ISO 2022 IR 149")),
        (["KS X 1001"], b"\xb1\xe8^\xc8\xf1\xc1\xdf", "김^희중", ("", "ISO 2022 IR 149")),
        (["8859/1", "ISO IR87"], b"M\xfcller~\x1b$B;3\x1b(B|M\xfc", "Müller~山|Mü",
         ("ISO 2022 IR 100", "ISO 2022 IR 87")),
        (["8859/1", "KS X 1001"], b"\x1b$)C\xb1\xe8^M\xfc", "김^Mü", ("ISO 2022 IR 100", "ISO 2022 IR 149")),
        (["8859/1", "8859/7"], b"M\xfc^\x1b-F\xc4\xe9^M\xfc", "Mü^Δι^Mü", ("ISO 2022 IR 100", "ISO 2022 IR 126")),
    ],
)  # fmt: skip
def test_switched_sets_follow_their_escapes(codes: list[str], raw: bytes, text: str, terms: tuple[str, ...]) -> None:
    found = read_character_set(codes)
    assert (found.decode(raw), found.dicom_terms) == (text, terms)


def test_a_delimiter_inside_a_japanese_character_is_no_delimiter() -> None:
    assert read_character_set(["ISO IR87"]).decode(b"\x1b$BP^\x1b(B^") == "俐^"


def test_a_line_end_returns_to_the_first_set() -> None:
    assert read_character_set(["ISO IR87"]).decode(b"\x1b$B;3ED\rPID|1") == "山田\rPID|1"


@pytest.mark.parametrize(
    ("codes", "raw"),
    [
        (["UNICODE UTF-8"], b"M\xfcller"),
        (["8859/1"], b"\x1b$B;3ED\x1b(B"),
        (["ISO IR87"], b"\x1b$B;3E\x1b(B"),
        (["ISO IR87"], b"M\xfcller"),
        (["ISO IR87"], b"\x1b$Z;3"),
        (["ISO IR14"], b"\xe0"),
        (["ISO IR87"], b"\x1b(I\xd4"),
        (["8859/3"], b"\xa5"),
    ],
)
def test_bytes_outside_the_declared_set_are_refused_and_never_replaced(codes: list[str], raw: bytes) -> None:
    with pytest.raises(NotReadable) as caught:
        read_character_set(codes).decode(raw)
    assert (caught.value.where, caught.value.code) == ("MSH-18", "hl7-charset")


@pytest.mark.parametrize("code", ["8859/1", "8859/9", "8859/15"])
@pytest.mark.parametrize("name", ["Müller", "Émilie", "Œuvre", "山田", "Ørsted", "Πέτρος"])
def test_utf_8_that_is_said_to_be_latin_is_refused(code: str, name: str) -> None:
    with pytest.raises(NotReadable) as caught:
        read_character_set([code]).check(b"PID|" + name.encode())
    assert (caught.value.where, caught.value.code) == ("MSH-18", "hl7-charset")


@pytest.mark.parametrize(
    ("code", "text"),
    [("8859/1", "Müller"), ("8859/1", "à\xa0«\xa0Émilie\xa0»"), ("8859/2", "ZIÓŁKOWSKI"), ("8859/5", "ТАТА"),
     ("UNICODE UTF-8", "Müller"), ("8859/1", "plain")],
)  # fmt: skip
def test_what_the_declared_set_may_well_say_is_not_taken_for_utf_8(code: str, text: str) -> None:
    found = read_character_set([code])
    found.check(text.encode(found.codec))


@pytest.mark.parametrize(
    "codes",
    [
        ["UNICODE UTF-16"],
        ["UNICODE UTF-32"],
        ["CNS 11643-1992"],
        ["UNICODE UTF-8", "8859/1"],
        ["GB 18030-2000", "ISO IR87"],
    ],
)
def test_sets_that_cannot_be_framed_or_combined_are_unsupported(codes: list[str]) -> None:
    with pytest.raises(Unsupported) as caught:
        read_character_set(codes)
    assert caught.value.where == "MSH-18"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(NotReadable):
        read_character_set(["EBCDIC"])


@pytest.mark.parametrize("codes", [["ASCII", "8859/1"], ["ASCII", "UNICODE UTF-8"], ["8859/1", "8859/1"]])
def test_ascii_beside_a_wider_set_adds_nothing(codes: list[str]) -> None:
    assert read_character_set(codes) == read_character_set([codes[-1]])


@pytest.mark.parametrize(
    ("declared", "override", "fallback", "codec"),
    [([""], "", "", "ascii"), ([""], "", "8859/1", "iso8859_1"), (["8859/2"], "", "8859/1", "iso8859_2"),
     (["8859/2"], "UNICODE UTF-8", "8859/1", "utf_8"), (["", "ISO IR87"], "", "8859/1", "ascii")],
)  # fmt: skip
def test_the_feeds_override_goes_before_msh_18_and_that_before_the_default(
    declared: list[str], override: str, fallback: str, codec: str
) -> None:
    assert choose(declared, override=override, fallback=fallback).codec == codec


@given(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(["", "8859/1", "ISO IR14", "ISO IR87", "ISO IR159", "KS X 1001", "UNICODE UTF-8"]), max_size=3
    ),
)
def test_any_bytes_decode_or_are_refused(raw: bytes, codes: list[str]) -> None:
    with contextlib.suppress(BadInput):
        assert "\ufffd" not in read_character_set(codes).decode(raw) or b"\xef\xbf\xbd" in raw


@given(st.text(alphabet=st.characters(codec="iso2022_jp_1", exclude_characters="\x1b\x0e\x0f¥‾"), max_size=40))
def test_japanese_text_comes_back_as_pythons_own_codec_wrote_it(text: str) -> None:
    raw = text.encode("iso2022_jp_1")
    assert read_character_set(["", "ISO IR87", "ISO IR159"]).decode(raw) == raw.decode("iso2022_jp_1")


@pytest.mark.parametrize("code", ["8859/1", "8859/2", "8859/5", "8859/15"])
def test_a_control_character_is_no_text_of_a_declared_8859_set(code: str) -> None:
    with pytest.raises(NotReadable, match="byte 1 does not belong") as caught:
        read_character_set([code]).decode(b"O\x92BRIEN")
    assert (caught.value.where, caught.value.code) == ("MSH-18", "hl7-charset")


def test_a_control_character_is_no_text_of_a_switched_8859_set() -> None:
    with pytest.raises(NotReadable):
        read_character_set(["", "ISO IR87", "8859/1"]).decode(b"\x1b-AO\x92BRIEN")


def test_a_byte_that_a_windows_page_does_not_hold_is_refused() -> None:
    with pytest.raises(NotReadable):
        read_character_set(["windows-1252"]).decode(b"\x81")


def test_a_windows_page_is_reached_by_no_escape() -> None:
    with pytest.raises(Unsupported):
        read_character_set(["windows-1252", "ISO IR87"])
