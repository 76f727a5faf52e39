//! The suite, with the Python that it needs, in a place where an unprivileged user can run it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    process::Running,
    programs::{client_packages, copy},
};

/// Copies of the suite and of its testee.
#[derive(Debug)]
pub(super) struct Suite {
    directory: PathBuf,
    /// Messages of each case that sends many.
    messages: u32,
}

impl Suite {
    /// Copies everything into `directory`.
    ///
    /// # Errors
    /// Something is not installed.
    pub(super) fn install(directory: &Path, messages: u32) -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = here.join("../target/autobahn");
        ensure!(
            installed.exists(),
            "the suite is not installed: run `cargo xtask autobahn`"
        );
        let directory = directory.join("autobahn");
        copy(&installed.canonicalize()?, &directory)?;
        copy(&here.join("autobahn"), &directory)?;
        copy(
            &client_packages()?.join("node_modules/ws"),
            &directory.join("node_modules/ws"),
        )?;
        Ok(Self {
            directory,
            messages,
        })
    }

    /// The cases that match any of `patterns`, in order.
    ///
    /// # Errors
    /// The suite does not run.
    pub(super) fn cases(&self, patterns: &[String]) -> Result<Vec<String>> {
        let mut arguments = vec!["list".to_owned()];
        arguments.extend_from_slice(patterns);
        let listed = Running::spawn(command(&self.autobahn(&arguments))?)?.finish()?;
        let cases = listed.success()?.event("cases")?;
        let cases = cases.get("cases").and_then(Value::as_array);
        Ok(cases
            .context("no list of cases")?
            .iter()
            .filter_map(|case| case.as_str().map(str::to_owned))
            .collect())
    }

    /// Autobahn's side: arguments of `suite.py`.
    pub(super) fn autobahn(&self, arguments: &[String]) -> Vec<String> {
        let usr = self.directory.join("usr");
        let libraries = format!(
            "{0}/lib/{1}:{0}/../lib/{1}",
            usr.display(),
            std::env::consts::ARCH.to_owned() + "-linux-gnu"
        );
        let mut all = vec![
            "env".into(),
            format!("PYTHONHOME={}", usr.display()),
            format!("LD_LIBRARY_PATH={libraries}"),
            format!("MESSAGES={}", self.messages),
            usr.join("bin/python2.7").display().to_string(),
            // It warns of its own age.
            "-Wignore".into(),
            self.directory.join("suite.py").display().to_string(),
        ];
        all.extend_from_slice(arguments);
        all
    }

    /// The other side: arguments of `testee.mjs`.
    pub(super) fn testee(&self, arguments: &[String]) -> Vec<String> {
        let script = self.directory.join("testee.mjs");
        let mut all = vec!["node".into(), script.display().to_string()];
        all.extend_from_slice(arguments);
        all
    }
}

/// # Errors
/// `arguments` is empty.
pub(super) fn command(arguments: &[String]) -> Result<Command> {
    let (program, rest) = arguments.split_first().context("nothing to run")?;
    let mut command = Command::new(program);
    command.args(rest);
    Ok(command)
}
