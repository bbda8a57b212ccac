//! Header fields that a site may set.

use core::fmt;

/// A header field that a site cannot set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The name is not a token (RFC 9110, section 5.1).
    BadName,
    /// The value has control characters, non-ASCII characters, or leading or trailing white space.
    BadValue,
    /// Name and value together have more than 4,096 bytes.
    TooLong,
    /// The server sets this field itself.
    Reserved,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadName => "a header field's name consists of letters, digits and hyphens",
            Self::BadValue => {
                "a header field's value is ASCII, without control characters such as line breaks, and without white \
                 space at its ends"
            }
            Self::TooLong => "a header field has at most 4,096 bytes",
            Self::Reserved => "the server sets this field itself, from what it sends",
        })
    }
}

impl core::error::Error for FieldError {}

/// Fields that follow from the message, the file or the connection. A second one would contradict
/// the server's own.
const RESERVED: &[&str] = &[
    "accept-ranges",
    "allow",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "proxy-connection",
    "server",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
];

/// Checks a header field that a site wants its files to be sent with.
///
/// # Errors
/// [`FieldError`]: the reason why it cannot be set.
pub fn check_field(name: &str, value: &str) -> Result<(), FieldError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(FieldError::BadName);
    }
    if RESERVED
        .iter()
        .any(|reserved| name.eq_ignore_ascii_case(reserved))
    {
        return Err(FieldError::Reserved);
    }
    check_value(value)?;
    match name.len() + value.len() > 4096 {
        true => Err(FieldError::TooLong),
        false => Ok(()),
    }
}

/// Checks the value of a header field; rejects line breaks, so that the value cannot end its line.
///
/// # Errors
/// [`FieldError::BadValue`].
pub fn check_value(value: &str) -> Result<(), FieldError> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    match value.bytes().all(is_plain) && value.trim_ascii() == value {
        true => Ok(()),
        false => Err(FieldError::BadValue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        assert_eq!(check_field("X-Frame-Options", "DENY"), Ok(()));
        assert_eq!(check_field("x", ""), Ok(()));
        for (name, value, error) in [
            ("", "a", FieldError::BadName),
            ("a b", "a", FieldError::BadName),
            ("a:", "a", FieldError::BadName),
            ("a\r\nb", "a", FieldError::BadName),
            ("é", "a", FieldError::BadName),
            ("a", "b\r\nc: d", FieldError::BadValue),
            ("a", "b\nc", FieldError::BadValue),
            ("a", "b\0", FieldError::BadValue),
            ("a", "é", FieldError::BadValue),
            ("a", " b", FieldError::BadValue),
            ("a", "b\t", FieldError::BadValue),
            ("content-LENGTH", "1", FieldError::Reserved),
            (
                "Strict-Transport-Security",
                "max-age=1",
                FieldError::Reserved,
            ),
        ] {
            assert_eq!(check_field(name, value), Err(error), "{name:?}: {value:?}");
        }
        assert_eq!(check_field("a", &"b".repeat(4095)), Ok(()));
        assert_eq!(
            check_field("a", &"b".repeat(4096)),
            Err(FieldError::TooLong)
        );
    }
}
