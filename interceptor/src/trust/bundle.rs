//! Our certificate in a bundle of others, between two lines that no reader of certificates minds.

use std::ops::Range;

use memchr::memmem;

use crate::tls::anchor::Anchor;

/// Before the certificate's fingerprint.
const BEGIN: &str = "# interceptor CA, SHA-256 ";
/// Behind it, where the line before had no end of its own.
const JOINED: &str = ", after an added line end";
const END: &str = "# end of interceptor CA\n";

/// Where the certificate stands, alone among ours. `None`: it does so already.
pub(super) fn with(bundle: &[u8], anchor: &Anchor) -> Option<Vec<u8>> {
    let mut wanted = without(bundle).unwrap_or_else(|| bundle.to_vec());
    // Somebody else may have put it in: then it is not ours to take out.
    if memmem::find(&wanted, anchor.pem.as_bytes()).is_none() {
        let ended = wanted.last().is_none_or(|byte| *byte == b'\n');
        let (before, joined) = if ended { ("", "") } else { ("\n", JOINED) };
        let Anchor { pem, fingerprint } = anchor;
        let block = format!("{before}{BEGIN}{fingerprint}{joined}\n{pem}{END}");
        wanted.extend_from_slice(block.as_bytes());
    }
    (wanted != bundle).then_some(wanted)
}

/// Without whatever was put in, by whatever CA. `None`: there is nothing of ours.
pub(super) fn without(bundle: &[u8]) -> Option<Vec<u8>> {
    let mut left = bundle.to_vec();
    while let Some(block) = find(&left) {
        left.drain(block);
    }
    (left != bundle).then_some(left)
}

/// The first block of ours.
fn find(bundle: &[u8]) -> Option<Range<usize>> {
    let begin = memmem::find_iter(bundle, BEGIN).find(|at| is_line_start(bundle, *at))?;
    let rest = bundle.get(begin..)?;
    let end = memmem::find_iter(rest, END)
        .map(|at| begin + at)
        .find(|at| is_line_start(bundle, *at))?
        + END.len();
    let line = memchr::memchr(b'\n', rest).and_then(|at| rest.get(..at))?;
    // What somebody has put behind it would otherwise go on in the line before.
    let joined = line.ends_with(JOINED.as_bytes()) && end == bundle.len();
    Some(begin - usize::from(joined && begin > 0)..end)
}

fn is_line_start(bundle: &[u8], at: usize) -> bool {
    at.checked_sub(1)
        .is_none_or(|before| bundle.get(before) == Some(&b'\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    fn anchor(body: &str) -> Anchor {
        Anchor {
            pem: format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
            fingerprint: format!("fingerprint-of-{body}"),
        }
    }

    #[test]
    fn a_certificate_is_put_in_once_and_taken_out_without_a_trace() {
        let ours = anchor("BAUG");
        for before in ["", ROOT, ROOT.trim_end(), "# roots\r\n"] {
            let installed = with(before.as_bytes(), &ours).unwrap();
            assert!(memmem::find(&installed, ours.pem.as_bytes()).is_some());
            assert_eq!(with(&installed, &ours), None, "{before}");
            assert_eq!(without(&installed).unwrap(), before.as_bytes());
        }
        assert_eq!(without(ROOT.as_bytes()), None);
    }

    #[test]
    fn an_earlier_certificate_makes_way_for_the_new_one() {
        let (old, new) = (anchor("BAUG"), anchor("BwgJ"));
        let installed = with(ROOT.as_bytes(), &old).unwrap();
        let renewed = with(&installed, &new).unwrap();
        assert!(memmem::find(&renewed, old.pem.as_bytes()).is_none());
        assert_eq!(without(&renewed).unwrap(), ROOT.as_bytes());
    }

    #[test]
    fn what_somebody_appended_stays_on_a_line_of_its_own() {
        let mut bundle = with(ROOT.trim_end().as_bytes(), &anchor("BAUG")).unwrap();
        bundle.extend_from_slice(ROOT.as_bytes());
        let left = without(&bundle).unwrap();
        assert_eq!(left, format!("{ROOT}{ROOT}").into_bytes());
    }

    #[test]
    fn a_certificate_that_is_there_by_others_is_not_ours_to_take_out() {
        let ours = anchor("BAUG");
        let bundle = format!("{ROOT}{}", ours.pem);
        assert_eq!(with(bundle.as_bytes(), &ours), None);
        assert_eq!(without(bundle.as_bytes()), None);
    }

    #[test]
    fn a_block_without_an_end_is_left_as_it_is() {
        let bundle = format!("{BEGIN}x\n{ROOT}");
        assert_eq!(without(bundle.as_bytes()), None);
        let said = format!("say {BEGIN}x\n{ROOT}{END}");
        assert_eq!(without(said.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn whatever_a_bundle_holds_comes_back(bundle in proptest::collection::vec(any::<u8>(), 0..200)) {
            let ours = anchor("BAUG");
            let installed = with(&bundle, &ours).unwrap();
            prop_assert_eq!(with(&installed, &ours), None);
            prop_assert_eq!(without(&installed).unwrap(), bundle);
        }

        #[test]
        fn nothing_of_ours_is_left_whatever_was_cut_or_repeated(cuts in proptest::collection::vec(0_usize..400, 0..4)) {
            let mut bundle = with(ROOT.as_bytes(), &anchor("BAUG")).unwrap();
            for cut in cuts {
                let mut tail = bundle.get(cut.min(bundle.len())..).unwrap().to_vec();
                bundle.append(&mut tail);
            }
            let left = without(&bundle).unwrap_or(bundle);
            prop_assert!(find(&left).is_none());
        }
    }
}
