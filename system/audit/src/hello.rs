//! The ticket in a ClientHello: the only place where rustls shows it.

/// The extension of RFC 5077, section 3.2.
const SESSION_TICKET: u16 = 35;

/// The extension of RFC 8446, section 4.2.11.
const PRE_SHARED_KEY: u16 = 41;

/// Bytes before the session identifier: headers of record and message, version, random (RFC 8446, sections 4.1.2 and 5.1).
const FIXED: usize = 5 + 4 + 2 + 32;

/// The ticket that a record with a whole ClientHello offers first, if it offers one.
pub(crate) fn ticket(record: &[u8]) -> Option<&[u8]> {
    let mut rest = record.get(FIXED..)?;
    vector(&mut rest, 1)?; // session identifier
    vector(&mut rest, 2)?; // cipher suites
    vector(&mut rest, 1)?; // compression methods
    let mut extensions = vector(&mut rest, 2)?;
    while !extensions.is_empty() {
        let kind = extensions.split_off(..2)?;
        let mut content = vector(&mut extensions, 2)?;
        match u16::from_be_bytes([kind[0], kind[1]]) {
            SESSION_TICKET if !content.is_empty() => return Some(content),
            PRE_SHARED_KEY => return vector(&mut vector(&mut content, 2)?, 2),
            _ => {}
        }
    }
    None
}

/// Takes a vector off, whose length has so many bytes (RFC 8446, section 3.4).
fn vector<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let length = rest.split_off(..bytes)?;
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_off(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with these extensions.
    fn hello(extensions: &[u8]) -> Vec<u8> {
        let mut hello = vec![0; FIXED];
        hello.extend([0, 0, 2, 0x13, 1, 1, 0]);
        hello.extend((extensions.len() as u16).to_be_bytes());
        hello.extend(extensions);
        hello
    }

    #[test]
    fn tickets_of_both_versions_are_found() {
        let name = [0, 0, 0, 1, 9];
        let old = [&name[..], &[0, 35, 0, 3, 1, 2, 3]].concat();
        assert_eq!(ticket(&hello(&old)), Some(&[1, 2, 3][..]));
        let new = [&name[..], &[0, 41, 0, 8, 0, 6, 0, 2, 4, 5, 0, 0]].concat();
        assert_eq!(ticket(&hello(&new)), Some(&[4, 5][..]));
    }

    #[test]
    fn without_a_ticket_or_cut_short_there_is_none() {
        assert_eq!(ticket(&hello(&[0, 35, 0, 0])), None);
        let whole = hello(&[0, 35, 0, 3, 1, 2, 3]);
        for length in 0..whole.len() {
            assert_eq!(ticket(&whole[..length]), None);
        }
    }
}
