//! Memory functions, and the symbols that the prebuilt `core` of a Linux target refers to.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

/// Compares `n` bytes: the ABI's `memcmp`.
///
/// # Safety
/// As C's.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    let mut offset = 0;
    // Equal words are skipped; the first different one is looked at byte by byte.
    while offset + 8 <= n {
        // SAFETY: the caller promises `n` readable bytes at both pointers.
        let (left, right) = unsafe {
            (
                a.add(offset).cast::<u64>().read_unaligned(),
                b.add(offset).cast::<u64>().read_unaligned(),
            )
        };
        if left != right {
            return compare(left, right);
        }
        offset += 8;
    }
    while offset < n {
        // SAFETY: as above.
        let (left, right) = unsafe { (*a.add(offset), *b.add(offset)) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
        offset += 1;
    }
    0
}

/// The order of two different words whose first byte is the lowest.
fn compare(left: u64, right: u64) -> i32 {
    if left.swap_bytes() < right.swap_bytes() {
        -1
    } else {
        1
    }
}

/// Whether `n` bytes differ: `bcmp`, which compilers use.
///
/// # Safety
/// As C's.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(a, b, n) }
}

/// The prebuilt `core` refers to it; with `panic = "abort"` nothing calls it.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The prebuilt `core` refers to it; with `panic = "abort"` nothing calls it.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("unwinding")
}

/// What the processor can do beyond the baseline of its architecture, as Linux tells programs (`AT_HWCAP`,
/// Linux `arch/arm64/include/uapi/asm/hwcap.h`): ring asks. User level cannot ask the processor, so the answer is what
/// the program was compiled for, which the board's file decides.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
extern "C" fn getauxval(kind: u64) -> u64 {
    const AT_HWCAP: u64 = 16;
    if kind != AT_HWCAP {
        return 0;
    }
    let bit = |has: bool, bit: u32| u64::from(has) << bit;
    let (aes, sha2) = (cfg!(target_feature = "aes"), cfg!(target_feature = "sha2"));
    // Floating point and Advanced SIMD are in the baseline. PMULL comes with AES, SHA-1 with SHA-256.
    0b11 | bit(aes, 3) | bit(aes, 4) | bit(sha2, 5) | bit(sha2, 6)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::x86_64::{memcpy, memmove, memset};
    use super::*;

    fn pattern(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 7 + 3) as u8).collect()
    }

    #[test]
    fn memcpy_copies_every_length_and_nothing_else() {
        for n in 0..300 {
            let from = pattern(n);
            let mut to = vec![0xee; n + 32];
            // SAFETY: `to` has `n` bytes from 16 on.
            unsafe { memcpy(to.as_mut_ptr().add(16), from.as_ptr(), n) };
            assert_eq!(&to[16..16 + n], from, "{n} bytes");
            assert!(
                to[..16]
                    .iter()
                    .chain(&to[16 + n..])
                    .all(|byte| *byte == 0xee),
                "{n}"
            );
        }
    }

    #[test]
    fn memmove_copies_between_overlapping_ranges() {
        for n in 0..150 {
            for shift in 0..40 {
                for (from, to) in [(shift, 20), (20, shift)] {
                    let mut memory = pattern(200);
                    let mut expected = memory.clone();
                    expected.copy_within(from..from + n, to);
                    let pointer = memory.as_mut_ptr();
                    // SAFETY: both ranges are in `memory`.
                    unsafe { memmove(pointer.add(to), pointer.add(from), n) };
                    assert_eq!(memory, expected, "{n} bytes from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn memset_fills_every_length_and_nothing_else() {
        for n in 0..300 {
            let mut memory = vec![0xee; n + 32];
            // SAFETY: `memory` has `n` bytes from 16 on.
            unsafe { memset(memory.as_mut_ptr().add(16), 0x1a5, n) };
            assert!(memory[16..16 + n].iter().all(|byte| *byte == 0xa5), "{n}");
            assert!(
                memory[..16]
                    .iter()
                    .chain(&memory[16 + n..])
                    .all(|byte| *byte == 0xee),
                "{n}"
            );
        }
    }

    #[test]
    fn memcmp_orders_like_slices() {
        for n in 0..40 {
            let a = pattern(n);
            // SAFETY: both have `n` bytes, here and below.
            assert_eq!(unsafe { memcmp(a.as_ptr(), a.as_ptr(), n) }, 0);
            for different in 0..n {
                let mut b = a.clone();
                b[different] ^= 0x80;
                // SAFETY: as above.
                let order = unsafe { memcmp(a.as_ptr(), b.as_ptr(), n) };
                assert_eq!(order.cmp(&0), a.cmp(&b), "{n} bytes, {different} differs");
                // SAFETY: as above.
                assert_ne!(unsafe { bcmp(a.as_ptr(), b.as_ptr(), n) }, 0);
            }
        }
    }
}
