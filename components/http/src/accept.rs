//! Selects the content coding of a response (RFC 9110, section 12.5.3).

use core::cmp::Reverse;

use crate::bundle::Coding;
use crate::request::{Request, elements};

/// A form in which a file can be sent: the coding (`None` for identity) and the length in bytes.
pub(crate) type Form = (Option<Coding>, u64);

/// The error that the client accepts none of the forms (406).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAcceptable;

/// Weights of the codings in thousandths; `None` for a coding that is not listed.
#[derive(Clone, Copy, Debug, Default)]
struct Weights {
    codings: [Option<u16>; Coding::ALL.len()],
    identity: Option<u16>,
    any: Option<u16>,
}

/// Selects the form that the client prefers, and the smallest one among equally preferred forms.
///
/// A client that sends no `Accept-Encoding` may not support any coding, so it gets the file in
/// identity form. The identity form is acceptable unless `identity;q=0` or `*;q=0` excludes it. If
/// it is not listed, any listed coding is preferred to it.
pub(crate) fn negotiate(
    request: &Request<'_>,
    forms: impl Iterator<Item = Form>,
) -> Result<Option<Coding>, NotAcceptable> {
    let mut fields = request.fields("accept-encoding").peekable();
    if fields.peek().is_none() {
        return Ok(None);
    }
    let weights = Weights::read(fields.flat_map(elements));
    let acceptable = forms.filter_map(|(coding, length)| {
        let weight = weights.of(coding)?;
        Some((weight, Reverse(length), coding))
    });
    // `max_by_key` returns the last maximum, but the first one is needed.
    let best = acceptable.reduce(|best, other| {
        if (other.0, other.1) > (best.0, best.1) {
            other
        } else {
            best
        }
    });
    best.map(|(_, _, coding)| coding).ok_or(NotAcceptable)
}

impl Weights {
    /// Parses the field. If a coding is listed twice, the first weight counts. Malformed elements
    /// are ignored.
    fn read<'l>(elements: impl Iterator<Item = &'l [u8]>) -> Self {
        let mut weights = Self::default();
        for element in elements {
            let Some((name, weight)) = weighted(element) else {
                continue;
            };
            if let Some(place) = weights.place(name) {
                place.get_or_insert(weight);
            }
        }
        weights
    }

    fn place(&mut self, name: &[u8]) -> Option<&mut Option<u16>> {
        if name == b"*" {
            return Some(&mut self.any);
        }
        if name.eq_ignore_ascii_case(b"identity") {
            return Some(&mut self.identity);
        }
        // RFC 9110, section 8.4.1.3: `x-gzip` is an alias of `gzip`.
        let name = match name.eq_ignore_ascii_case(b"x-gzip") {
            true => b"gzip",
            false => name,
        };
        let mut codings = Coding::ALL.iter();
        let known = codings.position(|coding| name.eq_ignore_ascii_case(coding.token().as_bytes()));
        self.codings.get_mut(known?)
    }

    /// Returns the weight of a form, from 1 to 1000, or 0 for an identity form that is not listed;
    /// `None` if the form is not acceptable.
    fn of(&self, coding: Option<Coding>) -> Option<u16> {
        let listed = match coding {
            Some(coding) => {
                let place = Coding::ALL.iter().position(|other| *other == coding)?;
                self.codings[place].or(self.any)
            }
            None => self.identity.or(self.any),
        };
        match (listed, coding) {
            (Some(0), _) | (None, Some(_)) => None,
            (Some(weight), _) => Some(weight),
            (None, None) => Some(0),
        }
    }
}

/// Parses `coding [;q=weight]`: the name and the weight in thousandths.
fn weighted(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    let weight = match (parts.next(), parts.next()) {
        (None, _) => 1000,
        (Some([b'q' | b'Q', b'=', value @ ..]), None) => thousandths(value)?,
        _ => return None,
    };
    Some((name, weight))
}

