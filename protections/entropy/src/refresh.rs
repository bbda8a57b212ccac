//! New noise from time to time.

/// Nanoseconds after which new noise is taken, however little was given out: a state that was stolen is of no
/// more use then.
const REFRESH: u64 = 300_000_000_000;

/// Asks the clock for the next time. Without a clock there is no refresh by time, only by what was given out.
pub fn set_alarm() {
    if pd::wiring().connection("time").is_err() {
        return;
    }
    let time = pd::time();
    let set = time
        .now()
        .and_then(|now| time.set_alarm(Some(now.saturating_add(REFRESH))));
    if let Err(error) = set {
        pd::warn!("time: {error}");
    }
}
