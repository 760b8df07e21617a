"""FITS headers as text: cards, long strings, checksums."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from . import _core

__all__ = [
    "BLOCK",
    "LONG_STRINGS",
    "card",
    "comment_cards",
    "header",
    "long_strings",
    "n_blocks",
    "with_checksum",
    "word_sum",
]

BLOCK = 2880
_WIDTH = 80

Value = str | bool | int | float | None


def ascii_text(text: str) -> str:
    r"""A text as a FITS header can hold it: other characters as ``\x..`` or ``\u....``."""
    escaped = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in escaped)


def _number(value: bool | int | float) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "T" if value else "F"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if not math.isfinite(value):
        return ""  # FITS has no NaN in headers: a value that is not known
    text = repr(float(value)).upper()
    return text if "." in text or "E" not in text else text.replace("E", ".0E")


def card(keyword: str, value: Value, comment: str = "") -> list[str]:
    """One header card of 80 characters; a long string goes on in CONTINUE cards.

    A longer keyword becomes a HIERARCH card.

    Parameters
    ----------
    keyword
        A to Z, 0 to 9, ``-`` and ``_``.
    value
        None, or a number that is not finite: a keyword without a value.
    comment
        Cut off where it has no room.
    """
    if len(keyword) > 8:
        keyword = f"HIERARCH {keyword} "
    if isinstance(value, str):
        text = ascii_text(value).replace("'", "''")
        parts = list(_parts(text, 67)) if len(text) > 68 else [text]
        cards = [f"{keyword:<8}= '{parts[0]:<8}{'&' if len(parts) > 1 else ''}'"]
        cards += [f"CONTINUE  '{part}&'" for part in parts[1:-1]]
        cards += [f"CONTINUE  '{part}'" for part in parts[1:][-1:]]
    else:
        cards = [f"{keyword:<8}= {'' if value is None else _number(value):>20}"]
    if comment and len(cards[-1]) < _WIDTH - 4:
        cards[-1] = f"{cards[-1]:<30} / {ascii_text(comment)}"[:_WIDTH].rstrip()
    return [f"{line:<{_WIDTH}}" for line in cards]


#: Tells readers that know no CONTINUE cards what they are.
LONG_STRINGS = card("LONGSTRN", "OGIP 1.0", "long strings go on in CONTINUE cards")


def long_strings(cards: Sequence[str]) -> list[str]:
    """The card LONGSTRN, where it is needed."""
    return LONG_STRINGS if any(line.startswith("CONTINUE") for line in cards) else []


def _parts(text: str, width: int) -> Iterator[str]:
    """Pieces of at most `width` characters; none ends within a doubled quote."""
    while text:
        end = width
        while len(text) > end and (end - len(text[:end].rstrip("'"))) % 2:
            end -= 1
        yield text[:end]
        text = text[end:]


def comment_cards(keyword: str, text: str) -> list[str]:
    """HISTORY or COMMENT cards; a long text goes on in more of them."""
    text = ascii_text(text)
    return [f"{keyword:<8}{text[i : i + 72]:<72}" for i in range(0, max(len(text), 1), 72)]


def n_blocks(n_cards: int) -> int:
    """Blocks of 2880 bytes for a header of so many cards and END."""
    return (n_cards + 1) * _WIDTH // BLOCK + bool((n_cards + 1) * _WIDTH % BLOCK)


def header(cards: Sequence[str], blocks: int | None = None) -> bytes:
    """The bytes of a header: cards, blank ones up to so many blocks, and END."""
    blocks = blocks or n_blocks(len(cards))
    if n_blocks(len(cards)) > blocks:
        raise _core.Error(f"a header of {len(cards)} cards does not fit {blocks} blocks")
    # END stands in the last block: a reader takes the one that has it for the last.
    text = "".join(cards).ljust(blocks * BLOCK - _WIDTH) + f"{'END':<{_WIDTH}}"
    return text.encode("ascii")


def word_sum(blocks: Iterable[bytes], total: int = 0) -> int:
    """Ones' complement sum of big-endian 32-bit words, as FITS checksums take it."""
    for block in blocks:
        total += int(np.frombuffer(block, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def with_checksum(cards: Sequence[str], datasum: int, blocks: int | None = None) -> bytes:
    """A header that ends in DATASUM and CHECKSUM: the sum over the whole HDU is then all ones.

    The encoding of CHECKSUM is that of the FITS standard 4.0, appendix J.
    """
    note = "sum over the HDU is all ones"
    full = [*cards, *card("DATASUM", str(datasum), "sum of the data, 32-bit words")]
    zero = header([*full, *card("CHECKSUM", "0" * 16, note)], blocks)
    code = _encoded(~word_sum([zero], datasum) & 0xFFFFFFFF)
    return header([*full, *card("CHECKSUM", code, note)], blocks)


def _encoded(value: int) -> str:
    """A 32-bit number as sixteen letters and digits that sum to it, where CHECKSUM's value is."""
    punctuation = [*range(0x3A, 0x41), *range(0x5B, 0x61)]
    text = bytearray(16)
    for i in range(4):
        byte = value >> (24 - 8 * i) & 0xFF
        letters = [byte // 4 + 0x30 + (byte % 4 if k == 0 else 0) for k in range(4)]
        while any(letter in punctuation for letter in letters):
            for a, b in ((0, 1), (2, 3)):
                if letters[a] in punctuation or letters[b] in punctuation:
                    letters[a] += 1
                    letters[b] -= 1
        for k in range(4):
            text[4 * k + i] = letters[k]
    return (text[-1:] + text[:-1]).decode("ascii")  # the value begins in the last byte of a word
