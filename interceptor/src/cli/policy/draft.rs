//! What to write into `interceptor.yaml` for policy files.

use std::path::PathBuf;

use anyhow::Context;

use crate::{config::Import, policy::HostPattern};

/// What the variable of a profile's secret is usually called.
const KEYS: [(&str, &str); 6] = [
    ("anthropic", "ANTHROPIC_API_KEY"),
    ("discord", "DISCORD_BOT_TOKEN"),
    ("github", "GITHUB_TOKEN"),
    ("openai", "OPENAI_API_KEY"),
    ("slack", "SLACK_BOT_TOKEN"),
    ("telegram", "TELEGRAM_BOT_TOKEN"),
];

pub(super) struct Draft<'a> {
    pub(super) import: &'a Import,
    pub(super) files: &'a [PathBuf],
    pub(super) sandbox: &'a str,
    pub(super) intercept: &'a [HostPattern],
}

impl Draft<'_> {
    pub(super) fn render(&self) -> anyhow::Result<String> {
        let Self {
            import,
            files,
            sandbox,
            intercept,
        } = self;
        let used = import.profiles();
        let keys: Vec<_> = KEYS
            .iter()
            .filter(|(profile, _)| used.contains(profile))
            .collect();
        let mut text = String::new();
        if !keys.is_empty() {
            text.push_str("secrets:\n");
        }
        for (profile, key) in &keys {
            text.push_str(&format!(
                "  {key}:\n    from: {{ file: secrets/{key} }}\n    profile: {profile}\n"
            ));
        }
        text.push_str(&format!("sandboxes:\n  - name: {}\n", quoted(sandbox)?));
        text.push_str("    policies:\n");
        for file in *files {
            // Wherever the configuration is put.
            let path = std::path::absolute(file)?;
            let path = path
                .to_str()
                .with_context(|| format!("{} is not UTF-8", path.display()))?;
            text.push_str(&format!("      - {}\n", quoted(path)?));
        }
        let keys: Vec<_> = keys.iter().map(|(_, key)| *key).collect();
        text.push_str(&format!("    secrets: [{}]\n", keys.join(", ")));
        if !intercept.is_empty() {
            text.push_str("    # `tls: skip` of these is overridden: TLS is opened.\n");
            text.push_str("    intercept:\n");
        }
        for host in *intercept {
            text.push_str(&format!("      - {}\n", quoted(&host.to_string())?));
        }
        let shut = import.shut();
        if !shut.is_empty() {
            text.push_str(
                "    # Tunnelled, as `tls: skip` says, so that no secret goes in there. To open TLS to them:\n",
            );
            if intercept.is_empty() {
                text.push_str("    # intercept:\n");
            }
        }
        for endpoint in shut {
            let host = endpoint.host.as_deref().unwrap_or_default();
            text.push_str(&format!("    #   - {}\n", quoted(host)?));
        }
        Ok(text)
    }
}

/// JSON's strings are strings of YAML, whatever is in them.
fn quoted(text: &str) -> anyhow::Result<String> {
    Ok(serde_json::to_string(text)?)
}
