//! What happens on a panic: the hook writes it where it lasts, a debug kernel's console shows it, and the PD faults,
//! so that its parent learns of it.

use core::cell::Cell;
use core::panic::PanicInfo;

/// Called with each panic; see [`set_hook`].
pub type PanicHook = &'static (dyn Fn(&PanicInfo) + Send + Sync);

struct Slot<T>(Cell<T>);

// SAFETY: a PD has one thread.
unsafe impl<T> Sync for Slot<T> {}

static HOOK: Slot<Option<PanicHook>> = Slot(Cell::new(None));

/// Registers what is to be done on a panic before the PD faults, such as writing it to the log. A second call
/// replaces the first. The message names neither PD nor panic: `PanicInfo` displays as place and message.
pub fn set_hook(hook: PanicHook) {
    HOOK.0.set(Some(hook));
}

#[cfg(selkie_freestanding)]
mod freestanding {
    use core::panic::PanicInfo;

    use super::HOOK;
    use crate::{debug_println, pd_name};

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        // Taken, so that a hook that panics itself ends in the fault and not here again.
        if let Some(hook) = HOOK.0.take() {
            hook(info);
        }
        debug_println!("{}: {}", pd_name().unwrap_or("?"), info);
        panicked()
    }

    /// Faults. The supervisor knows a panic by the name of this function.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn panicked() -> ! {
        // SAFETY: an undefined instruction, here and below; the kernel stops the thread and tells its parent.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!("ud2", options(noreturn, nomem, nostack))
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!("udf #0", options(noreturn, nomem, nostack))
        }
        // SAFETY: as above.
        #[cfg(target_arch = "riscv64")]
        unsafe {
            core::arch::asm!("unimp", options(noreturn, nomem, nostack))
        }
    }
}
