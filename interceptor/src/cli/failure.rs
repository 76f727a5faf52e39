//! From an error to what an operator reads, and an exit code.

use std::process::ExitCode;

use super::output::complain;
use crate::{config::Faults, control::client::ClientError};

/// Usage or bad configuration.
const BAD_CONFIGURATION: u8 = 2;

/// Prints `error: what: why` in one line, and every fault of a configuration in one of its own. Never a backtrace.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    let failure = Failure::of(error);
    complain(&format!("error: {}", failure.line));
    for detail in failure.detail {
        complain(&detail);
    }
    ExitCode::from(failure.code)
}

#[derive(Debug, PartialEq, Eq)]
struct Failure {
    line: String,
    detail: Vec<String>,
    code: u8,
}

impl Failure {
    fn of(error: &anyhow::Error) -> Self {
        let mut line = Vec::new();
        let mut detail = Vec::new();
        let mut code = 1;
        for cause in error.chain() {
            if let Some(Faults(faults)) = cause.downcast_ref() {
                line.push(match faults.len() {
                    1 => "the configuration has a fault".to_owned(),
                    count => format!("the configuration has {count} faults"),
                });
                detail.extend(faults.iter().map(ToString::to_string));
                code = BAD_CONFIGURATION;
                continue;
            }
            line.push(cause.to_string());
            if let Some(refused) = cause.downcast_ref::<ClientError>() {
                detail.extend_from_slice(refused.detail());
                if refused.is_invalid() {
                    code = BAD_CONFIGURATION;
                }
            }
        }
        Self {
            line: line.join(": "),
            detail,
            code,
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::{config, control::api::ErrorView};

    fn faults() -> Faults {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("interceptor.yaml");
        std::fs::write(&path, "colour: red\nsize: 3\n").unwrap();
        config::load(&path).unwrap_err()
    }

    fn refused(status: u16) -> anyhow::Error {
        let error = ErrorView {
            error: "what runs is untouched".into(),
            detail: vec!["a.yaml:1:1: unknown key".into()],
        };
        ClientError::Refused { status, error }.into()
    }

    #[test]
    fn causes_stand_in_one_line() {
        let error = Err::<(), _>(std::io::Error::other("disk full"))
            .context("cannot write")
            .unwrap_err();
        let failure = Failure::of(&error);
        assert_eq!(failure.line, "cannot write: disk full");
        assert_eq!(failure.code, 1);
    }

    #[test]
    fn faults_stand_a_line_each_and_are_bad_configuration_wherever_they_are_found() {
        let failure = Failure::of(&faults().into());
        assert_eq!(failure.line, "the configuration has 2 faults");
        for (line, detail) in (1..).zip(&failure.detail) {
            assert!(
                detail.contains(&format!("/interceptor.yaml:{line}:1: ")),
                "{detail}"
            );
        }
        assert_eq!((failure.detail.len(), failure.code), (2, 2));

        let wrapped = Err::<(), _>(faults()).context("cannot start").unwrap_err();
        let failure = Failure::of(&wrapped);
        assert_eq!(failure.line, "cannot start: the configuration has 2 faults");
        assert_eq!((failure.detail.len(), failure.code), (2, 2));
    }

    #[test]
    fn what_the_daemon_finds_invalid_is_bad_configuration_and_nothing_else_is() {
        assert_eq!(
            Failure::of(&refused(422)),
            Failure {
                line: "what runs is untouched".into(),
                detail: vec!["a.yaml:1:1: unknown key".into()],
                code: 2
            }
        );
        assert_eq!(Failure::of(&refused(500)).code, 1);
    }
}
