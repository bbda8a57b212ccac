//! Tests of sites with rules of their own.

use std::cell::RefCell;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use channel::streams::{Opened, PeerIdentity};

use crate::bundle::{Bundle, Writer};
use crate::tests::{Talk, field, get, statuses};
use crate::{Connection, Limits, LogFormat};

const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd<zstd>";
const GZIP: &[u8] = b"\x1f\x8b\x08<gzip>\x16\0\0\0";

/// Creates a connection to a site with these rules.
fn talk(rules: impl FnOnce(&mut Writer)) -> Talk {
    let mut writer = Writer::new();
    for (path, content) in [
        ("404.html", &b"<h1>lost</h1>"[..]),
        ("app.html", b"<h1>app</h1>"),
        ("app.js", b"let a = 1; // and more"),
        ("app.js.gz", GZIP),
        ("app.js.zst", ZSTD),
        ("docs/index.html", b"<h1>docs</h1>"),
        ("docs/a b.html", b"<h1>a b</h1>"),
        ("index.html", b"<h1>home</h1>"),
    ] {
        writer.add(path, content).unwrap();
    }
    rules(&mut writer);
    let bundle = Bundle::new(writer.finish().unwrap().leak()).unwrap();
    Talk::to(bundle, Limits::default())
}

fn ask(talk: &mut Talk, path: &str, fields: &str) -> String {
    talk.say(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn an_encoded_form_is_sent_to_those_who_accept_it() {
    let mut talk = talk(|_| ());
    let plain = ask(&mut talk, "/app.js", "");
    assert_eq!(field(&plain, "Content-Encoding"), None);
    assert_eq!(field(&plain, "Vary"), Some("Accept-Encoding"));
    assert_eq!(body(&plain), "let a = 1; // and more");

    let accepts = "Accept-Encoding: gzip;q=0.8, zstd;q=0.5\r\n";
    let gzip = ask(&mut talk, "/app.js", accepts);
    assert_eq!(field(&gzip, "Content-Encoding"), Some("gzip"));
    assert_eq!(
        field(&gzip, "Content-Type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(field(&gzip, "Content-Length"), Some("13"));
    assert_eq!(field(&gzip, "Vary"), Some("Accept-Encoding"));
    assert!(body(&gzip).ends_with("<gzip>\u{16}\0\0\0"));

    let zstd = ask(&mut talk, "/app.js", "Accept-Encoding: gzip, zstd\r\n");
    assert_eq!(field(&zstd, "Content-Encoding"), Some("zstd"));
    let tags = [&plain, &gzip, &zstd].map(|one| field(one, "ETag").unwrap());
    assert!(tags[0] != tags[1] && tags[1] != tags[2]);

    // The encoded file can also be requested under its own name, without a coding.
    let own = ask(&mut talk, "/app.js.gz", accepts);
    assert_eq!(field(&own, "Content-Type"), Some("application/gzip"));
    assert_eq!(
        (field(&own, "Content-Encoding"), field(&own, "Vary")),
        (None, None)
    );
    // A file without encoded forms does not vary.
    assert_eq!(field(&ask(&mut talk, "/", accepts), "Vary"), None);
}

#[test]
fn preconditions_ranges_and_head_are_about_the_form_that_is_sent() {
    let mut talk = talk(|_| ());
    let accepts = "Accept-Encoding: gzip\r\n";
    let gzip = ask(&mut talk, "/app.js", accepts);
    let tag = field(&gzip, "ETag").unwrap();
    let has = ask(
        &mut talk,
        "/app.js",
        &format!("{accepts}If-None-Match: {tag}\r\n"),
    );
    assert_eq!(statuses(&has), [304]);
    assert_eq!(field(&has, "ETag"), Some(tag));
    assert_eq!(field(&has, "Vary"), Some("Accept-Encoding"));
    // The tag of another form does not match.
    let other = ask(&mut talk, "/app.js", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(statuses(&other), [200]);
    let failed = ask(&mut talk, "/app.js", &format!("If-Match: {tag}\r\n"));
    assert_eq!(statuses(&failed), [412]);

    let part = ask(
        &mut talk,
        "/app.js",
        &format!("{accepts}Range: bytes=3-8\r\nIf-Range: {tag}\r\n"),
    );
    assert_eq!((statuses(&part), body(&part)), ([206].into(), "<gzip>"));
    assert_eq!(field(&part, "Content-Range"), Some("bytes 3-8/13"));
    assert_eq!(field(&part, "Content-Encoding"), Some("gzip"));
    let whole = ask(
        &mut talk,
        "/app.js",
        &format!("Range: bytes=3-8\r\nIf-Range: {tag}\r\n"),
    );
    assert_eq!(statuses(&whole), [200]);

    let head = talk.say(format!("HEAD /app.js HTTP/1.1\r\nHost: h\r\n{accepts}\r\n"));
    assert_eq!(field(&head, "Content-Length"), Some("13"));
    assert_eq!((field(&head, "ETag"), body(&head)), (Some(tag), ""));
}

#[test]
fn a_client_that_accepts_no_form_is_told_so() {
    let mut talk = talk(|_| ());
    for (path, fields) in [
        ("/app.js", "Accept-Encoding: br, identity;q=0\r\n"),
        ("/app.js", "Accept-Encoding: *;q=0\r\n"),
        ("/", "Accept-Encoding: gzip, identity;q=0\r\n"),
    ] {
        let refused = ask(&mut talk, path, fields);
        assert_eq!(statuses(&refused), [406], "{path} {fields}");
        assert_eq!(field(&refused, "Vary"), Some("Accept-Encoding"));
    }
    let only = ask(&mut talk, "/app.js", "Accept-Encoding: identity;q=0, *\r\n");
    assert_eq!(statuses(&only), [200]);
    // The answer is 404, not 406, even if the client accepts no form of the 404 page.
    assert_eq!(
        statuses(&ask(&mut talk, "/none", "Accept-Encoding: *;q=0\r\n")),
        [404]
    );
}

#[test]
fn files_have_fields_of_their_own() {
    let mut talk = talk(|writer| {
        for file in writer.files_mut() {
            file.set_field("Cache-Control", "max-age=60, immutable")
                .unwrap();
        }
        let home = writer.files_mut().last_mut().unwrap();
        home.set_field("X-Frame-Options", "DENY").unwrap();
        home.set_field("Content-Security-Policy", "default-src *")
            .unwrap();
        home.set_field("X-Content-Type-Options", "none").unwrap();
    });
    let home = ask(&mut talk, "/", "");
    assert_eq!(field(&home, "X-Frame-Options"), Some("DENY"));
    assert_eq!(field(&home, "Cache-Control"), Some("max-age=60, immutable"));
    assert_eq!(home.matches("Content-Security-Policy").count(), 1);
    assert_eq!(
        field(&home, "Content-Security-Policy"),
        Some("default-src *")
    );
    assert_eq!(home.matches("X-Content-Type-Options").count(), 1);
    let tag = field(&home, "ETag").unwrap();
    let again = ask(&mut talk, "/", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(
        field(&again, "Cache-Control"),
        Some("max-age=60, immutable")
    );
    let docs = ask(&mut talk, "/docs/", "");
    assert!(
        field(&docs, "Content-Security-Policy")
            .unwrap()
            .starts_with("default-src 'self'")
    );
    assert_eq!(field(&docs, "X-Content-Type-Options"), Some("nosniff"));
    // The answer for a missing file must not be cached for a minute.
    assert_eq!(
        field(&ask(&mut talk, "/none", ""), "Cache-Control"),
        Some("no-cache")
    );
}

#[test]
fn paths_are_redirected() {
    let mut talk = talk(|writer| {
        writer.redirect("/old/*", "/new/$1", 301).unwrap();
        writer
            .redirect("/docs/**", "https://docs.example/$1?from=here#top", 302)
            .unwrap();
        writer.redirect("/search/*", "/find?q=$1", 307).unwrap();
        writer.redirect("/up/**", "/$1", 308).unwrap();
    });
    let mut leads = |path: &str| {
        let answer = ask(&mut talk, path, "");
        (
            statuses(&answer)[0],
            field(&answer, "Location").unwrap_or_default().to_string(),
        )
    };
    assert_eq!(leads("/old/a%20b?x=%20"), (301, "/new/a%20b?x=%20".into()));
    assert_eq!(
        leads("/old/%E9%9B%AA;v=1"),
        (301, "/new/%E9%9B%AA;v=1".into())
    );
    assert_eq!(leads("/old/a/b").0, 404);
    // Dot segments are removed before paths are matched.
    assert_eq!(leads("/x/../old/a"), (301, "/new/a".into()));
    // A redirect takes precedence over a file; the target's own query replaces the request's.
    assert_eq!(
        leads("/docs/a/b?c"),
        (302, "https://docs.example/a/b?from=here#top".into())
    );
    assert_eq!(
        leads("/search/a&b=c%3Fd"),
        (307, "/find?q=a%26b%3Dc%3Fd".into())
    );
    // No path can redirect to another host.
    assert_eq!(
        leads("/up//evil.example/a"),
        (308, "/evil.example/a".into())
    );
    assert_eq!(leads("/up///evil.example"), (308, "/evil.example".into()));
    assert_eq!(
        leads("/up/%5Cevil.example"),
        (308, "/%5Cevil.example".into())
    );
    let posted = talk.say("POST /old/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(statuses(&posted), [301]);
}

#[test]
fn a_folder_is_no_way_to_another_host() {
    let mut talk = talk(|_| ());
    assert_eq!(statuses(&ask(&mut talk, "//docs", "")), [404]);
    assert_eq!(
        field(&ask(&mut talk, "/docs?//x", ""), "Location"),
        Some("/docs/?//x")
    );
}

#[test]
fn paths_stand_for_others() {
    let mut talk = talk(|writer| {
        writer.rewrite("/app/**", "/app.html").unwrap();
        writer.rewrite("/d/*", "/docs/$1.html").unwrap();
        writer.rewrite("/folder", "/docs/").unwrap();
        writer.rewrite("/home", "/").unwrap();
    });
    for (path, expected) in [
        ("/app/", "<h1>app</h1>"),
        ("/app/a/b.js", "<h1>app</h1>"),
        ("/d/a%20b", "<h1>a b</h1>"),
        ("/folder", "<h1>docs</h1>"),
        ("/home", "<h1>home</h1>"),
    ] {
        let answer = ask(&mut talk, path, "");
        assert_eq!(
            (statuses(&answer), body(&answer)),
            ([200].into(), expected),
            "{path}"
        );
    }
    assert_eq!(statuses(&ask(&mut talk, "/d/none", "")), [404]);
    assert_eq!(
        statuses(&talk.say("OPTIONS /app/x HTTP/1.1\r\nHost: h\r\n\r\n")),
        [204]
    );
}

#[test]
fn one_page_stands_for_all_paths_without_a_file() {
    let mut talk = talk(|writer| {
        writer.set_fallback("app.html").unwrap();
        writer.set_not_found("docs/index.html").unwrap();
    });
    for path in ["/users/7", "/deep/er/", "/v1.2/x"] {
        let answer = ask(&mut talk, path, "");
        assert_eq!(
            (statuses(&answer), body(&answer)),
            ([200].into(), "<h1>app</h1>"),
            "{path}"
        );
    }
    let missing = ask(&mut talk, "/assets/gone.js", "");
    assert_eq!(
        (statuses(&missing), body(&missing)),
        ([404].into(), "<h1>docs</h1>")
    );
    assert_eq!(body(&ask(&mut talk, "/docs/", "")), "<h1>docs</h1>");
    assert_eq!(
        statuses(&talk.say("DELETE /users/7 HTTP/1.1\r\nHost: h\r\n\r\n")),
        [405]
    );
    assert_eq!(
        statuses(&talk.say("OPTIONS /users/7 HTTP/1.1\r\nHost: h\r\n\r\n")),
        [204]
    );
}

fn opened(confidential: bool) -> Opened {
    Opened {
        peer: "192.0.2.7:5000".parse().unwrap(),
        local_port: 80,
        token: None,
        identity: confidential.then(|| PeerIdentity::new([1; 32], "a.example")),
        confidential,
    }
}

#[test]
fn plain_requests_are_led_to_https() {
    let mut talk = talk(|_| ());
    talk.server.set_https_port(Some(8443));
    let mut leads = |request: &str| {
        let answer = talk.say(format!("{request}\r\n\r\n"));
        (
            statuses(&answer)[0],
            field(&answer, "Location").unwrap_or_default().to_string(),
        )
    };
    let to = |place: &str| (308, place.to_string());
    assert_eq!(
        leads("GET /a%20b?c=d HTTP/1.1\r\nHost: h:8080"),
        to("https://h:8443/a%20b?c=d")
    );
    assert_eq!(
        leads("GET / HTTP/1.1\r\nHost: [::1]:80"),
        to("https://[::1]:8443/")
    );
    assert_eq!(
        leads("GET / HTTP/1.1\r\nHost: [::1]"),
        to("https://[::1]:8443/")
    );
    assert_eq!(
        leads("HEAD http://other/ HTTP/1.1\r\nHost: h"),
        to("https://other:8443/")
    );
    assert_eq!(
        leads("OPTIONS * HTTP/1.1\r\nHost: h"),
        to("https://h:8443/")
    );
    assert_eq!(
        leads("POST /digest HTTP/1.1\r\nHost: h\r\nContent-Length: 0"),
        to("https://h:8443/digest")
    );
    assert_eq!(
        leads("GET /page HTTP/1.1\r\nHost: h"),
        to("https://h:8443/page")
    );
    assert_eq!(
        leads("GET //evil.example HTTP/1.1\r\nHost: h"),
        to("https://h:8443//evil.example")
    );
    assert_eq!(leads("GET / HTTP/1.1\r\nHost:"), (400, String::new()));
    talk.server.set_https_port(Some(443));
    assert_eq!(field(&talk.say(get("/x")), "Location"), Some("https://h/x"));
    // A request over TLS is answered.
    talk.reconnect(Connection::new(0).with_client(&opened(true)));
    assert_eq!(statuses(&talk.say(get("/"))), [200]);
    talk.reconnect(Connection::new(0));
    let nameless = talk.say("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(statuses(&nameless), [400]);
}

#[test]
fn the_transport_policy_is_told_over_tls_only() {
    let mut talk = talk(|_| ());
    let policy = |talk: &mut Talk, path| {
        let answer = talk.say(get(path));
        field(&answer, "Strict-Transport-Security").map(String::from)
    };
    talk.reconnect(Connection::new(0).with_client(&opened(true)));
    assert_eq!(policy(&mut talk, "/"), None);
    talk.server.set_transport_policy(Some("max-age=60"));
    for path in ["/", "/bytes/1", "/none", "/docs"] {
        assert_eq!(
            policy(&mut talk, path).as_deref(),
            Some("max-age=60"),
            "{path}"
        );
    }
    talk.reconnect(Connection::new(0).with_client(&opened(false)));
    assert_eq!(policy(&mut talk, "/"), None);
}

std::thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn answered_requests_are_logged() {
    let mut talk = talk(|_| ());
    talk.server.set_clock(0, 784_111_777_000);
    let keep = |line: &str| LINES.with_borrow_mut(|lines| lines.push(line.to_string()));
    talk.server.set_access_log(LogFormat::Combined, 100, keep);
    talk.reconnect(Connection::new(0).with_client(&opened(true)));
    talk.say("GET /?q HTTP/1.1\r\nHost: h\r\nUser-Agent: a\"b\r\nReferer: r\r\n\r\n");
    talk.say("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    talk.say("GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=0-2\r\n\r\n");
    talk.say("POST /digest HTTP/1.1\r\nHost: h\r\nUser-Agent: c\r\nContent-Length: 2\r\n\r\n");
    talk.say("ab");
    talk.say("POST /digest HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    talk.reconnect(Connection::new(0));
    talk.say("\0");
    let start = "192.0.2.7 - a.example [06/Nov/1994:08:49:37 +0000]";
    let expected = [
        format!("{start} \"GET /?q HTTP/1.1\" 200 13 \"r\" \"a\\x22b\""),
        format!("{start} \"HEAD / HTTP/1.0\" 200 0 \"-\" \"-\""),
        format!("{start} \"GET / HTTP/1.1\" 206 3 \"-\" \"-\""),
        format!("{start} \"POST /digest HTTP/1.1\" 200 65 \"-\" \"c\""),
        format!("{start} \"POST /digest HTTP/1.1\" 400 16 \"-\" \"-\""),
        "- - - [06/Nov/1994:08:49:37 +0000] \"-\" 400 16 \"-\" \"-\"".to_string(),
    ];
    assert_eq!(LINES.take(), expected);
    assert_eq!(talk.server.memory.left(), Limits::default().memory);
}
