//! What all connections share, and how a request is answered.

use alloc::boxed::Box;
use core::net::IpAddr;

use channel::streams::PeerIdentity;

use crate::access_log::{AccessLog, Answered, Asked, LogFormat};
use crate::budget::{Budget, Share};
use crate::bundle::Bundle;
use crate::clients::Clients;
use crate::date::DateText;
use crate::framing::{BodyLength, Framing};
use crate::limits::Limits;
use crate::request::{Method, Request};
use crate::response::{Response, Status};
use crate::router::{Allow, Found, Handler, Router, Upload};
use crate::site::{self, Site};

/// The shared half of a server. `S` is the service's own state, which its handlers may change.
#[derive(Debug)]
pub struct Server<'a, S> {
    /// The service's own state.
    pub state: S,
    /// What the connections did so far.
    pub counters: Counters,
    pub(crate) site: Site<'a>,
    pub(crate) limits: Limits,
    pub(crate) memory: Budget,
    router: Router<S>,
    clients: Clients,
    /// The port of the HTTPS service that plain HTTP requests are redirected to.
    https_port: Option<u16>,
    /// The value of `Strict-Transport-Security` in responses over TLS.
    pub(crate) transport_policy: Option<&'static str>,
    pub(crate) access_log: Option<AccessLog>,
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
    /// Connections that are open now; counted by the owner of the connections.
    pub connections_open: u64,
    /// Requests whose head was complete, wrong ones included.
    pub requests: u64,
    /// Final responses by the first digit of their status, 2 to 5.
    pub responses: [u64; 4],
    /// Connections that were refused or closed because no memory was left; counted by the owner of
    /// the connections.
    pub refused: u64,
    /// Connections closed because a time limit had passed.
    pub timeouts: u64,
    /// Connections closed between two requests to free their slots for others.
    pub made_room: u64,
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
    pub fn entries(&self) -> [(&'static str, u64); 15] {
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
            ("made_room", self.made_room),
            ("content_sent", self.content_sent),
            ("payload_received", self.head_bytes.saturating_add(in_place)),
            ("copied_in", self.head_bytes),
            ("payload_sent", self.bytes_sent),
            ("copied_out", self.bytes_sent),
        ]
    }
}

/// The transport's information about the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'c> {
    /// The client's identity, if the transport has verified it.
    pub(crate) identity: Option<&'c PeerIdentity>,
    /// Whether the connection is encrypted.
    pub(crate) is_secure: bool,
}

/// How a request is answered.
pub(crate) enum Reply {
    Now(Response),
    /// After its body of at most this many bytes.
    After(Box<dyn Upload>, u64),
}

/// The default `Content-Security-Policy` of a site's files.
pub const SITE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

impl<'a, S> Server<'a, S> {
    /// A server for these dynamic paths and, for all others, this site.
    pub fn new(state: S, router: Router<S>, site: Option<Bundle<'a>>, limits: Limits) -> Self {
        Self {
            state,
            counters: Counters::default(),
            site: Site {
                bundle: site,
                policy: Some(SITE_POLICY),
            },
            limits,
            memory: Budget::new(limits.memory),
            router,
            clients: Clients::default(),
            https_port: None,
            transport_policy: None,
            access_log: None,
            date: None,
            epoch: None,
        }
    }

    /// Sets the `Content-Security-Policy` of the site's files, or none; a file's own policy takes
    /// precedence. The default is [`SITE_POLICY`]: pages may load from their own site only, and
    /// styles may be inline.
    pub fn set_policy(&mut self, policy: Option<&'static str>) {
        self.site.policy = policy;
    }

    /// Answers every request of a connection without TLS with a redirect (308) to the same target over HTTPS, at this
    /// port.
    pub fn set_https_port(&mut self, port: Option<u16>) {
        self.https_port = port;
    }

    /// Sets the value of `Strict-Transport-Security` (RFC 6797, section 6.1) in all responses over
    /// TLS; over connections without TLS the field is never sent (section 7.2).
    pub fn set_transport_policy(&mut self, policy: Option<&'static str>) {
        self.transport_policy = policy;
    }

