//! Looks up the site's answer for a path.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use crate::accept::negotiate;
use crate::bundle::{Bundle, Coding, File, FileId, MAX_PIECES, Parts, Piece, Rule, Template};
use crate::conditional::{Selection, select};
use crate::request::Request;
use crate::response::{Response, Sent, Status};

/// The site, and the settings for all its files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Site<'a> {
    pub(crate) bundle: Option<Bundle<'a>>,
    /// The `Content-Security-Policy` of files that do not have their own.
    pub(crate) policy: Option<&'static str>,
}

/// The result of looking up a path.
pub(crate) enum Found<'a> {
    File(FileId),
    /// A folder with an index, but the path does not end in a slash.
    Folder,
    Redirect(Parts<'a>, Template<'a>, u16),
    Nothing,
}

/// The file that is served for a folder.
const INDEX: &str = "index.html";

impl<'a> Site<'a> {
    /// Looks up a normalised path. Redirects and rewrites are tried before files.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Found<'p>
    where
        'a: 'p,
    {
        let Some(bundle) = self.bundle else {
            return Found::Nothing;
        };
        for rule in bundle.rules() {
            match rule {
                Rule::Redirect {
                    pattern,
                    target,
                    status,
                } => {
                    if let Some(parts) = pattern.matches(path) {
                        return Found::Redirect(parts, target, status);
                    }
                }
                Rule::Rewrite { pattern, target } => {
                    if let Some(parts) = pattern.matches(path) {
                        return rewritten(&bundle, target, &parts)
                            .map_or(Found::Nothing, Found::File);
                    }
                }
            }
        }
        let Some(path) = path.strip_prefix('/') else {
            return Found::Nothing;
        };
        match file_at(&bundle, &[path]) {
            Some(id) => Found::File(id),
            None if bundle.find_joined(&[path, "/", INDEX]).is_some() => Found::Folder,
            None => Found::Nothing,
        }
    }

    /// Returns the page for a path without a file. A path whose last segment has an extension gets
    /// 404 instead: a page in place of a missing script would only confuse the client.
    pub(crate) fn fallback(&self, path: &str) -> Option<FileId> {
        let name = path.rsplit('/').next().unwrap_or_default();
        match name.contains('.') {
            true => None,
            false => self.bundle?.fallback(),
        }
    }

    /// Answers a `GET` or `HEAD` request for a file: in the form that the client prefers, whole or
    /// in part, or without content if the client's copy is current.
    pub(crate) fn answer(&self, request: &Request<'_>, id: FileId) -> Response {
        let (sent, form) = match self.form(request, id) {
            Ok(found) => found,
            Err(refused) => return refused,
        };
        let length = sent.length;
        match select(request, form.tag, length) {
            Selection::PreconditionFailed => Response::error(Status::PRECONDITION_FAILED),
            Selection::Unsatisfiable => Response::error(Status::RANGE_NOT_SATISFIABLE)
                .with("Content-Range", format!("bytes */{length}")),
            Selection::NotModified => Response::file(Status::NOT_MODIFIED, sent),
            Selection::Whole => Response::file(Status::OK, sent),
            Selection::Part(part) => {
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                let response = Response::file(Status::PARTIAL_CONTENT, sent);
                let mut response = response.with("Content-Range", range);
                response.part = Some(part);
                response
            }
        }
    }

    /// Returns a 404 response, with the site's page for it, if there is one.
    pub(crate) fn not_found(&self, request: &Request<'_>) -> Response {
        let page = self.bundle.and_then(|bundle| bundle.not_found());
        match page.map(|id| self.form(request, id)) {
            Some(Ok((sent, _))) => Response::file(Status::NOT_FOUND, sent),
            _ => Response::error(Status::NOT_FOUND),
        }
    }

    /// Selects the form of a file for the client.
    fn form(&self, request: &Request<'_>, id: FileId) -> Result<(Sent, File<'a>), Response> {
        let gone = || Response::error(Status::NOT_FOUND);
        let bundle = self.bundle.ok_or_else(gone)?;
        let form = |coding: Option<Coding>| {
            let form = match coding {
                Some(coding) => bundle.variant(id, coding)?,
                None => id,
            };
            Some((form, bundle.file(form)?))
        };
        let codings = || {
            let encoded = Coding::ALL.into_iter().map(Some);
            core::iter::once(None).chain(encoded).filter_map(|coding| {
                let (_, file) = form(coding)?;
                Some((coding, file.content.len() as u64))
            })
        };
        let varies = codings().nth(1).is_some();
        let coding = negotiate(request, codings()).map_err(|_| {
            let refused = Response::error(Status::NOT_ACCEPTABLE);
            refused.with("Vary", "Accept-Encoding")
        })?;
        let (content, file) = form(coding).ok_or_else(gone)?;
        let sent = Sent {
            file: id,
            content,
            coding,
            varies,
            length: file.content.len() as u64,
        };
        Ok((sent, file))
    }
}

