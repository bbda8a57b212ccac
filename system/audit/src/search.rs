//! Searching much memory for many secrets at once.
//!
//! A window is 16 bytes of a secret, from each of its positions, or all of a shorter secret. What is left of a secret is
//! found when it has one whole window, wherever it lies and however it is aligned. Each secret is searched as it is,
//! backwards, and with the bytes of its 4-byte and of its 8-byte words exchanged.

/// Bytes that are compared at once.
const WINDOW: usize = 16;

/// The first bytes of a window, by which it is looked up.
const PREFIX: usize = 8;

/// Windows with fewer different bytes are left out: memory is full of such.
const MIN_DIFFERENT: usize = 6;

const PAGE: usize = 4096;

/// The order of a secret's bytes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// As specified.
    Forward,
    /// The whole secret backwards, as a big number on a little-endian machine.
    Backward,
    /// Each word of 4 bytes backwards.
    Words4,
    /// Each word of 8 bytes backwards.
    Words8,
}

impl Order {
    const ALL: [Self; 4] = [Self::Forward, Self::Backward, Self::Words4, Self::Words8];

    /// The bytes in this order; `None` where it does not apply.
    fn apply(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let words = |size: usize| {
            let whole = bytes.len().is_multiple_of(size) && bytes.len() > size;
            whole.then(|| {
                bytes
                    .chunks(size)
                    .flat_map(|word| word.iter().rev().copied())
                    .collect()
            })
        };
        match self {
            Self::Forward => Some(bytes.to_vec()),
            Self::Backward => Some(bytes.iter().rev().copied().collect()),
            Self::Words4 => words(4),
            Self::Words8 => words(8),
        }
    }
}

/// A stretch of memory that holds a part of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which of the secrets.
    pub secret: usize,
    /// The order of its bytes.
    pub order: Order,
    /// Which byte of the secret, in this order, is the first.
    pub offset: usize,
    /// Where it is.
    pub address: usize,
    /// How many bytes.
    pub length: usize,
}

/// Secrets, ready to be searched for.
pub struct Index {
    /// The secrets in each order.
    texts: Vec<(usize, Order, Vec<u8>)>,
    /// The windows: prefix, text, offset; sorted.
    windows: Vec<(u64, u32, u32)>,
    /// One bit for some bits of each prefix that there is.
    filter: Vec<u64>,
}

impl Index {
    /// An index of these secrets; each hit names one by its place.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut index = Self {
            texts: Vec::new(),
            windows: Vec::new(),
            filter: vec![0; FILTER_BITS / 64],
        };
        for (number, secret) in secrets.into_iter().enumerate() {
            for order in Order::ALL {
                let text = order.apply(secret);
                index.texts.extend(text.map(|text| (number, order, text)));
            }
        }
        for (number, (_, _, text)) in (0..).zip(&index.texts) {
            let length = text.len().min(WINDOW);
            if length < PREFIX {
                continue;
            }
            for (offset, window) in (0..).zip(text.windows(length)) {
                if different(window) >= MIN_DIFFERENT.min(length) {
                    index.windows.push((prefix(window), number, offset));
                }
            }
        }
        index.windows.sort_unstable();
        for (prefix, _, _) in &index.windows {
            let bit = filter_bit(*prefix);
            index.filter[bit / 64] |= 1 << (bit % 64);
        }
        index
    }

    /// All that is found in the memory, by ascending address.
    pub fn search(&self, memory: &[u8]) -> Vec<Hit> {
        let mut found = Vec::new();
        let mut start = 0;
        while start < memory.len() {
            let end = (start + PAGE).min(memory.len());
            // Most of a machine's memory was never used. A window may begin in the page before.
            if memory[start..end].iter().any(|byte| *byte != 0) {
                self.search_page(memory, start.saturating_sub(WINDOW), end, &mut found);
            }
            start = end;
        }
        join(found)
    }

    /// Those of the words that are a part of a secret, with the number of the word as address. A register holds no more.
    pub fn search_words(&self, words: &[u64]) -> Vec<Hit> {
        let mut sorted: Vec<(u64, usize)> = words.iter().copied().zip(0..).collect();
        sorted.retain(|(word, _)| different(&word.to_le_bytes()) >= MIN_DIFFERENT);
        sorted.sort_unstable();
        let mut found = Vec::new();
        for (secret, order, text) in &self.texts {
            for (offset, window) in text.windows(PREFIX).enumerate() {
                let word = prefix(window);
                let first = sorted.partition_point(|(other, _)| *other < word);
                for (_, address) in sorted[first..].iter().take_while(|(w, _)| *w == word) {
                    found.push(Hit {
                        secret: *secret,
                        order: *order,
                        offset,
                        address: *address,
                        length: PREFIX,
                    });
                }
            }
        }
        found
    }

    fn search_page(&self, memory: &[u8], start: usize, end: usize, found: &mut Vec<Hit>) {
        let last = end.min((memory.len() + 1).saturating_sub(PREFIX));
        for address in start..last {
            let prefix = prefix(&memory[address..]);
            let bit = filter_bit(prefix);
            if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
                continue;
            }
            let first = self.windows.partition_point(|window| window.0 < prefix);
            for &(_, text, offset) in self.windows[first..].iter().take_while(|w| w.0 == prefix) {
                let (secret, order, text) = &self.texts[text as usize];
                let offset = offset as usize;
                let length = text.len().min(WINDOW);
                if memory[address..].starts_with(&text[offset..offset + length]) {
                    found.push(Hit {
                        secret: *secret,
                        order: *order,
                        offset,
                        address,
                        length,
                    });
                }
            }
        }
    }
}

