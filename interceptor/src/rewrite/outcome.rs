//! What to do with one part of a request's head.

use std::fmt;

use zeroize::Zeroizing;

use super::Unresolvable;
use crate::secrets::SecretName;

/// What to do with a header's value, or with the target.
pub(crate) enum HeadOutcome {
    /// No placeholder: the part goes on as it is.
    Unchanged,
    /// `value` goes out in the old one's place.
    Rewritten {
        value: Zeroizing<Vec<u8>>,
        /// The secrets in it, once for each time.
        used: Vec<SecretName>,
        /// Placeholders beside them, where nothing is bound.
        passed: u64,
    },
    /// A placeholder, but nothing is bound to where it stands: the part goes on as the text that it is, to be counted.
    Passed,
    /// The request may not go on.
    Refused(Unresolvable),
}

impl fmt::Debug for HeadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Rewritten {
                value: _,
                used,
                passed,
            } => write!(f, "Rewritten({} secrets, {passed} passed)", used.len()),
            Self::Passed => f.write_str("Passed"),
            Self::Refused(why) => write!(f, "Refused({why})"),
        }
    }
}
