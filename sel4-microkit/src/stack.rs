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
    // SAFETY: `top` is 16-aligned and the caller vouches for the memory below; `trampoline` gets the pointer to `call`,
    // which outlives it.
    unsafe { switch(top, trampoline::<F, T>, (&raw mut call).cast()) };
    match call {
        Call::Result(result) => result,
        Call::Function(_) | Call::Running => unreachable!("the trampoline stores a result"),
    }
}

/// Calls `function` with `argument` on the stack that ends at `top`. A register that the function preserves holds the
/// old stack pointer meanwhile.
///
/// # Safety
/// `top` must be 16-aligned, with enough unused memory below; `argument` must be what `function` expects.
unsafe fn switch(top: *mut u8, function: extern "C" fn(*mut u8), argument: *mut u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise; the function keeps to the C ABI.
    unsafe {
        core::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {function}",
            "mov rsp, r12",
            top = in(reg) top,
            function = in(reg) function,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {function}",
            "mov sp, x20",
            top = in(reg) top,
            function = in(reg) function,
            in("x0") argument,
            out("x20") _,
            clobber_abi("C"),
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "mv s2, sp",
            "mv sp, {top}",
            "jalr {function}",
            "mv sp, s2",
            top = in(reg) top,
            function = in(reg) function,
            in("a0") argument,
            out("s2") _,
            clobber_abi("C"),
        );
    }
}

enum Call<F, T> {
    Function(F),
    Running,
    Result(T),
}

extern "C" fn trampoline<F: FnOnce() -> T, T>(call: *mut u8) {
    // SAFETY: `call_on_stack` passes its own `Call<F, T>`, which it does not touch until this function has returned.
    let call = unsafe { &mut *call.cast::<Call<F, T>>() };
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
