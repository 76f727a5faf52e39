//! The variables by which programs find the certificates that they trust: the one list of them.

use std::path::Path;

/// A variable that names a file of certificates.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Variable {
    pub(in crate::cli) name: &'static str,
    /// Who reads it.
    pub(super) readers: &'static str,
    roots: Roots,
}

/// What the file stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roots {
    /// It is read beside the roots that the program has.
    Added,
    /// It is read in place of them, so it holds all roots.
    All,
}

const fn added(name: &'static str, readers: &'static str) -> Variable {
    Variable {
        name,
        readers,
        roots: Roots::Added,
    }
}

const fn all(name: &'static str, readers: &'static str) -> Variable {
    Variable {
        name,
        readers,
        roots: Roots::All,
    }
}

pub(in crate::cli) const VARIABLES: [Variable; 11] = [
    added("NODE_EXTRA_CA_CERTS", "Node, Bun"),
    added("DENO_CERT", "Deno"),
    all("SSL_CERT_FILE", "OpenSSL, Python's ssl, Go, Ruby, uv"),
    all("REQUESTS_CA_BUNDLE", "Python's requests"),
    all("CURL_CA_BUNDLE", "curl"),
    all("GIT_SSL_CAINFO", "git"),
    all("PIP_CERT", "pip"),
    all("AWS_CA_BUNDLE", "AWS CLI and SDKs"),
    all("CARGO_HTTP_CAINFO", "cargo"),
    all("NPM_CONFIG_CAFILE", "npm"),
    all(
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "gRPC for C++, Python and Ruby",
    ),
];

impl Variable {
    /// Its value: one of the two files.
    pub(in crate::cli) fn file<'p>(&self, certificate: &'p Path, bundle: &'p Path) -> &'p Path {
        match self.roots {
            Roots::Added => certificate,
            Roots::All => bundle,
        }
    }
}
