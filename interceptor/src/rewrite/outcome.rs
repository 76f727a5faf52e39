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
        /// Places beside theirs with a placeholder to which nothing is bound.
        passed: u64,
    },
    /// Placeholders at so many places, but nothing is bound to them: the part goes on as the text that it is, and they are
    /// to be counted.
    Passed(u64),
    /// The request may not go on.
    Refused(Unresolvable),
}

impl HeadOutcome {
    /// For a part that may hold placeholders and was gone through, which made `value` of it.
    pub(super) fn settle(
        done: Result<(), Unresolvable>,
        value: Zeroizing<Vec<u8>>,
        used: Vec<SecretName>,
        passed: u64,
    ) -> Self {
        match (done, used.is_empty(), passed) {
            (Err(why), _, _) => Self::Refused(why),
            (Ok(()), false, passed) => Self::Rewritten {
                value,
                used,
                passed,
            },
            // The prefix or the marker was there, but no placeholder.
            (Ok(()), true, 0) => Self::Unchanged,
            (Ok(()), true, passed) => Self::Passed(passed),
        }
    }
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
            Self::Passed(places) => write!(f, "Passed({places})"),
            Self::Refused(why) => write!(f, "Refused({why})"),
        }
    }
}
