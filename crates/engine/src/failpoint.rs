//! Named points of the protocol at which a test can end or stop the process.
//!
//! With the feature `failpoints`, the environment variable `REHOME_FAILPOINT` holds
//! `NAME=kill` or `NAME=stop`: the process sends itself SIGKILL or SIGSTOP there, the first time
//! it gets there. Without the feature nothing of this is compiled.

/// Ends or stops the process here if the environment says so.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static ARMED: OnceLock<Option<(String, String)>> = OnceLock::new();
    static DONE: AtomicBool = AtomicBool::new(false);

    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("REHOME_FAILPOINT").ok()?;
        let (name, action) = text.split_once('=')?;
        Some((name.to_owned(), action.to_owned()))
    });
    let Some((at, action)) = armed else { return };
    if at != name || DONE.swap(true, Ordering::SeqCst) {
        return;
    }
    let signal = if action == "stop" { "-STOP" } else { "-KILL" };
    let pid = std::process::id().to_string();
    let sent = std::process::Command::new("kill").args([signal, &pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "failpoint {name}: kill did not run");
    // The signal ends or stops every thread; this one must not go on before it arrives.
    std::thread::sleep(std::time::Duration::from_secs(5));
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn hit(_name: &str) {}