/// Parses a weight: `0` or `1`, with up to three decimals (RFC 9110, section 12.4.2).
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut number = match whole {
        b'0' => 0,
        b'1' => 1,
        _ => return None,
    };
    for place in 0..3 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        number = number * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (number <= 1000).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::request::with_request;
    use proptest::prelude::*;
    use std::string::String;

    const GZIP: Option<Coding> = Some(Coding::Gzip);
    const BROTLI: Option<Coding> = Some(Coding::Brotli);
    const ZSTD: Option<Coding> = Some(Coding::Zstd);

    fn ask(fields: &str, forms: &[Form]) -> Result<Option<Coding>, NotAcceptable> {
        let text = std::format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let mut head = text.into_bytes();
        let answer = with_request(&mut head, &Limits::default(), |request, _| {
            negotiate(request, forms.iter().copied())
        });
        answer.unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    #[test]
    fn weights_and_sizes_choose() {
        let all = [(None, 100), (ZSTD, 40), (BROTLI, 30), (GZIP, 50)];
        for (value, expected) in [
            ("gzip", Ok(GZIP)),
            ("GZip, deflate", Ok(GZIP)),
            ("x-gzip", Ok(GZIP)),
            ("gzip, br, zstd", Ok(BROTLI)),
            ("gzip, br;q=0.9, zstd;q=0.90", Ok(GZIP)),
            ("br;q=0.1, zstd;q=0.101", Ok(ZSTD)),
            ("gzip;q=0.001", Ok(GZIP)),
            ("gzip;q=0", Ok(None)),
            ("gzip ; q=0.5 , identity", Ok(None)),
            ("gzip, identity;q=1.0", Ok(GZIP)),
            ("*", Ok(BROTLI)),
            ("*;q=0.5, gzip", Ok(GZIP)),
            ("br;q=0, *", Ok(ZSTD)),
            ("", Ok(None)),
            (", ,gzip,", Ok(GZIP)),
            ("deflate", Ok(None)),
            ("identity;q=0", Err(NotAcceptable)),
            ("identity;q=0, gzip", Ok(GZIP)),
            ("*;q=0", Err(NotAcceptable)),
            ("*;q=0, identity;q=0.2", Ok(None)),
            ("*;q=0, br", Ok(BROTLI)),
            // Malformed elements are ignored, the others count.
            ("br;q=2, gzip", Ok(GZIP)),
            ("br;q=1.001, gzip;q=0.5", Ok(GZIP)),
            ("br;q=0.1234, gzip;q=0.5", Ok(GZIP)),
            ("br;q=, gzip;q=0.5", Ok(GZIP)),
            ("br;q=.5, gzip;q=0.5", Ok(GZIP)),
            ("br;a=1, gzip;q=0.5", Ok(GZIP)),
            ("br;q=1;a=1, gzip;q=0.5", Ok(GZIP)),
            ("br;q=0.x, gzip;q=0.5", Ok(GZIP)),
            ("gzip;q=0.2, gzip;q=0, br;q=0.1", Ok(GZIP)),
            ("gzip;Q=0", Ok(None)),
            ("gzip;q=1.", Ok(GZIP)),
        ] {
            let field = std::format!("Accept-Encoding: {value}\r\n");
            assert_eq!(ask(&field, &all), expected, "{value}");
        }
        assert_eq!(ask("", &all), Ok(None));
        let two = "Accept-Encoding: gzip;q=0.1\r\nX: y\r\nAccept-Encoding: br;q=0.2\r\n";
        assert_eq!(ask(two, &all), Ok(BROTLI));
    }

    #[test]
    fn only_what_there_is_is_chosen() {
        let field = "Accept-Encoding: br, gzip\r\n";
        assert_eq!(ask(field, &[(None, 100), (GZIP, 50)]), Ok(GZIP));
        assert_eq!(ask(field, &[(None, 100)]), Ok(None));
        assert_eq!(
            ask("Accept-Encoding: br, identity;q=0\r\n", &[(None, 9)]),
            Err(NotAcceptable)
        );
        // A form larger than the file itself is sent only to clients that prefer it.
        let larger = [(None, 10), (GZIP, 30)];
        assert_eq!(
            ask("Accept-Encoding: gzip, identity\r\n", &larger),
            Ok(None)
        );
        assert_eq!(ask("Accept-Encoding: gzip\r\n", &larger), Ok(GZIP));
        // The first of equal forms is selected.
        let equal = [(None, 10), (ZSTD, 10), (BROTLI, 10)];
        assert_eq!(ask("Accept-Encoding: br, zstd\r\n", &equal), Ok(ZSTD));
    }

    proptest! {
        #[test]
        fn nothing_panics(value in "[a-z*;=q0-9., -]{0,40}") {
            let field: String = std::format!("Accept-Encoding: {value}\r\n");
            let _ = ask(&field, &[(None, 3), (GZIP, 2)]);
        }
    }
}
