//! The functions of a C library that compiled code calls, with every length and alignment that they treat differently.

use core::hint::black_box;
use core::ptr;

const SIZE: usize = 384;
/// What is around the bytes under test.
const MARGIN: usize = 16;
const LENGTHS: usize = SIZE - 2 * MARGIN;

/// Results that are not what they should be.
pub fn wrong() -> usize {
    (0..LENGTHS)
        .map(|n| copies(n) + fills(n) + compares(n))
        .sum::<usize>()
        + moves()
}

fn pattern() -> [u8; SIZE] {
    core::array::from_fn(|n| (n * 7 + 3) as u8)
}

fn copies(n: usize) -> usize {
    let from = pattern();
    let mut to = [0xee; SIZE];
    // SAFETY: both have `SIZE` bytes.
    unsafe {
        let (from, to) = (from.as_ptr().add(n % MARGIN), to.as_mut_ptr().add(MARGIN));
        ptr::copy_nonoverlapping(from, to, black_box(n));
    }
    let right = |(at, byte): (usize, &u8)| {
        let expected = match at.checked_sub(MARGIN) {
            Some(at) if at < n => from[n % MARGIN + at],
            _ => 0xee,
        };
        *byte == expected
    };
    usize::from(!to.iter().enumerate().all(right))
}

fn fills(n: usize) -> usize {
    let mut memory = [0xee; SIZE];
    // SAFETY: there are `SIZE` bytes.
    unsafe { ptr::write_bytes(memory.as_mut_ptr().add(MARGIN), 0xa5, black_box(n)) };
    let right = |(at, byte): (usize, &u8)| {
        let inside = at >= MARGIN && at < MARGIN + n;
        *byte == if inside { 0xa5 } else { 0xee }
    };
    usize::from(!memory.iter().enumerate().all(right))
}

/// Ranges that overlap, either before the other.
fn moves() -> usize {
    let mut wrong = 0;
    for n in 0..SIZE / 2 {
        for shift in 0..40 {
            for (from, to) in [(shift, 20), (20, shift)] {
                let mut memory = pattern();
                memory.copy_within(from..from + black_box(n), to);
                let right = |(at, byte): (usize, &u8)| {
                    let source = match at.checked_sub(to) {
                        Some(offset) if offset < n => from + offset,
                        _ => at,
                    };
                    *byte == (source * 7 + 3) as u8
                };
                wrong += usize::from(!memory.iter().enumerate().all(right));
            }
        }
    }
    wrong
}

fn compares(n: usize) -> usize {
    let a = pattern();
    let mut b = a;
    let equal = a[..black_box(n)].cmp(&b[..black_box(n)]).is_eq();
    let Some(last) = n.checked_sub(1) else {
        return usize::from(!equal);
    };
    b[last] ^= 0x80;
    let (a, b) = (black_box(&a[..n]), black_box(&b[..n]));
    usize::from(!equal || a.cmp(b) != a[last].cmp(&b[last]) || a == b)
}