/// Returns the file at a path without its first slash; for a folder, its index.
fn file_at(bundle: &Bundle<'_>, pieces: &[&str]) -> Option<FileId> {
    let last = pieces.iter().rev().find(|piece| !piece.is_empty());
    if last.is_some_and(|last| !last.ends_with('/')) {
        return bundle.find_joined(pieces);
    }
    let mut all = [""; MAX_PIECES + 1];
    let (index, given) = all.split_last_mut()?;
    given.get_mut(..pieces.len())?.copy_from_slice(pieces);
    *index = INDEX;
    bundle.find_joined(&all)
}

/// Returns the file of a rewrite's target.
fn rewritten<'p>(bundle: &Bundle<'_>, target: Template<'p>, parts: &Parts<'p>) -> Option<FileId> {
    let mut pieces = [""; MAX_PIECES];
    let mut places = pieces.iter_mut();
    for piece in target.pieces(parts) {
        let (Piece::Literal(text) | Piece::Part(text)) = piece;
        *places.next()? = text;
    }
    pieces[0] = pieces[0].strip_prefix('/')?;
    file_at(bundle, &pieces)
}

/// Redirects to a rule's target, with the request's query unless the target has its own.
pub(crate) fn redirect(
    request: &Request<'_>,
    parts: &Parts<'_>,
    target: Template<'_>,
    status: Status,
) -> Response {
    let mut location = String::with_capacity(target.text().len() + request.path.len());
    for piece in target.pieces(parts) {
        match piece {
            Piece::Literal(text) => location.push_str(text),
            Piece::Part(text) if location.contains('?') => encode(text, &mut location, IN_QUERY),
            Piece::Part(text) => encode(text, &mut location, IN_PATH),
        }
    }
    // A location that begins with two slashes would name a host.
    while location.starts_with("//") {
        location.remove(0);
    }
    let fragment = location.find('#').map(|at| location.split_off(at));
    if let Some(query) = request.query
        && !location.contains('?')
    {
        location.extend(["?", query]);
    }
    location.extend(fragment);
    Response::error(status).with("Location", location)
}

/// Redirects to the same path with a slash at its end.
pub(crate) fn into_folder(request: &Request<'_>) -> Response {
    let mut location = String::with_capacity(request.path.len() + 1);
    encode(request.path, &mut location, IN_PATH);
    location.push('/');
    if let Some(query) = request.query {
        location.extend(["?", query]);
    }
    Response::error(Status::MOVED_PERMANENTLY).with("Location", location)
}

/// Redirects to the same path and query at another port, over HTTPS (308, so that a client repeats
/// a `POST` as a `POST`). The host is the one that the client named; without it there is no target
/// to redirect to.
pub(crate) fn to_https(request: &Request<'_>, port: u16) -> Response {
    let host = request.host.map(without_port).unwrap_or_default();
    if host.is_empty() {
        return Response::error(Status::BAD_REQUEST);
    }
    let mut location = String::with_capacity(host.len() + request.path.len() + 32);
    location.extend(["https://", host]);
    if port != 443 {
        // Writing into a String does not fail.
        write!(location, ":{port}").unwrap_or_default();
    }
    match request.path {
        "*" => location.push('/'),
        path => encode(path, &mut location, IN_PATH),
    }
    if let Some(query) = request.query {
        location.extend(["?", query]);
    }
    Response::error(Status::PERMANENT_REDIRECT).with("Location", location)
}

/// Returns the host of `host[:port]`; an IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => &authority[..colon],
        _ => authority,
    }
}

/// Characters that are not encoded in a path, besides letters and digits (RFC 3986, section 3.3).
const IN_PATH: &[u8] = b"/-._~!$&'()*+,;=:@";

/// Characters that are not encoded in the value of a query parameter, besides letters and digits.
const IN_QUERY: &[u8] = b"/-._~";

/// Appends decoded text in percent-encoding; letters, digits and the bytes in `plain` are not
/// encoded.
fn encode(text: &str, to: &mut String, plain: &[u8]) {
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || plain.contains(&byte);
        match is_plain {
            true => to.push(char::from(byte)),
            // Writing into a String does not fail.
            false => write!(to, "%{byte:02X}").unwrap_or_default(),
        }
    }
}
