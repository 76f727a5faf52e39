//! Masking, RFC 6455 §5.3.

use std::sync::LazyLock;

use rustls::crypto::{SecureRandom, aws_lc_rs};

/// Bytes that are copied and masked at a time, so that they are masked in the first-level cache.
const BLOCK: usize = 4096;

static RANDOM: LazyLock<&'static dyn SecureRandom> =
    LazyLock::new(|| aws_lc_rs::default_provider().secure_random);

/// The system has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRandom;

/// A mask that nobody can foretell, as §10.3 asks for.
///
/// # Errors
/// The system has no random bytes.
pub(crate) fn fresh() -> Result<[u8; 4], NoRandom> {
    let mut mask = [0; 4];
    RANDOM.fill(&mut mask).map_err(|_no_random| NoRandom)?;
    Ok(mask)
}

/// Appends `from`, masked or unmasked (it is the same). `offset` bytes of the payload came before.
pub(crate) fn copy(mask: [u8; 4], offset: usize, from: &[u8], to: &mut Vec<u8>) {
    to.reserve(from.len());
    let mut offset = offset;
    for block in from.chunks(BLOCK) {
        let start = to.len();
        to.extend_from_slice(block);
        if let Some(copied) = to.get_mut(start..) {
            apply(mask, offset, copied);
        }
        offset = (offset + block.len()) % 4;
    }
}

/// Masks or unmasks `bytes`. `offset` bytes of the payload came before.
pub(crate) fn apply(mut mask: [u8; 4], offset: usize, bytes: &mut [u8]) {
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let (blocks, rest) = bytes.as_chunks_mut::<16>();
    for block in blocks {
        *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn masks_differ() {
        let masks: std::collections::HashSet<_> = (0..64).map(|_| fresh().unwrap()).collect();
        assert!(masks.len() > 60);
    }

    proptest! {
        #[test]
        fn masks_as_the_specification_says(
            mask: [u8; 4],
            plain in vec(any::<u8>(), 0..200),
            repeat in 1_usize..60,
            at in 0_usize..20_000,
        ) {
            let plain = plain.repeat(repeat);
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            let (head, tail) = plain.split_at(at.min(plain.len()));
            let mut copied = Vec::new();
            copy(mask, 0, head, &mut copied);
            copy(mask, head.len(), tail, &mut copied);
            prop_assert_eq!(&copied, &expected);
            let mut split = plain.clone();
            let (first, second) = split.split_at_mut(head.len());
            apply(mask, 0, first);
            apply(mask, head.len(), second);
            prop_assert_eq!(split, expected);
        }
    }
}
