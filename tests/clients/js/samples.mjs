// Payload values that must survive the way through the router; the same as python/samples.py.

export const TEXT =
  'Grüße, Ωmega, 水, 🦀, "quoted", back\\slash, line\nbreak, tab\t, \u2028.';
export const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

export const SHARED = {
  text: TEXT,
  empty_text: '',
  zero: 0,
  small: -1,
  byte: 255,
  word: 65536,
  id_limit: Number.MAX_SAFE_INTEGER,
  negative_limit: Number.MIN_SAFE_INTEGER,
  half: 0.5,
  tiny: 5e-324,
  huge: Number.MAX_VALUE,
  third: 0.1,
  none: null,
  yes: true,
  no: false,
  list: [1, [2, [3, []]]],
  dict: { a: { b: { c: {} } } },
  mixed: [{ k: [null, 'v', -2.5] }, 'end'],
};

/// `bytes` makes what the client's application would hand over.
export function binary(bytes) {
  return {
    all: bytes(ALL_BYTES),
    empty: bytes([]),
    one: bytes([0]),
    nested: [bytes([0xff, 0xfe]), { deep: bytes([0x80]) }],
    between: 'text',
  };
}
