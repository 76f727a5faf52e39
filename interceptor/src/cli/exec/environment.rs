//! The variables that a command in a sandbox finds.

use std::collections::BTreeSet;

use tokio::process::Command;

use super::super::ca::variables::VARIABLES;
use crate::{
    control::api::{Info, SandboxView},
    kernel::Credentials,
};

const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];
/// What a secret's variable holds instead of the secret, before its name.
const PLACEHOLDER: &str = "openshell:resolve:env:";

/// Sets the CA, the user, and a placeholder for every secret whose variable is not set.
pub(super) fn prepare(
    command: &mut Command,
    info: &Info,
    sandbox: &SandboxView,
    credentials: &Credentials,
) {
    for variable in VARIABLES {
        command.env(
            variable.name,
            variable.file(&info.ca_certificate, &info.ca_bundle),
        );
    }
    command
        .env("HOME", &credentials.home)
        .env("USER", &credentials.name)
        .env("LOGNAME", &credentials.name);
    for name in secrets(sandbox) {
        if std::env::var_os(name).is_none() {
            command.env(name, format!("{PLACEHOLDER}{name}"));
        }
    }
}

/// What of the caller's environment does not go with a sandbox.
pub(super) fn warnings(
    sandbox: &SandboxView,
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut warnings = sandbox.warnings.clone();
    let proxy = PROXIES.into_iter().find(|name| variable(name).is_some());
    warnings.extend(proxy.map(|name| {
        format!("{name} is set: the sandbox can reach a proxy only if its policy allows that")
    }));
    let real = secrets(sandbox)
        .into_iter()
        .filter(|name| variable(name).is_some_and(|value| !value.starts_with(PLACEHOLDER)));
    warnings.extend(real.map(|name| {
        format!(
            "{name} is set, and the command sees what is in it: unset it, and it gets a placeholder"
        )
    }));
    warnings
}

fn secrets(sandbox: &SandboxView) -> BTreeSet<&str> {
    let all = sandbox.secrets.iter().chain(&sandbox.secret_keys);
    all.map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, ffi::OsStr};

    use super::*;

    fn sandbox() -> SandboxView {
        SandboxView {
            id: 1,
            name: "micky".into(),
            cgroup: "/sys/fs/cgroup/micky".into(),
            identity: None,
            cgroup_id: 1,
            netns: Vec::new(),
            policies: Vec::new(),
            secrets: vec!["EXEC_TEST_TOKEN".into(), "PATH".into()],
            secret_keys: vec!["EXEC_TEST_TOKEN".into(), "EXEC_TEST_OTHER".into()],
            sockets: Vec::new(),
            exemptions: Vec::new(),
            kernel_denials: 0,
            doors: Vec::new(),
            warnings: Vec::new(),
            attached_at: String::new(),
            live_connections: 0,
        }
    }

    fn prepared() -> Command {
        let info = Info {
            version: String::new(),
            pid: 1,
            live_connections: 0,
            config: "/c".into(),
            ca_certificate: "/run/ca.pem".into(),
            ca_bundle: "/run/ca-bundle.pem".into(),
        };
        let mut command = Command::new("true");
        let credentials = Credentials::of("root").unwrap();
        prepare(&mut command, &info, &sandbox(), &credentials);
        command
    }

    #[test]
    fn every_secret_has_its_placeholder_unless_its_variable_is_set() {
        let command = prepared();
        let set: HashMap<_, _> = command.as_std().get_envs().collect();
        let value = |name: &str| set.get(OsStr::new(name)).copied().flatten();
        for name in ["EXEC_TEST_TOKEN", "EXEC_TEST_OTHER"] {
            let placeholder = format!("openshell:resolve:env:{name}");
            assert_eq!(value(name), Some(OsStr::new(&placeholder)));
        }
        assert_eq!(value("PATH"), None);
        assert_eq!(
            value("NODE_EXTRA_CA_CERTS"),
            Some(OsStr::new("/run/ca.pem"))
        );
        assert_eq!(
            value("SSL_CERT_FILE"),
            Some(OsStr::new("/run/ca-bundle.pem"))
        );
        assert_eq!(value("USER"), Some(OsStr::new("root")));
    }

    #[test]
    fn a_proxy_and_a_real_secret_are_warned_of_once() {
        let set = HashMap::from([
            ("HTTPS_PROXY", "http://127.0.0.1:3128"),
            ("https_proxy", "http://127.0.0.1:3128"),
            ("EXEC_TEST_TOKEN", "real"),
            ("EXEC_TEST_OTHER", "openshell:resolve:env:EXEC_TEST_OTHER"),
        ]);
        let warnings = warnings(&sandbox(), |name| set.get(name).map(ToString::to_string));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("HTTPS_PROXY is set"));
        assert!(warnings[1].starts_with("EXEC_TEST_TOKEN is set"));
        assert!(!warnings[1].contains("real"));
    }
}
