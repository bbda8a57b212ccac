//! What all connections share, and how a request is answered.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::Cell;
use core::fmt::Write;

use channel::streams::PeerIdentity;

use crate::bundle::{Bundle, File, FileId};
use crate::clients::Clients;
use crate::conditional::{Selection, select};
use crate::date::DateText;
use crate::framing::{BodyLength, Framing};
use crate::limits::Limits;
use crate::outgoing::Site;
use crate::request::{Method, Request};
use crate::response::{Response, Status};
use crate::router::{Allow, Found, Handler, Router, Upload};

/// The shared half of a server. `S` is the service's own state, which its handlers may change.
#[derive(Debug)]
pub struct Server<'a, S> {
    /// The service's own state.
    pub state: S,
    /// What the connections did so far.
    pub counters: Counters,
    site: Option<Bundle<'a>>,
    pub(crate) limits: Limits,
    pub(crate) memory: Budget,
    router: Router<S>,
    policy: Option<&'static str>,
    clients: Clients,
    date: Option<DateText>,
    /// Milliseconds between 1970-01-01 00:00:00 UTC and the zero of the caller's clock.
    epoch: Option<u64>,
}

/// What a handler may use besides the request.
#[derive(Debug)]
pub struct Context<'c, S> {
    /// The service's own state.
    pub state: &'c mut S,
    /// What the connections did so far.
    pub counters: &'c Counters,
    /// Who the client is, if the transport has verified it.
    pub peer: Option<&'c PeerIdentity>,
    /// The time that the caller of `Connection::work` gave, in milliseconds.
    pub now: u64,
}

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections since the start; counted by whoever owns them.
    pub connections: u64,
    /// Connections that are open now; counted by whoever owns them.
    pub connections_open: u64,
    /// Requests whose head was complete, wrong ones included.
    pub requests: u64,
    /// Final responses by the first digit of their status, 2 to 5.
    pub responses: [u64; 4],
    /// Connections that were refused or cut because no memory was left; counted by whoever owns them.
    pub refused: u64,
    /// Connections closed because a time limit had passed.
    pub timeouts: u64,
    /// Bytes of request heads, and what came with them into private memory: all of these were copied.
    pub head_bytes: u64,
    /// Bytes of request bodies, chunked framing not counted.
    pub body_bytes: u64,
    /// Bytes of bodies among `body_bytes` that were copied once before they were consumed.
    pub body_bytes_copied: u64,
    /// Bytes written: heads and content.
    pub bytes_sent: u64,
    /// Bytes of content among `bytes_sent`.
    pub content_sent: u64,
}

impl Counters {
    /// Names and values for a status page. All bytes that are received are payload here; those of
    /// bodies are consumed where they lie, all others copied once. What is sent is written once.
    pub fn entries(&self) -> [(&'static str, u64); 14] {
        let in_place = self.body_bytes.saturating_sub(self.body_bytes_copied);
        [
            ("connections_open", self.connections_open),
            ("connections_total", self.connections),
            ("requests", self.requests),
            ("answers_2xx", self.responses[0]),
            ("answers_3xx", self.responses[1]),
            ("answers_4xx", self.responses[2]),
            ("answers_5xx", self.responses[3]),
            ("timeouts", self.timeouts),
            ("refused", self.refused),
            ("content_sent", self.content_sent),
            ("payload_received", self.head_bytes.saturating_add(in_place)),
            ("copied_in", self.head_bytes),
            ("payload_sent", self.bytes_sent),
            ("copied_out", self.bytes_sent),
        ]
    }
}

/// How a request is answered.
pub(crate) enum Reply {
    Now(Response),
    /// After its body of at most this many bytes.
    After(Box<dyn Upload>, u64),
}

const SITE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

impl<'a, S> Server<'a, S> {
    /// A server for these dynamic paths and, for all others, this site.
    pub fn new(state: S, router: Router<S>, site: Option<Bundle<'a>>, limits: Limits) -> Self {
        Self {
            state,
            counters: Counters::default(),
            site,
            limits,
            memory: Budget(Rc::new(Cell::new(limits.memory))),
            router,
            policy: Some(SITE_POLICY),
            clients: Clients::default(),
            date: None,
            epoch: None,
        }
    }

    /// The `Content-Security-Policy` of the site's files; none, if there is to be no such field. By
    /// default pages may load from their own site only, and styles may be inline.
    pub fn set_policy(&mut self, policy: Option<&'static str>) {
        self.policy = policy;
    }

    /// Serves these clients only; others get 403 for whatever they ask.
    pub fn set_clients(&mut self, clients: Clients) {
        self.clients = clients;
    }

    /// Tells the server that at `now` (milliseconds of the clock that `Connection::work` is given) the
    /// time was `unix` milliseconds since 1970-01-01 00:00:00 UTC. Without it responses carry no
    /// `Date` (RFC 9110, section 6.6.1).
    pub fn set_clock(&mut self, now: u64, unix: u64) {
        self.epoch = Some(unix.saturating_sub(now));
    }

    /// The site, for sending its files.
    pub(crate) fn site(&self) -> Site<'_> {
        Site {
            bundle: self.site.as_ref(),
            policy: self.policy,
        }
    }

    /// The value of `Date`, made anew once a second.
    pub(crate) fn date(&mut self, now: u64) -> Option<DateText> {
        let second = self.epoch?.saturating_add(now) / 1000;
        if self.date.is_none_or(|date| date.second() != second) {
            self.date = Some(DateText::new(second));
        }
        self.date
    }

