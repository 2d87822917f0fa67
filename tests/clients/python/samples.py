"""Payload values that must survive the way through the router.

JavaScript holds integers up to 2^53 exactly, so `SHARED` stays within and `WIDE` does not.
"""

TEXT = "Grüße, Ωmega, 水, 🦀, \"quoted\", back\\slash, line\nbreak, tab\t, \u2028."
ALL_BYTES = bytes(range(256))

SHARED = {
    "text": TEXT,
    "empty_text": "",
    "zero": 0,
    "small": -1,
    "byte": 255,
    "word": 65536,
    "id_limit": 9007199254740991,
    "negative_limit": -9007199254740991,
    "half": 0.5,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "third": 0.1,
    "none": None,
    "yes": True,
    "no": False,
    "list": [1, [2, [3, []]]],
    "dict": {"a": {"b": {"c": {}}}},
    "mixed": [{"k": [None, "v", -2.5]}, "end"],
}

BINARY = {
    "all": ALL_BYTES,
    "empty": b"",
    "one": b"\x00",
    "nested": [b"\xff\xfe", {"deep": b"\x80"}],
    "between": "text",
}

WIDE = {
    "i64_min": -(2**63),
    "i64_max": 2**63 - 1,
    "u64_max": 2**64 - 1,
    "above_id": 2**53 + 1,
}