    /// Calls `sink` with a line for each answered request, at most `rate` times a second. Omitted
    /// lines are counted, and the count is logged before the next line.
    pub fn set_access_log(&mut self, format: LogFormat, rate: u32, sink: fn(&str)) {
        self.access_log = Some(AccessLog::new(format, rate, sink));
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

    /// The value of `Date`, made anew once a second.
    pub(crate) fn date(&mut self, now: u64) -> Option<DateText> {
        let second = self.unix_time(now)?;
        if self.date.is_none_or(|date| date.second() != second) {
            self.date = Some(DateText::new(second));
        }
        self.date
    }

    /// Returns the seconds since 1970-01-01 00:00:00 UTC, if the clock is set.
    pub(crate) fn unix_time(&self, now: u64) -> Option<u64> {
        Some(self.epoch?.saturating_add(now) / 1000)
    }

    /// Counts a response and reserves the memory for it; if there is none left, another response
    /// replaces it.
    pub(crate) fn settle(&mut self, mut response: Response) -> (Response, Option<Share>) {
        response.shrink();
        let mut share = self.memory.take(response.memory());
        if share.is_none() {
            response = Response::empty(Status::SERVICE_UNAVAILABLE).with("Retry-After", "1");
            share = self.memory.take(0);
        }
        let class = usize::from(response.status().code() / 100);
        if let Some(count) = class
            .checked_sub(2)
            .and_then(|at| self.counters.responses.get_mut(at))
        {
            *count += 1;
        }
        (response, share)
    }

    /// Writes a line to the access log, if there is one. The line names the client's address and,
    /// if verified, its identity; `size` is the content length in bytes.
    pub(crate) fn log(
        &mut self,
        (address, identity): (Option<IpAddr>, Option<&PeerIdentity>),
        request: Option<Asked<'_>>,
        status: Status,
        size: u64,
        now: u64,
    ) {
        let time = self.unix_time(now);
        let Some(log) = &mut self.access_log else {
            return;
        };
        let answered = Answered {
            time,
            client: address,
            user: identity.and_then(PeerIdentity::name),
            request,
            status,
            size,
        };
        log.write(&answered, now);
    }

    /// Answers a request, or says what reads its body first.
    pub(crate) fn answer(
        &mut self,
        request: &Request<'_>,
        framing: Framing,
        now: u64,
        client: Client<'_>,
    ) -> Reply {
        let peer = client.identity;
        if let Some(port) = self.https_port
            && !client.is_secure
        {
            return Reply::Now(site::to_https(request, port));
        }
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
        Reply::Now(self.site_answer(request, only))
    }

    /// Returns the site's answer; `only` are the further methods that are allowed at the path.
    fn site_answer(&self, request: &Request<'_>, only: Option<Allow>) -> Response {
        let is_get = matches!(request.method, Method::Get | Method::Head);
        let file = |id| match is_get {
            true => self.site.answer(request, id),
            false => {
                let post = only.is_some_and(|allow| allow.post);
                not_allowed(Allow { get: true, post })
            }
        };
        match (self.site.find(request.path), only) {
            (site::Found::Redirect(parts, target, status), _) => {
                site::redirect(request, &parts, target, Status::redirect(status))
            }
            (site::Found::File(id), _) => file(id),
            (site::Found::Nothing, Some(allow)) => not_allowed(allow),
            (site::Found::Folder, _) if !is_get => not_allowed(Allow::GET),
            (site::Found::Folder, _) => site::into_folder(request),
            (site::Found::Nothing, None) => match self.site.fallback(request.path) {
                Some(id) => file(id),
                None => self.site.not_found(request),
            },
        }
    }

    fn options(&self, request: &Request<'_>) -> Response {
        let mut allow = match self.router.find(request.method, request.path) {
            Found::Only(allow) => allow,
            Found::Handler(..) | Found::Nothing => Allow::default(),
        };
        allow.get |= request.path == "*"
            || !matches!(self.site.find(request.path), site::Found::Nothing)
            || allow == Allow::default() && self.site.fallback(request.path).is_some();
        match allow == Allow::default() {
            true => self.site.not_found(request),
            false => Response::empty(Status::NO_CONTENT).with("Allow", allow.value()),
        }
    }
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
