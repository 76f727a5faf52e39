//! Heads and trailers of HTTP/2 responses without the secrets in them.

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
};

use super::{
    Change, Length,
    head::{FRAMING, SUMS},
};
use crate::rewrite::reflection::{Fill, Patterns};

/// Makes `change` to `fields`, and takes the secrets out of them; tells how many.
pub(crate) fn redact(fields: &mut HeaderMap, patterns: &Patterns, change: Change) -> u64 {
    if change.decoded {
        fields.remove(CONTENT_ENCODING);
    }
    match change.length {
        Length::Kept => {}
        Length::Exact(length) if fields.contains_key(CONTENT_LENGTH) => {
            fields.insert(CONTENT_LENGTH, length.into());
        }
        Length::Exact(_) | Length::Unknown => {
            fields.remove(CONTENT_LENGTH);
        }
    }
    let mut count = 0;
    let mut unwanted = Vec::new();
    for (name, value) in fields.iter_mut() {
        let bytes = name.as_str().as_bytes();
        if FRAMING.contains(&bytes) {
            continue;
        }
        if change != Change::default() && SUMS.contains(&bytes) {
            unwanted.push(name.clone());
            continue;
        }
        // No placeholder can stand in a name.
        if let Some((_, found)) = patterns.redact(bytes, Fill::Free) {
            count += found;
            unwanted.push(name.clone());
        } else if let Some((redacted, found)) = patterns.redact(value.as_bytes(), Fill::Free) {
            count += found;
            // A placeholder is a value, and so is what stands around it.
            *value = HeaderValue::from_bytes(&redacted)
                .unwrap_or_else(|_invalid| HeaderValue::from_static(""));
        }
    }
    for name in unwanted {
        fields.remove(name);
    }
    count
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::rewrite::reflection::oracle::{SECRETS, patterns};

    fn fields(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn secrets_are_taken_out_of_values_and_names_but_not_out_of_what_frames_the_message() {
        let secret = SECRETS[0];
        let mut map = fields(&[
            ("x-echo", &format!("a {secret}, {secret}")),
            ("x-echo", "b"),
            ("trailer", secret),
            ("content-type", "text/plain"),
        ]);
        let name: HeaderName = format!("x-{secret}").parse().unwrap();
        map.insert(name.clone(), "c".parse().unwrap());
        let count = redact(&mut map, &patterns(), Change::default());
        assert_eq!(count, 3);
        assert!(!map.contains_key(name));
        let values: Vec<_> = map.get_all("x-echo").iter().collect();
        assert!(!values[0].to_str().unwrap().contains(secret));
        assert!(values[0].to_str().unwrap().starts_with("a openshell"));
        assert_eq!(values[1], "b");
        assert_eq!(map["trailer"], secret);
        assert_eq!(map["content-type"], "text/plain");
    }

    #[test]
    fn a_changed_body_changes_its_length_its_codings_and_loses_its_sums() {
        let original = [
            ("content-length", "9"),
            ("content-encoding", "gzip"),
            ("content-digest", "sha-256=:x:"),
            ("etag", "y"),
        ];
        for (decoded, length, expected) in [
            (false, Length::Kept, &original[..]),
            (
                false,
                Length::Exact(7),
                &[
                    ("content-length", "7"),
                    ("content-encoding", "gzip"),
                    ("etag", "y"),
                ],
            ),
            (true, Length::Unknown, &[("etag", "y")]),
        ] {
            let mut map = fields(&original);
            let change = Change { decoded, length };
            assert_eq!(redact(&mut map, &patterns(), change), 0);
            assert_eq!(map, fields(expected), "{change:?}");
        }
        // None is told where none was.
        let mut map = fields(&[("etag", "y")]);
        let change = Change {
            decoded: false,
            length: Length::Exact(7),
        };
        redact(&mut map, &patterns(), change);
        assert_eq!(map, fields(&[("etag", "y")]));
    }
}
