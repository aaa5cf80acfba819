//! Named points of the protocol at which a test can end or stop the process.
//!
//! With the feature `failpoints`, the environment variable `REHOME_FAILPOINT` holds
//! `NAME=kill` or `NAME=stop`, or several of them with commas between: the process sends itself
//! SIGKILL or SIGSTOP there, the first time it gets there. Without the feature nothing of this is
//! compiled.

/// Ends or stops the process here if the environment requests it.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    struct Armed {
        name: String,
        stops: bool,
        done: AtomicBool,
    }
    static ARMED: OnceLock<Vec<Armed>> = OnceLock::new();

    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("REHOME_FAILPOINT").unwrap_or_default();
        let points = text.split(',').filter_map(|point| point.split_once('='));
        points
            .map(|(name, action)| Armed {
                name: name.to_owned(),
                stops: action == "stop",
                done: AtomicBool::new(false),
            })
            .collect()
    });
    let Some(point) = armed.iter().find(|point| point.name == name) else { return };
    if point.done.swap(true, Ordering::SeqCst) {
        return;
    }
    let signal = if point.stops { "-STOP" } else { "-KILL" };
    let pid = std::process::id().to_string();
    let sent = std::process::Command::new("kill").args([signal, &pid]).status();
    assert!(sent.is_ok_and(|status| status.success()), "failpoint {name}: kill did not run");
    // The signal ends or stops every thread; this one must not continue before it arrives. A stopped
    // one continues soon after SIGCONT.
    std::thread::sleep(Duration::from_millis(if point.stops { 100 } else { 5_000 }));
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn hit(_name: &str) {}
