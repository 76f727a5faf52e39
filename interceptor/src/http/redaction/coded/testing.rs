//! The inflater and what goes on behind it, by themselves.

use super::{
    Undecodable,
    bits::Bits,
    inflate::Inflate,
    seam::{Mark, Marks, Seam},
    splice::{Splice, Sum},
};

/// The text of raw deflate that comes in `pieces`, and whether it was complete.
pub(in crate::http::redaction) fn inflate<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Option<(Vec<u8>, bool)> {
    marked(pieces).ok().map(|(text, _, ended)| (text, ended))
}

/// Raw deflate that goes on with `text` behind each mark, and at which byte of its own text that is.
pub(in crate::http::redaction) fn splice_at_every_mark(
    body: &[u8],
    text: &[u8],
) -> Vec<(usize, Vec<u8>)> {
    let Ok((_, marks, _)) = marked([body]) else {
        return Vec::new();
    };
    let fit = |mark: &&Mark| mark.seam != Seam::None;
    let spliced = marks.iter().filter(fit).map(|mark| {
        let at = (mark.bit / 8) as usize;
        let mut out = body[..at].to_vec();
        let byte = body.get(at).copied().unwrap_or(0);
        let mut splice = Splice::deflate(*mark, byte, Sum::None, &mut out).unwrap();
        splice.push(text, &mut out);
        splice.finish(&mut out);
        (mark.text as usize, out)
    });
    spliced.collect()
}

type Marked = (Vec<u8>, Vec<Mark>, bool);

fn marked<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Marked, Undecodable> {
    let (mut bits, mut inflate) = (Bits::default(), Inflate::behind(0));
    let (mut text, mut marks) = (Vec::new(), Marks::default());
    for mut piece in pieces {
        loop {
            inflate.step(&mut bits, &mut piece, &mut text, &mut marks)?;
            if !inflate.is_full() {
                break;
            }
        }
    }
    Ok((text, marks.all(), inflate.is_ended()))
}