/// A bit for one in about seven prefixes when a hundred sessions are searched for.
const FILTER_BITS: usize = 1 << 23;

fn filter_bit(prefix: u64) -> usize {
    // Fibonacci hashing; the highest bits are the best mixed.
    (prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS.trailing_zeros())) as usize
}

fn prefix(bytes: &[u8]) -> u64 {
    let mut word = [0; PREFIX];
    word.copy_from_slice(&bytes[..PREFIX]);
    u64::from_le_bytes(word)
}

fn different(window: &[u8]) -> usize {
    let mut seen = [false; 256];
    window
        .iter()
        .for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Windows that continue each other become one hit.
fn join(mut found: Vec<Hit>) -> Vec<Hit> {
    let base = |hit: &Hit| (hit.address as i64) - (hit.offset as i64);
    found.sort_by_key(|hit| (hit.secret, hit.order, base(hit), hit.address));
    let mut joined: Vec<Hit> = Vec::new();
    for hit in found {
        match joined.last_mut() {
            Some(last)
                if (last.secret, last.order, base(last)) == (hit.secret, hit.order, base(&hit))
                    && hit.address <= last.address + last.length =>
            {
                let end = (hit.address + hit.length).max(last.address + last.length);
                last.length = end - last.address;
            }
            _ => joined.push(hit),
        }
    }
    joined.sort_by_key(|hit| (hit.address, hit.secret, hit.order));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(length: u8) -> Vec<u8> {
        (0..length)
            .map(|byte| byte.wrapping_mul(37).wrapping_add(11))
            .collect()
    }

    fn memory_with(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut memory = vec![0; 5 * PAGE];
        for (address, bytes) in parts {
            memory[*address..][..bytes.len()].copy_from_slice(bytes);
        }
        memory
    }

    #[test]
    fn whole_secrets_are_found_at_any_place_and_in_each_order() {
        let secret = secret(48);
        let index = Index::new([secret.as_slice()]);
        for order in Order::ALL {
            let text = order.apply(&secret).unwrap();
            // At the beginning, across a page's end, and at the very end.
            for address in [0, PAGE - 7, 2 * PAGE + 1, 5 * PAGE - 48] {
                let hits = index.search(&memory_with(&[(address, &text)]));
                let expected = Hit {
                    secret: 0,
                    order,
                    offset: 0,
                    address,
                    length: 48,
                };
                assert_eq!(hits, [expected]);
            }
        }
    }

    #[test]
    fn sixteen_bytes_of_a_secret_are_enough_and_fifteen_are_not() {
        let secret = secret(48);
        let index = Index::new([secret.as_slice()]);
        let hits = index.search(&memory_with(&[(777, &secret[20..36])]));
        assert_eq!(
            (hits[0].offset, hits[0].address, hits[0].length),
            (20, 777, 16)
        );
        assert!(
            index
                .search(&memory_with(&[(777, &secret[20..35])]))
                .is_empty()
        );
    }

    #[test]
    fn short_secrets_are_found_whole() {
        let secret = secret(12);
        let index = Index::new([secret.as_slice()]);
        assert_eq!(index.search(&memory_with(&[(9, &secret)])).len(), 1);
        assert!(index.search(&memory_with(&[(9, &secret[..11])])).is_empty());
    }

    #[test]
    fn eight_bytes_are_enough_in_a_register() {
        let secret = secret(48);
        let index = Index::new([secret.as_slice()]);
        let word = u64::from_le_bytes(*secret[40..].first_chunk().unwrap());
        let hits = index.search_words(&[0, 7, word, word ^ 1]);
        let found: Vec<_> = hits.iter().map(|hit| (hit.offset, hit.address)).collect();
        assert_eq!(found[0], (40, 2));
        assert!(hits.iter().all(|hit| hit.address == 2 && hit.length == 8));
        assert!(
            Index::new([[0; 32].as_slice()])
                .search_words(&[0])
                .is_empty()
        );
    }

    #[test]
    fn secrets_are_told_apart() {
        let (long, short) = (secret(48), secret(16));
        let index = Index::new([long.as_slice(), short.as_slice()]);
        let hits = index.search(&memory_with(&[(100, &long), (8000, &[1; 64])]));
        let found: Vec<_> = hits.iter().map(|hit| (hit.secret, hit.length)).collect();
        // The short one is the beginning of the long one.
        assert_eq!(found, [(0, 48), (1, 16)]);
    }

    #[test]
    fn memory_that_is_full_of_one_byte_is_no_hit() {
        let index = Index::new([[0u8; 32].as_slice(), &[0xff; 32]]);
        assert!(index.search(&[0xff; 2 * PAGE]).is_empty());
    }
}
