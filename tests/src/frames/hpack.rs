//! Header blocks written by hand (RFC 7541), and as much of reading them as a status needs.

/// A field as it goes into a block: neither compressed nor kept.
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0];
    string(&mut block, name);
    string(&mut block, value);
    block
}

/// The same, for the dynamic table.
pub fn kept(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = field(name, value);
    if let Some(first) = block.first_mut() {
        *first = 0x40;
    }
    block
}

/// A block of literal fields.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| field(name.as_ref(), value.as_ref()))
        .collect()
}

/// A number over a prefix of so many bits, below which `first` has what it is for (RFC 7541 §5.1).
pub fn integer(block: &mut Vec<u8>, first: u8, bits: u8, value: usize) {
    let most = (1 << bits) - 1;
    let Some(mut rest) = value.checked_sub(most) else {
        block.push(first | u8::try_from(value).unwrap_or_default());
        return;
    };
    block.push(first | u8::try_from(most).unwrap_or_default());
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap_or_default());
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    integer(block, 0, 7, text.len());
    block.extend_from_slice(text);
}

/// The status of a block that begins with it, from a peer that was told to keep no table.
pub fn status(mut block: &[u8]) -> Option<u16> {
    // Of the static table (RFC 7541 appendix A).
    const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // What the table is resized to.
    while let [first, rest @ ..] = block
        && first & 0xe0 == 0x20
    {
        block = rest;
    }
    let (&first, rest) = block.split_first()?;
    if first & 0x80 != 0 {
        return STATUSES
            .get(usize::from(first & 0x7f).checked_sub(8)?)
            .copied();
    }
    let index = if first & 0x40 != 0 {
        first & 0x3f
    } else {
        first & 0x0f
    };
    if !(8..=14).contains(&index) {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let value = rest.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    digits(value)
}

/// A number in Huffman's code of RFC 7541 appendix B, in which 0 to 2 have five bits and the other digits six.
fn digits(coded: &[u8]) -> Option<u16> {
    let bits: Vec<u16> = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)))
        .collect();
    let number = |bits: &[u16]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let mut rest = &bits[..];
    let mut value: u16 = 0;
    // What is left are the padding's ones.
    while rest.len() >= 8 || rest.contains(&0) {
        let digit = match number(rest.get(..5)?) {
            short @ 0..=2 => {
                rest = rest.get(5..)?;
                short
            }
            _ => match rest.get(..6).map(number) {
                Some(long @ 0x19..=0x1f) => {
                    rest = rest.get(6..)?;
                    long - 0x16
                }
                _ => return None,
            },
        };
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_however_it_is_written() {
        for (block, expected) in [
            (&[0x88][..], Some(200)),
            (&[0x20, 0x8c], Some(400)),
            // From RFC 7541 appendix C.5.1 and C.6.1.
            (&[0x48, 0x03, 0x33, 0x30, 0x32], Some(302)),
            (&[0x48, 0x82, 0x64, 0x02], Some(302)),
            // From C.6.2.
            (&[0x48, 0x83, 0x64, 0x0e, 0xff], Some(307)),
            (&[0x08, 0x03, 0x35, 0x30, 0x32], Some(502)),
            (&[0x82], None),
            (&[], None),
        ] {
            assert_eq!(status(block), expected, "{block:02x?}");
        }
    }

    #[test]
    fn numbers_are_written_as_in_the_examples_of_rfc_7541() {
        for (bits, value, expected) in [
            (5, 10, &[10][..]),
            (5, 1337, &[0x1f, 0x9a, 0x0a]),
            (8, 42, &[42]),
        ] {
            let mut block = Vec::new();
            integer(&mut block, 0, bits, value);
            assert_eq!(block, expected);
        }
    }
}
