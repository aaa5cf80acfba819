//! `rehome-failpoints`: the command `rehome` in a build whose engine has failpoints, so that a test
//! can kill or stop it at each step of the protocol. See `rehome_engine`'s module `failpoint`.

fn main() -> std::process::ExitCode {
    rehome_cli::run()
}
