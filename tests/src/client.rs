//! A plain HTTP client that is as simple as it can be, and curl.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use selkie::cli::Endpoint;

use crate::Failed;
use crate::program::{self, Output};

/// How long one read or write may take. Generous: the guest is emulated, and tests share the machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a service.
///
/// # Errors
/// When it cannot be made.
pub fn connect(endpoint: &Endpoint) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect_timeout(&endpoint.address(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends a GET request and reads the response, whose length must be given (RFC 9112, section 6.2).
///
/// # Errors
/// When the connection fails or what comes is not such a response.
pub fn get(stream: &mut (impl Read + Write), path: &str) -> Result<Response, Failed> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")?;
    stream.flush()?;
    response(stream)
}

/// Reads one response with a content-length.
///
/// # Errors
/// As [`get`].
pub fn response(stream: &mut impl Read) -> Result<Response, Failed> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > 16_384 {
            return Err("the response's head has no end".into());
        }
    }
    let head = String::from_utf8(head)?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or_else(|| format!("no HTTP/1.1 status line: {head}"))?;
    let fields: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
        .collect();
    let mut response = Response {
        status,
        fields,
        body: Vec::new(),
    };
    let length = response
        .field("content-length")
        .ok_or("the response has no content-length")?
        .parse()?;
    response.body = vec![0; length];
    stream.read_exact(&mut response.body)?;
    Ok(response)
}

/// Runs curl on a path of the service; certificates are not checked.
///
/// # Errors
/// When curl cannot be run, fails, or takes longer than two minutes.
pub fn curl(endpoint: &Endpoint, path: &str, options: &[&str]) -> Result<Output, Failed> {
    curl_with_input(endpoint, path, options, b"")
}

/// As [`curl`], with something on its standard input.
///
/// # Errors
/// As [`curl`].
pub fn curl_with_input(
    endpoint: &Endpoint,
    path: &str,
    options: &[&str],
    input: &[u8],
) -> Result<Output, Failed> {
    let url = format!("{endpoint}{}", path.trim_start_matches('/'));
    let mut words = vec!["curl", "-k", "-sS", "--http1.1", "--noproxy", "*"];
    words.extend(options);
    words.push(&url);
    program::run(&words, input, Duration::from_secs(120))?.good()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_taken_apart() {
        let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b:c\r\n\r\nhirest";
        let response = response(&mut bytes).unwrap();
        assert_eq!(
            (response.status, response.body.as_slice()),
            (200, &b"hi"[..])
        );
        assert_eq!(response.field("x-a"), Some("b:c"));
        assert_eq!(bytes, b"rest");
    }

    #[test]
    fn anything_else_is_an_error() {
        assert!(response(&mut &b"HTTP/1.1 200 OK\r\n\r\n"[..]).is_err());
        assert!(response(&mut &b"SSH-2.0\r\n\r\n"[..]).is_err());
        assert!(response(&mut &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"[..]).is_err());
    }
}