    /// Answers a request, or says what reads its body first.
    pub(crate) fn answer(
        &mut self,
        request: &Request<'_>,
        framing: Framing,
        now: u64,
        peer: Option<&PeerIdentity>,
    ) -> Reply {
        if !self.clients.admit(peer) {
            return Reply::Now(Response::error(Status::FORBIDDEN));
        }
        if request.method == Method::Options {
            return Reply::Now(self.options(request));
        }
        let only = match self.router.find(request.method, request.path) {
            Found::Handler(handler, rest) => {
                let context = Context {
                    state: &mut self.state,
                    counters: &self.counters,
                    peer,
                    now,
                };
                return handle(handler, &request.at_route(rest), context, framing);
            }
            Found::Only(allow) => Some(allow),
            Found::Nothing => None,
        };
        Reply::Now(match (self.site_path(request.path), only) {
            (SitePath::File(id, file), only) => self.file(request, id, file, only),
            (SitePath::Nothing, Some(allow)) => not_allowed(allow),
            (SitePath::Folder, _) => redirect(request),
            (SitePath::Nothing, None) => self.not_found(),
        })
    }

    fn options(&self, request: &Request<'_>) -> Response {
        let mut allow = match self.router.find(request.method, request.path) {
            Found::Only(allow) => allow,
            Found::Handler(..) | Found::Nothing => Allow::default(),
        };
        allow.get |=
            request.path == "*" || !matches!(self.site_path(request.path), SitePath::Nothing);
        match allow == Allow::default() {
            true => self.not_found(),
            false => Response::empty(Status::NO_CONTENT).with("Allow", allow.value()),
        }
    }

    /// The site's file for a path. A folder stands for its `index.html`, at the path with a slash.
    fn site_path(&self, path: &str) -> SitePath<'a> {
        let (Some(site), Some(path)) = (&self.site, path.strip_prefix('/')) else {
            return SitePath::Nothing;
        };
        let find = |path: &str| {
            let id = site.find(path)?;
            Some((id, site.file(id)?))
        };
        let found = match path.is_empty() || path.ends_with('/') {
            true => find(&format!("{path}index.html")),
            false => find(path),
        };
        match found {
            Some((id, file)) => SitePath::File(id, file),
            None if find(&format!("{path}/index.html")).is_some() => SitePath::Folder,
            None => SitePath::Nothing,
        }
    }

    fn file(
        &self,
        request: &Request<'_>,
        id: FileId,
        file: File<'a>,
        only: Option<Allow>,
    ) -> Response {
        if !matches!(request.method, Method::Get | Method::Head) {
            let post = only.is_some_and(|allow| allow.post);
            return not_allowed(Allow { get: true, post });
        }
        let length = file.content.len() as u64;
        match select(request, file.tag, length) {
            Selection::PreconditionFailed => Response::error(Status::PRECONDITION_FAILED),
            Selection::Unsatisfiable => Response::error(Status::RANGE_NOT_SATISFIABLE)
                .with("Content-Range", format!("bytes */{length}")),
            Selection::NotModified => Response::file(Status::NOT_MODIFIED, id, length),
            Selection::Whole => Response::file(Status::OK, id, length),
            Selection::Part(part) => {
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                let response = Response::file(Status::PARTIAL_CONTENT, id, length);
                let mut response = response.with("Content-Range", range);
                response.part = Some(part);
                response
            }
        }
    }

    /// The site's `404.html`, if it has one.
    fn not_found(&self) -> Response {
        match self.site_path("/404.html") {
            SitePath::File(id, file) => {
                Response::file(Status::NOT_FOUND, id, file.content.len() as u64)
            }
            _ => Response::error(Status::NOT_FOUND),
        }
    }
}

enum SitePath<'a> {
    File(FileId, File<'a>),
    Folder,
    Nothing,
}

fn handle<S>(
    handler: &Handler<S>,
    request: &Request<'_>,
    context: Context<'_, S>,
    framing: Framing,
) -> Reply {
    let (largest, begin) = match handler {
        Handler::Get(answer) => return Reply::Now(answer(request, context)),
        Handler::Post(largest, begin) => (*largest, begin),
    };
    match framing.body {
        BodyLength::None => Reply::Now(Response::error(Status::LENGTH_REQUIRED)),
        BodyLength::Known(length) if length > largest => {
            Reply::Now(Response::error(Status::CONTENT_TOO_LARGE))
        }
        BodyLength::Known(_) | BodyLength::Chunked => match begin(request, context) {
            Ok(upload) => Reply::After(upload, largest),
            Err(response) => Reply::Now(response),
        },
    }
}

fn not_allowed(allow: Allow) -> Response {
    Response::error(Status::METHOD_NOT_ALLOWED).with("Allow", allow.value())
}

/// To the same path with a slash at its end, encoded again.
fn redirect(request: &Request<'_>) -> Response {
    if !matches!(request.method, Method::Get | Method::Head) {
        return not_allowed(Allow::GET);
    }
    let mut location = String::with_capacity(request.path.len() + 1);
    for byte in request.path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                location.push(char::from(byte));
            }
            // Writing into a String does not fail.
            _ => write!(location, "%{byte:02X}").unwrap_or_default(),
        }
    }
    location.push('/');
    if let Some(query) = request.query {
        location.push('?');
        location.push_str(query);
    }
    let location: Cow<'static, str> = location.into();
    Response::error(Status::MOVED_PERMANENTLY).with("Location", location)
}

/// Bytes of memory that connections may still take.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Rc<Cell<usize>>);

/// A share of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        self.0.set(self.0.get().checked_sub(bytes)?);
        Some(Share {
            budget: self.clone(),
            bytes,
        })
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.get()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get() + self.bytes);
    }
}
