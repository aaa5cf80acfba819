//! The program `rehome`; all of it is in the library beside it.

fn main() -> std::process::ExitCode {
    rehome_cli::run()
}
