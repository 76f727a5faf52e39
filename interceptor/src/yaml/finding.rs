//! What a file's reader found: faults, which refuse the file, and reports, which do not.

use std::{error::Error, fmt, path::Path, sync::Arc};

use super::Position;

/// Something that makes the configuration unusable. Never holds the text of a value: one that stands in the wrong place
/// may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub(crate) file: Arc<Path>,
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in characters.
    pub(crate) column: u32,
    pub(crate) message: String,
}

/// Every fault of a configuration, sorted by place. Never empty.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

/// How much a report matters for containment or for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Info,
    /// What happens is laxer than what the files seem to say, or a secret is at risk or out of reach.
    Warning,
}

/// Something that an operator should know of a configuration that is used nonetheless.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Report {
    pub(crate) file: Arc<Path>,
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in characters.
    pub(crate) column: u32,
    pub(crate) level: Level,
    pub(crate) message: String,
}

/// Collects faults and reports while files are read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    faults: Vec<Fault>,
    reports: Vec<Report>,
}

impl Findings {
    pub(crate) fn fault(&mut self, at: &Position, message: impl Into<String>) {
        let Position { file, line, column } = at.clone();
        self.faults.push(Fault {
            file,
            line,
            column,
            message: message.into(),
        });
    }

    pub(crate) fn warn(&mut self, at: &Position, message: impl Into<String>) {
        self.report(at, Level::Warning, message.into());
    }

    pub(crate) fn inform(&mut self, at: &Position, message: impl Into<String>) {
        self.report(at, Level::Info, message.into());
    }

    /// The reports if there is no fault. A file that is read for several sandboxes yields each line once.
    pub(crate) fn finish(mut self) -> Result<Vec<Report>, Faults> {
        self.faults.sort();
        self.faults.dedup();
        if !self.faults.is_empty() {
            return Err(Faults(self.faults));
        }
        self.reports.sort();
        self.reports.dedup();
        Ok(self.reports)
    }

    fn report(&mut self, at: &Position, level: Level, message: String) {
        let Position { file, line, column } = at.clone();
        self.reports.push(Report {
            file,
            line,
            column,
            level,
            message,
        });
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{}:{line}:{column}: {message}", file.display())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for Faults {}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            level,
            message,
        } = self;
        write!(f, "{}:{line}:{column}: {level}: {message}", file.display())
    }
}
