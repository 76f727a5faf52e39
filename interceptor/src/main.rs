//! The program `interceptor`: see `interceptor --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    interceptor::cli::main()
}
