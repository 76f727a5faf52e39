//! What a request's head says about its body, whatever version of HTTP it came in.

use super::media::Value;

/// What decides how a body is read, and whether it may change.
#[derive(Debug, Default)]
pub(super) struct Head {
    media: Media,
    /// It has a Content-Encoding, and so its bytes are not its text.
    pub(super) encoded: bool,
    pub(super) fixed: Option<Fixed>,
}

/// Why a body has to stay as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fixed {
    /// A digest or a signature in the head covers it.
    Signed,
    /// It is a part of something whose other parts go in other requests.
    Ranged,
}

#[derive(Debug, Default)]
enum Media {
    #[default]
    Absent,
    /// There twice, or not to be read without doubt.
    Unclear,
    Type(Value),
}

/// Fields that carry a digest of the body, or sign one (RFC 1864, RFC 3230, RFC 9530; Amazon's, Google's, Microsoft's,
/// tus').
const DIGESTS: [&str; 8] = [
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
    "x-goog-hash",
    "x-ms-content-crc64",
    "x-ms-content-sha256",
    "upload-checksum",
];

/// Fields that carry one unless they say that they do not.
const HASHES: [&str; 2] = ["x-amz-content-sha256", "x-goog-content-sha256"];

/// Values of Authorization that sign a hash of the body, unless a field of [`HASHES`] says otherwise.
const SIGNATURES: [&[u8]; 3] = [b"aws4-", b"goog4-", b"hmac-sha256 "];

impl Head {
    /// `fields`: all of the request's, their names in any case.
    pub(super) fn read<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> Self {
        let mut head = Self::default();
        let (mut hashed, mut unsigned) = (false, false);
        for (name, value) in fields {
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "content-type" => head.media.see(value),
                "content-encoding" => head.encoded |= !is_identity(value),
                "content-range" => head.fixed = head.fixed.or(Some(Fixed::Ranged)),
                "authorization" => {
                    let value = value.to_ascii_lowercase();
                    hashed |= SIGNATURES.iter().any(|begin| value.starts_with(begin));
                }
                // Fields that come behind the body.
                "trailer" | "x-amz-trailer" => {
                    let named = String::from_utf8_lossy(value).to_ascii_lowercase();
                    if named.split(',').any(|name| is_digest(name.trim())) {
                        head.fixed = Some(Fixed::Signed);
                    }
                }
                "signature-input" => {
                    let covered = value.to_ascii_lowercase();
                    let covers = |name: &[u8]| memchr::memmem::find(&covered, name).is_some();
                    if covers(b"digest\"") || covers(b"\"content-length\"") {
                        head.fixed = Some(Fixed::Signed);
                    }
                }
                name if HASHES.contains(&name) => {
                    let value = value.trim_ascii();
                    let free = value.eq_ignore_ascii_case(b"UNSIGNED-PAYLOAD");
                    unsigned |= free;
                    hashed |= !free;
                }
                name if is_digest(name) => head.fixed = Some(Fixed::Signed),
                _ => {}
            }
        }
        if hashed && !unsigned {
            head.fixed = Some(Fixed::Signed);
        }
        head
    }

    /// In lower case; `None`: there is none, or it is not clear.
    pub(super) fn media(&self) -> Option<&str> {
        self.value().map(|value| value.essence.as_str())
    }

    /// A parameter of the media type.
    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.value()?.parameter(name)
    }

    /// Somebody could read the body as text.
    pub(super) fn is_textual(&self) -> bool {
        match &self.media {
            Media::Absent | Media::Unclear => true,
            Media::Type(value) => {
                let media = value.essence.as_str();
                let words = ["json", "xml", "javascript", "graphql", "yaml", "form"];
                media.starts_with("text/") || words.iter().any(|word| media.contains(word))
            }
        }
    }

    fn value(&self) -> Option<&Value> {
        match &self.media {
            Media::Type(value) => Some(value),
            Media::Absent | Media::Unclear => None,
        }
    }
}

impl Media {
    fn see(&mut self, value: &[u8]) {
        *self = match (&self, Value::read(value)) {
            (Self::Absent, Some(value)) => Self::Type(value),
            _ => Self::Unclear,
        };
    }
}

fn is_digest(name: &str) -> bool {
    DIGESTS.contains(&name) || name.starts_with("x-amz-checksum-")
}

fn is_identity(value: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Head {
        Head::read(fields.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn the_media_type_is_read_unless_it_is_there_twice() {
        let head = read(&[("CONTENT-type", "Application/JSON; charset=utf-8")]);
        assert_eq!(head.media(), Some("application/json"));
        assert_eq!(head.parameter("charset"), Some(&b"utf-8"[..]));
        let twice = [
            ("content-type", "text/plain"),
            ("Content-Type", "text/plain"),
        ];
        assert_eq!(read(&twice).media(), None);
        assert_eq!(read(&[("content-type", "text/plain, a/b")]).media(), None);
    }

    #[test]
    fn digests_and_signatures_hold_a_body_fixed() {
        let signed = [
            &[("Content-MD5", "x")][..],
            &[("digest", "SHA-256=x")],
            &[("content-digest", "sha-256=:x:")],
            &[("Repr-Digest", "sha-256=:x:")],
            &[("X-Amz-Content-SHA256", "e3b0c442")],
            &[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")],
            &[("Authorization", "AWS4-HMAC-SHA256 Credential=x")],
            &[("authorization", "AWS4-ECDSA-P256-SHA256 Credential=x")],
            &[("authorization", "GOOG4-RSA-SHA256 Credential=x")],
            &[("x-amz-checksum-crc32", "x")],
            &[("Trailer", "Expires, Content-Digest")],
            &[("x-amz-trailer", "x-amz-checksum-crc32c")],
            &[(
                "Signature-Input",
                "sig=(\"@method\" \"content-digest\");created=1",
            )],
        ];
        for fields in signed {
            assert_eq!(read(fields).fixed, Some(Fixed::Signed), "{fields:?}");
        }
        let free = [
            &[("Authorization", "Bearer x")][..],
            &[
                ("Authorization", "AWS4-HMAC-SHA256 Credential=x"),
                ("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"),
            ],
            &[("Signature-Input", "sig=(\"@method\" \"@path\");created=1")],
            &[("Trailer", "Expires")],
            &[("Want-Content-Digest", "sha-256=1")],
        ];
        for fields in free {
            assert_eq!(read(fields).fixed, None, "{fields:?}");
        }
        let ranged = read(&[("Content-Range", "bytes 0-4/10")]);
        assert_eq!(ranged.fixed, Some(Fixed::Ranged));
    }

    #[test]
    fn a_content_encoding_is_seen_unless_it_is_none() {
        assert!(read(&[("Content-Encoding", "gzip")]).encoded);
        assert!(read(&[("content-encoding", "identity, br")]).encoded);
        assert!(!read(&[("content-encoding", "Identity")]).encoded);
        assert!(!read(&[]).encoded);
    }
}
