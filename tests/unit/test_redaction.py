"""Redaction: no text that leaves the operator shows a token's secret."""

from __future__ import annotations

import tracemalloc
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inferencekey_operator.redaction import excerpt, public_id, redact

SECRET = "0123456789abcdef" * 4
TOKEN = f"ik_sdk_a1b2c3d4_{SECRET}"
PUBLIC = "ik_sdk_a1b2c3d4…"

tokens = st.builds(
    "ik_{}_{}_{}".format,
    st.sampled_from(["sdk", "live"]),
    st.text("0123456789abcdef", min_size=8, max_size=8),
    st.text("0123456789abcdef", min_size=64, max_size=64),
)


@pytest.mark.parametrize(
    ("text", "shown", "why"),
    [
        (TOKEN, PUBLIC, "a token alone"),
        (f"ik_live_a1b2c3d4_{SECRET}", "ik_live_a1b2c3d4…", "a key of the data plane"),
        (f'{{"token":"{TOKEN}"}}', f'{{"token":"{PUBLIC}"}}', "quoted, within JSON"),
        (f"Bearer {TOKEN}, {TOKEN}.", f"Bearer {PUBLIC}, {PUBLIC}.", "twice, with punctuation"),
        (f"--key={TOKEN}", f"--key={PUBLIC}", "in a command"),
        (f"x{TOKEN}", f"x{PUBLIC}", "glued to a word before it"),
        (f"{TOKEN}99", "ik…", "too long to be a token, and so of another shape"),
        (TOKEN[:40], "ik…", "a token that was cut keeps half of its secret"),
        (TOKEN.upper(), "ik…", "in capitals"),
        ("ik_live_short-key_1", "ik…", "another shape, dashes included"),
        ("my ik_abc123 here", "my ik… here", "an unknown prefix"),
        ("an ik_sdk_ token", "an ik_sdk_ token", "a prefix alone says nothing"),
        ("key ik_sdk_a1b2c3d4 is revoked", "key ik_sdk_a1b2c3d4 is revoked", "the public identifier"),
        (PUBLIC, PUBLIC, "what was redacted before"),
        ("a topik_model", "a topik_model", "a word that only ends like a prefix"),
        ("llama-3-70b", "llama-3-70b", "nothing to hide"),
    ],
)
def test_redact_by_table(text: str, shown: str, why: str) -> None:
    """Tokens are shown by their public form, other shapes as `ik…`, everything else as it is."""
    assert redact(text) == shown, why


@given(st.text(), tokens, st.text())
def test_no_text_around_a_token_keeps_its_secret_visible(before: str, token: str, after: str) -> None:
    """Whatever stands around a token, its secret is gone, from the redacted text and from the excerpt."""
    secret = token[-64:]
    text = before + token + after
    for shown in (redact(text), excerpt(text, 4096)):
        assert not any(secret[at : at + 12] in shown for at in range(52)) or secret[:12] in before + after


@given(st.text() | st.from_regex(r"(x?ik_(sdk|live)?_?[a-f0-9]{0,9}[-_ …]?){1,4}"))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """What is redacted is stable, so that a status can be compared with a stored one."""
    assert redact(redact(text)) == redact(text)


@given(st.text().filter(lambda text: "ik_" not in text.lower()))
def test_text_without_a_prefix_is_untouched(text: str) -> None:
    """Redaction changes nothing but tokens."""
    assert redact(text) == text


def test_public_id_names_a_token_and_nothing_else() -> None:
    """The public form belongs to well-formed tokens; anything else shows nothing of itself."""
    assert public_id(TOKEN) == PUBLIC
    assert public_id("ik_live_a1b2c3d4_" + SECRET) == "ik_live_a1b2c3d4…"
    assert [public_id(other) for other in ("", TOKEN + "0", "secret", "ik_sdk_a1b2c3d4")] == ["ik…"] * 4


@given(st.text(st.characters()), st.integers(1, 300))
@example("\ud800" + TOKEN, 20)
@example("ik_sdk_a1b2\u200bc3d4_\x00" + SECRET, 100)
def test_an_excerpt_is_short_single_line_and_printable(text: str, limit: int) -> None:
    """An excerpt fits its limit, can be encoded, and holds neither control nor format characters."""
    shown = excerpt(text, limit)
    assert len(shown) <= limit
    assert shown.encode().decode() == shown
    assert not any(unicodedata.category(each) in {"Cc", "Cf", "Cs"} for each in shown)
    assert SECRET[:12] not in shown


def test_an_excerpt_keeps_words_apart() -> None:
    """Line ends and tabs become one space."""
    assert excerpt("  out of\n\tmemory\r\n on\u2028GPU 0 ", 80) == "out of memory on GPU 0"


def test_an_excerpt_is_cut_after_it_is_redacted() -> None:
    """A token across the cut shows nothing that its public form does not."""
    for limit in range(1, 40):
        shown = excerpt("x" * 12 + TOKEN, limit)
        assert ("x" * 12 + PUBLIC).startswith(shown.removesuffix("…"))


def test_an_excerpt_of_a_huge_text_reads_only_its_beginning() -> None:
    """The work is bounded by the limit: of a text of 6 MB, a few hundred characters are copied."""
    text = "ab " * 2_000_000
    tracemalloc.start()
    try:
        assert excerpt(text, 10) == "ab ab ab …"
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
