"""Pictures as text: every form of base64 and of data URIs that encoders write."""

from __future__ import annotations

import base64
import urllib.parse

import pytest

from mien.errors import ImageError
from mien.recognition.data_uri import decode_text

CONTENT = bytes(range(256)) * 2 + b"\xfb\xff"
STANDARD = base64.b64encode(CONTENT).decode()
URL_SAFE = base64.urlsafe_b64encode(CONTENT).decode()

FORMS = {
    "standard": STANDARD,
    "bytes": STANDARD.encode(),
    "without padding": STANDARD.rstrip("="),
    "URL-safe": URL_SAFE,
    "URL-safe without padding": URL_SAFE.rstrip("="),
    "lines of MIME": base64.encodebytes(CONTENT).decode(),
    "lines of Windows": base64.encodebytes(CONTENT).decode().replace("\n", "\r\n"),
    "indented": "\n    ".join(["", *base64.encodebytes(CONTENT).decode().split()]),
    "data URI": f"data:image/png;base64,{STANDARD}",
    "data URI without a type": f"data:;base64,{STANDARD}",
    "data URI with parameters": f"data:image/png;name=a.png;charset=utf-8;base64,{STANDARD}",
    "data URI in capitals": f"DATA:IMAGE/PNG;BASE64,{STANDARD}",
    "data URI after a line break": f"\n data:image/png; base64 ,{STANDARD}\n",
    "data URI without padding": f"data:image/png;base64,{URL_SAFE.rstrip('=')}",
    "data URI, percent-encoded base64": f"data:image/png;base64,{urllib.parse.quote(STANDARD, safe='')}",
    "data URI, percent-encoded": f"data:image/png,{urllib.parse.quote_from_bytes(CONTENT)}",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bytes(form: str) -> None:
    assert decode_text(FORMS[form]) == CONTENT


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is empty; expected a picture as base64"),
        (" \n", "it is empty; expected a picture as base64"),
        ("data:image/png;base64,", "it is empty; expected a picture as base64"),
        ("data:,", "it is empty; expected a picture as base64"),
        ("====", "it is empty; expected a picture as base64"),
        ("AAAAA", "it is not base64: its last characters are missing; send it whole"),
        ("no base64!", "it is not base64: expected letters, digits, + and /, or - and _, got ! in place 9"),
        ("AA==AAAA", "it is not base64: expected letters, digits, + and /, or - and _, got = in place 3"),
        ("AAA\u20ac", r"it is not base64: expected letters, digits, + and /, or - and _, got \xe2 in place 4"),
        ("\x1b[31m", r"it is not base64: expected letters, digits, + and /, or - and _, got \x1b in place 1"),
        ("AA\ud800", r"it is not base64: expected letters, digits, + and /, or - and _, got \xed in place 3"),
    ],
)
def test_text_that_is_not_base64_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_text(text, "it")
    assert str(caught.value) == sentence


def test_message_does_not_repeat_the_text() -> None:
    with pytest.raises(ImageError) as caught:
        decode_text("?" * 100_000)
    assert len(str(caught.value)) < 150
