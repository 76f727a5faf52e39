//! What was refused, to whom and why.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use super::{
    ProcessFacts,
    view::{DenialView, rfc3339},
};
use crate::address::SandboxId;

/// Longest detail or name that is kept, in bytes.
const TEXT: usize = 512;

/// A refusal: of a connection, by the kernel, or of a name.
#[derive(Clone, Debug)]
pub(crate) struct Denial {
    /// `None`: the socket has no owner.
    pub(crate) sandbox: Option<SandboxId>,
    pub(crate) sandbox_name: Option<Arc<str>>,
    pub(crate) process: ProcessFacts,
    pub(crate) destination: Option<SocketAddr>,
    /// The SNI, or the name that was asked for.
    pub(crate) name: Option<String>,
    /// The connection's number, if it came that far.
    pub(crate) connection: Option<u64>,
    /// One of a fixed set, by which denials are counted.
    pub(crate) reason: &'static str,
    /// For an operator.
    pub(crate) detail: String,
}

/// A denial with its time.
#[derive(Debug)]
pub(super) struct Recorded {
    at: SystemTime,
    denial: Denial,
}

impl Recorded {
    pub(super) fn now(mut denial: Denial) -> Self {
        bound(&mut denial.detail);
        if let Some(name) = &mut denial.name {
            bound(name);
        }
        Self {
            at: SystemTime::now(),
            denial,
        }
    }

    pub(super) fn view(&self) -> DenialView {
        let denial = &self.denial;
        DenialView {
            at: rfc3339(self.at),
            sandbox_id: denial.sandbox.map(|id| id.0),
            sandbox: denial.sandbox_name.as_deref().map(str::to_owned),
            pid: denial.process.pid,
            uid: denial.process.uid,
            comm: denial.process.comm.to_string(),
            destination: denial.destination,
            name: denial.name.clone(),
            connection: denial.connection,
            reason: denial.reason.to_owned(),
            detail: denial.detail.clone(),
        }
    }
}

fn bound(text: &mut String) {
    if text.len() > TEXT {
        text.truncate(text.floor_char_boundary(TEXT));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut text = "ä".repeat(TEXT);
        text.insert(0, 'a');
        bound(&mut text);
        assert_eq!(text.chars().last(), Some('…'));
        assert!(text.len() <= TEXT + '…'.len_utf8(), "{}", text.len());
        let mut short = "no rule".to_owned();
        bound(&mut short);
        assert_eq!(short, "no rule");
    }
}
