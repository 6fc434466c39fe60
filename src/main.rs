//! The `darts` binary.

fn main() -> std::process::ExitCode {
    darts::cli::run(std::env::args_os())
}
