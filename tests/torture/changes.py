"""How a sound file is changed at random: by bytes, by words, by values."""

from __future__ import annotations

import json
import random
import re

ODD = (
    b"", b"0", b"-1", b"1e999", b"nan", b"null", b"true", b"[]", b"{}", b'""',
    b"99999999999999999999", b"\x00", b"\xff\xfe", b"\r", b"\n", b'"', b"'", b"=1+1",
    b"\xe2\x80\xae", b"\x1b[2J", b"..", b"/", b"~", b"!!python/object:os.system", b"&a [*a]",
    b"<<: *a", b"2020-13-45", b": ", b"- ", b"|", b">", b"[[[[[[[[", b"\xc3\xa9", b"\xed\xa0\x80",
    b"4294967296", b"-9223372036854775809", b".5.5", b"0x1F",
)  # fmt: skip


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to eight changes of bytes: flipped, odd, taken away, doubled, moved, cut."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not found:
            break
        at = rng.randrange(min(len(found), rng.choice((64, 1024, len(found)))))
        length = rng.choice((1, 1, 2, 4, 8, 64, 512))
        match rng.randrange(8):
            case 0:
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                found[at : at + length] = rng.randbytes(length)
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length] * rng.choice((1, 2, 50))
            case 4:
                found[at : at + length] = bytes([rng.choice((0, 255, 127, 128))]) * length
            case 5:
                del found[at:]
            case 6:
                found[at:at] = rng.choice(ODD)
            case 7:
                other = rng.randrange(len(found))
                found[at : at + length] = found[other : other + length]
    return bytes(found)


def change_words(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of words: odd ones, other ones of the file, doubled and dropped lines."""
    parts = re.split(rb"([\s,:;\"\[\]{}]+)", data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(parts))
        match rng.randrange(6):
            case 0:
                parts[at] = rng.choice(ODD)
            case 1:
                parts[at] = rng.choice(parts)
            case 2:
                parts[at] *= rng.choice((0, 2, 40, 3000))
            case 3:
                parts[at] += rng.choice(ODD)
            case 4:
                parts.insert(at, b"\n" + b" " * rng.randrange(6))
            case 5:
                return change_bytes(b"".join(parts), rng)
    return b"".join(parts)


VALUES = (
    None, True, -1, 0, 1.5, 1e308, float("nan"), 2**70, "", "..", "\x1b[2J", "é" * 200, [], [1], {},
    "\ud800",
    {"a": []}, [[[]]], "0" * 64,
)  # fmt: skip


def change_json(value: object, rng: random.Random, depth: int = 0) -> object:
    """A JSON value in which one thing is another, absent or doubled."""
    if isinstance(value, dict) and value and (depth == 0 or rng.random() < 0.8):
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if rng.random() < 0.1:
            return {(f"{k}_" if k == key else k): v for k, v in value.items()}
        return {k: change_json(v, rng, depth + 1) if k == key else v for k, v in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [change_json(v, rng, depth + 1) if i == at else v for i, v in enumerate(value)]
    return rng.choice(VALUES)


def sealed_again(data: bytes, rng: random.Random) -> bytes:
    """JSON with its own digest, by a stranger who knows how to make one."""
    from cache.seals import sealed_json

    facts = json.loads(data)
    facts.pop("sealed", None)
    for _ in range(rng.choice((1, 1, 2, 3))):
        changed = change_json(facts, rng)
        facts = changed if isinstance(changed, dict) else facts
    return sealed_json(facts)


def plain_json(data: bytes, rng: random.Random) -> bytes:
    """JSON changed by its values, or by its bytes."""
    if rng.random() < 0.3:
        return change_bytes(data, rng)
    return json.dumps(change_json(json.loads(data), rng)).encode()
