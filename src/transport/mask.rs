//! The WebSocket mask (RFC 6455, 5.3).

/// Removes (or applies) a mask in place.
#[inline]
pub fn unmask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, tail) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_offset_matches_the_definition() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        for length in 0..100 {
            for offset in 0..8 {
                let mut bytes: Vec<u8> = (0..offset + length).map(|i| i as u8).collect();
                unmask(&mut bytes[offset..], key);
                for (i, byte) in bytes[offset..].iter().enumerate() {
                    assert_eq!(*byte, (offset + i) as u8 ^ key[i % 4]);
                }
            }
        }
    }
}
