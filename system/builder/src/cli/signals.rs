//! The signals that ask the tool to end: it ends what it has started first.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether one of them has come since [`Signals::catch`].
pub(super) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on the signals do not end the process by themselves.
    pub fn catch() -> anyhow::Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let value = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&seen), value)
                .context("cannot handle signals")?;
        }
        Ok(Self(seen))
    }

    /// The last one that came.
    pub fn caught(&self) -> Option<u8> {
        let signal = self.0.load(Ordering::Relaxed);
        u8::try_from(signal).ok().filter(|&signal| signal != 0)
    }

    /// As shells report a process that a signal ended.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(128 + self.caught().unwrap_or_default())
    }
}
