//! The timer and the real-time clock, of the kinds that the board has.

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use clock::Timer;
use registers::{PhysicalTimer, TimeRegister};
use rtc::{Cmos, Pl031};
use timer::{ArmTimer, Goldfish, Hpet};

/// A timer, and the wall-clock time in seconds since 1970 if it is known.
type Found = (Box<dyn Timer>, Option<u64>);

/// Sets the timer up and reads the real-time clock.
///
/// # Errors
/// Why there is no usable timer. A real-time clock that cannot be read is only said.
pub fn find() -> Result<Found, String> {
    match device::wiring().kind.as_str() {
        "arm-timer" => arm(),
        "goldfish-rtc" => goldfish(),
        _ => pc(),
    }
}

/// The HPET, and the CMOS clock at the device's ports.
fn pc() -> Result<Found, String> {
    let wall = read(Cmos::new(device::ports()).unix_seconds());
    // A pin that the board file does not give is one that no timer can raise.
    let pin = device::property("pin").unwrap_or(u8::MAX);
    let timer = Hpet::new(device::registers(), pin).map_err(|error| error.to_string())?;
    Ok((Box::new(timer), wall))
}

/// The processor's timer. Registers of the device are those of a PL031.
fn arm() -> Result<Found, String> {
    let wall = match device::wiring().registers[..] {
        [] => None,
        _ => read(Pl031::new(device::registers()).unix_seconds()),
    };
    let timer = PhysicalTimer::find().ok_or("this processor has no generic timer")?;
    let timer = ArmTimer::new(timer).map_err(|error| error.to_string())?;
    Ok((Box::new(timer), wall))
}

/// The processor's time register, and a goldfish clock.
fn goldfish() -> Result<Found, String> {
    let counter = TimeRegister::find().ok_or("this processor has no time register")?;
    // A frequency that the board file does not give is none.
    let frequency = device::property("frequency").unwrap_or(0);
    let clock = Goldfish::new(device::registers(), counter, frequency);
    let clock = clock.map_err(|error| error.to_string())?;
    let wall = clock.unix_seconds();
    if wall.is_none() {
        pd::warn!("the real-time clock holds no valid time");
    }
    Ok((Box::new(clock), wall))
}

fn read(time: Result<u64, rtc::RtcError>) -> Option<u64> {
    time.inspect_err(|error| pd::warn!("{error}")).ok()
}
