//! What a response's Content-Encoding says.

/// A content coding that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Codings of one body, in the order in which they were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http::redaction) struct Codings(Vec<Coding>);

/// Some coding is not known, or there are more than anybody applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::redaction) struct Unknown;

/// Most codings of one body.
const MOST: usize = 3;

impl Codings {
    /// What all fields called Content-Encoding make up (RFC 9110 §8.4).
    pub(in crate::http::redaction) fn of<'v>(
        values: impl Iterator<Item = &'v [u8]>,
    ) -> Result<Self, Unknown> {
        let mut codings = Vec::new();
        let names = values.flat_map(|value| value.split(|byte| *byte == b','));
        for name in names.map(<[u8]>::trim_ascii) {
            let coding = match name.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                b"zstd" => Coding::Zstd,
                _ => return Err(Unknown),
            };
            if codings.len() == MOST {
                return Err(Unknown);
            }
            codings.push(coding);
        }
        Ok(Self(codings))
    }

    pub(in crate::http::redaction) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was put out of such a body cannot be taken back by going on in another way.
    pub(super) fn has_seams(&self) -> bool {
        matches!(
            self.0.as_slice(),
            [Coding::Gzip | Coding::Deflate | Coding::Zstd]
        )
    }

    pub(super) fn outermost_first(&self) -> impl Iterator<Item = Coding> {
        self.0.iter().rev().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_read_from_all_fields() {
        let of = |values: &[&str]| Codings::of(values.iter().map(|value| value.as_bytes()));
        assert_eq!(of(&[]), Ok(Codings::default()));
        assert_eq!(of(&["identity", ""]), Ok(Codings::default()));
        let codings = of(&["X-GZIP, deflate", " br"]).unwrap();
        let expected = [Coding::Brotli, Coding::Deflate, Coding::Gzip];
        assert_eq!(codings.outermost_first().collect::<Vec<_>>(), expected);
        assert_eq!(of(&["zstd,gzip,gzip,br"]), Err(Unknown));
        assert_eq!(of(&["gzip, compress"]), Err(Unknown));
    }
}
