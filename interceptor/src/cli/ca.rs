//! `interceptor ca`

mod env;
mod install;
pub(super) mod variables;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::output;
use crate::tls::ca::{BUNDLE, CERTIFICATE, CertificateAuthority, KEY};

/// Where the authority is kept.
pub(super) const DATA_DIR: &str = "/var/lib/interceptor";

const INIT_HELP: &str = "\
Not needed on a single host, where `interceptor run` makes the authority at its first start. It is there for images \
that are built before.

Example:
  interceptor ca init --data-dir ./ca";

const SOURCE_HELP: &str = "\
Without --data-dir it is the authority of the daemon that serves --run-dir; where there is none, the one in \
/var/lib/interceptor.

Examples:
  interceptor ca export > /usr/local/share/ca-certificates/interceptor.crt && update-ca-certificates
  interceptor ca export > ca.pem && NODE_EXTRA_CA_CERTS=ca.pem node bot.js
  interceptor ca bundle > bundle.pem && SSL_CERT_FILE=bundle.pem python3 bot.py";

#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Make the certificate authority if there is none, and say where it is
    #[command(after_help = INIT_HELP)]
    Init {
        /// Where the certificate authority is kept
        #[arg(long, default_value = DATA_DIR, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Print the authority's certificate (PEM): what a sandbox has to trust
    #[command(after_help = SOURCE_HELP)]
    Export(Source),
    /// Print the system's roots and the authority's certificate (PEM), for programs that take one file only
    #[command(after_help = SOURCE_HELP)]
    Bundle(Source),
    /// Print the variables by which programs find the CA
    #[command(after_help = env::EXAMPLES)]
    Env(env::EnvArgs),
    /// Put the authority's certificate into the bundles inside a container
    #[command(after_help = install::EXAMPLES)]
    Install(install::InstallArgs),
    /// Take it out again
    #[command(after_help = install::EXAMPLES)]
    Uninstall(install::UninstallArgs),
}

#[derive(Debug, Args)]
pub(super) struct Source {
    /// Use the certificate authority that is kept here
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) fn run(command: CaCommand, run_dir: &Path) -> anyhow::Result<ExitCode> {
    match command {
        CaCommand::Init { data_dir } => {
            CertificateAuthority::load_or_create(&data_dir)?;
            let certificate = data_dir.join(CERTIFICATE);
            output::print(&format!("{}\n", certificate.display()))
        }
        CaCommand::Export(source) => output::print(&source.read(
            run_dir,
            CERTIFICATE,
            CertificateAuthority::certificate_pem,
        )?),
        CaCommand::Bundle(source) => {
            output::print(&source.read(run_dir, BUNDLE, CertificateAuthority::bundle_pem)?)
        }
        CaCommand::Env(args) => env::run(&args, run_dir),
        CaCommand::Install(args) => return install::install(args, run_dir),
        CaCommand::Uninstall(args) => return install::uninstall(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

impl Source {
    /// The file that holds the authority's certificate.
    fn certificate(&self, run_dir: &Path) -> PathBuf {
        let published = run_dir.join(CERTIFICATE);
        match &self.data_dir {
            Some(data_dir) => data_dir.join(CERTIFICATE),
            None if published.exists() => published,
            None => Path::new(DATA_DIR).join(CERTIFICATE),
        }
    }

    /// What a daemon has `published` in its run directory, or else what the kept authority has to `tell`.
    fn read(
        self,
        run_dir: &Path,
        published: &str,
        tell: impl Fn(&CertificateAuthority) -> String,
    ) -> anyhow::Result<String> {
        if self.data_dir.is_none() {
            let path = run_dir.join(published);
            match fs::read_to_string(&path) {
                Ok(pem) => return Ok(pem),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
            }
        }
        let data_dir = self.data_dir.unwrap_or_else(|| DATA_DIR.into());
        let certificate = data_dir.join(CERTIFICATE);
        if matches!(certificate.try_exists(), Ok(false)) {
            bail!(
                "there is no certificate authority in {}: make one with `interceptor ca init`",
                data_dir.display()
            );
        }
        Ok(tell(&CertificateAuthority::load(
            &certificate,
            &data_dir.join(KEY),
        )?))
    }
}
