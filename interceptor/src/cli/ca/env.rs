//! `interceptor ca env`

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{super::output, variables::VARIABLES};
use crate::tls::ca::{BUNDLE, CERTIFICATE};

pub(super) const EXAMPLES: &str = "\
`exec` sets these variables by itself. Node and Deno read ca.pem beside the roots that they have; all others read \
ca-bundle.pem, with the system's roots, in place of theirs. Programs read them when they start.

Java reads a key store and no variable: the output says how to make one.

Examples:
  eval \"$(interceptor ca env)\"
  interceptor ca env --dir /etc/ssl/interceptor --format kubernetes";

#[derive(Debug, Args)]
pub(in crate::cli) struct EnvArgs {
    /// Where the programs find ca.pem and ca-bundle.pem [default: the run directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How to print them
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for a shell
    Shell,
    /// An object of names and values
    Json,
    /// The `env` of a container
    Kubernetes,
}

pub(super) fn run(args: &EnvArgs, run_dir: &Path) -> anyhow::Result<()> {
    let directory = args.dir.as_deref().unwrap_or(run_dir);
    output::print(&render(directory, args.format)?)
}

fn render(directory: &Path, format: Format) -> anyhow::Result<String> {
    let (certificate, bundle) = (directory.join(CERTIFICATE), directory.join(BUNDLE));
    let mut values = Vec::new();
    for variable in VARIABLES {
        let file = variable.file(&certificate, &bundle);
        let value = file
            .to_str()
            .with_context(|| format!("{} is not UTF-8", file.display()))?;
        values.push((variable, value));
    }
    let mut text = String::new();
    match format {
        Format::Shell => {
            for (variable, value) in values {
                let (name, readers) = (variable.name, variable.readers);
                text.push_str(&format!("export {name}={}  # {readers}\n", quoted(value)));
            }
            text.push_str(&java(&quoted(&certificate.display().to_string())));
        }
        Format::Json => {
            let values: BTreeMap<_, _> = values
                .iter()
                .map(|(variable, value)| (variable.name, value))
                .collect();
            text = serde_json::to_string_pretty(&values)?;
            text.push('\n');
        }
        Format::Kubernetes => {
            text.push_str("env:\n");
            for (variable, value) in values {
                let (name, readers) = (variable.name, variable.readers);
                // JSON's strings are strings of YAML.
                let value = serde_json::to_string(value)?;
                text.push_str(&format!(
                    "  - name: {name}  # {readers}\n    value: {value}\n"
                ));
            }
            text.push_str(&java(&quoted(&certificate.display().to_string())));
        }
    }
    Ok(text)
}

/// Comment in a shell and in YAML alike.
fn java(certificate: &str) -> String {
    format!(
        "# Java: cp \"$JAVA_HOME/lib/security/cacerts\" interceptor.p12\n\
         #   keytool -importcert -noprompt -alias interceptor -file {certificate} -keystore interceptor.p12 -storepass \
         changeit\n\
         #   JAVA_TOOL_OPTIONS=\"-Djavax.net.ssl.trustStore=$PWD/interceptor.p12 \
         -Djavax.net.ssl.trustStorePassword=changeit\"\n"
    )
}

/// For every shell that follows POSIX.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_what_is_printed_whatever_the_directory_is_called() {
        let directory = Path::new("/a b/it's $HOME `x`\\");
        let mut script = render(directory, Format::Shell).unwrap();
        for variable in VARIABLES {
            script.push_str(&format!("printf '%s\\n' \"${}\"\n", variable.name));
        }
        let output = Command::new("sh").args(["-euc", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let printed: Vec<_> = printed.lines().collect();
        assert_eq!(printed.len(), VARIABLES.len());
        assert_eq!(printed[0], "/a b/it's $HOME `x`\\/ca.pem");
        assert_eq!(printed[2], "/a b/it's $HOME `x`\\/ca-bundle.pem");
    }

    #[test]
    fn programs_get_an_object_of_every_variable() {
        let text = render(Path::new("/run/interceptor"), Format::Json).unwrap();
        let values: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        assert_eq!(values.len(), VARIABLES.len());
        assert_eq!(values["NODE_EXTRA_CA_CERTS"], "/run/interceptor/ca.pem");
        assert_eq!(values["PIP_CERT"], "/run/interceptor/ca-bundle.pem");
    }

    #[test]
    fn kubernetes_gets_the_env_of_a_container() {
        let text = render(Path::new("/ca"), Format::Kubernetes).unwrap();
        let mut findings = crate::yaml::Findings::default();
        let root = crate::yaml::parse("env", &text, &mut findings).unwrap();
        let mut fields = root.fields(&mut findings).unwrap();
        let list = fields.take("env").unwrap();
        let items = list.list(&mut findings).unwrap();
        assert_eq!(items.len(), VARIABLES.len());
        let mut first = items[0].fields(&mut findings).unwrap();
        let value = first.take("value").unwrap();
        assert_eq!(value.text(&mut findings), Some("/ca/ca.pem"));
        assert!(text.contains("# Java:"));
    }
}
