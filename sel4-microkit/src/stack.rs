//! Running on another stack.

use core::cell::UnsafeCell;

/// A stack of `N` bytes inside the image.
#[repr(C, align(4096))]
pub struct StaticStack<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: only its address is taken; one thread runs on it.
unsafe impl<const N: usize> Sync for StaticStack<N> {}

impl<const N: usize> StaticStack<N> {
    /// A stack whose memory lies in the image's zeroed part.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }

    /// The address behind its last byte.
    pub fn top(&self) -> *mut u8 {
        self.0.get().cast::<u8>().wrapping_add(N)
    }
}

/// Runs `f` on the stack below `top` (rounded down to 16 bytes) and comes back. What `f` leaves there stays there:
/// whoever keeps secrets wipes that memory afterwards.
///
/// # Safety
/// The memory below `top` must be unused and larger than `f` needs. `f` must not unwind.
pub unsafe fn call_on_stack<F: FnOnce() -> T, T>(top: *mut u8, f: F) -> T {
    let mut call = Call::Function(f);
    let top = (top as usize & !15) as *mut u8;
    // SAFETY: `trampoline` gets the pointer to `call`, which outlives it; it keeps to the C ABI, for which the stack
    // is 16-aligned before the call. rbx-like callee-saved r12 holds the old stack pointer meanwhile.
    unsafe {
        core::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {function}",
            "mov rsp, r12",
            top = in(reg) top,
            function = sym trampoline::<F, T>,
            in("rdi") &raw mut call,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    match call {
        Call::Result(result) => result,
        Call::Function(_) | Call::Running => unreachable!("the trampoline stores a result"),
    }
}

enum Call<F, T> {
    Function(F),
    Running,
    Result(T),
}

extern "C" fn trampoline<F: FnOnce() -> T, T>(call: &mut Call<F, T>) {
    if let Call::Function(f) = core::mem::replace(call, Call::Running) {
        *call = Call::Result(f());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_runs_on_the_other_stack_and_returns() {
        static STACK: StaticStack<65536> = StaticStack::new();
        let top = STACK.top() as usize;
        let mut there = 0;
        // SAFETY: only this test uses STACK, and the closure needs a few words.
        let result = unsafe {
            call_on_stack(STACK.top(), || {
                let local = 7_u8;
                there = &raw const local as usize;
                "done"
            })
        };
        assert_eq!(result, "done");
        assert!((top - 65536..top).contains(&there));
    }
}
