//! From an error to one line and an exit code.

use std::process::ExitCode;

use super::output::complain;
use crate::control::client::ClientError;

/// Usage or bad configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Prints `error: what: why`, then what else there is to say a line each. Never a backtrace.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    complain(&format!("error: {error:#}"));
    let client = error.downcast_ref::<ClientError>();
    for line in client.map(ClientError::detail).unwrap_or_default() {
        complain(&format!("  {line}"));
    }
    if client.is_some_and(ClientError::is_invalid) {
        ExitCode::from(BAD_CONFIGURATION)
    } else {
        ExitCode::FAILURE
    }
}
