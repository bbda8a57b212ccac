//! Parts of a page that its Content-Security-Policy forbids.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{HtmlString, Spanned, StartTag, Token, Tokenizer};
use sha2_host::{Digest as _, Sha256};

use super::csp::{Inline, Policies};

const SCRIPT: &[&str] = &["script-src-elem", "script-src", "default-src"];
const HANDLER: &[&str] = &["script-src-attr", "script-src", "default-src"];
const STYLE: &[&str] = &["style-src-elem", "style-src", "default-src"];
const STYLE_ATTRIBUTE: &[&str] = &["style-src-attr", "style-src", "default-src"];
const IMAGE: &[&str] = &["img-src", "default-src"];
const MEDIA: &[&str] = &["media-src", "default-src"];
const FRAME: &[&str] = &["frame-src", "child-src", "default-src"];
const OBJECT: &[&str] = &["object-src", "default-src"];
const BASE: &[&str] = &["base-uri"];

/// A part of a page that its policy forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forbidden {
    /// The line, from 1.
    pub line: usize,
    /// A description for messages.
    pub what: String,
    /// The hash by which a policy can allow it, for inline code.
    pub hash: Option<String>,
}

/// Returns the parts of a page that its policy forbids, in order.
pub(super) fn forbidden(page: &[u8], policies: &Policies) -> Vec<Forbidden> {
    let mut look = Look {
        page,
        policies,
        found: Vec::new(),
    };
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    // The element whose text is inline code, with its line and nonce, and the text so far.
    let mut open: Option<(Element, Vec<u8>)> = None;
    for Ok(token) in Tokenizer::new_with_emitter(page, emitter) {
        match token {
            Token::StartTag(tag) => {
                look.attributes(&tag);
                open = look.element(&tag).map(|element| (element, Vec::new()));
            }
            Token::String(text) => {
                if let Some((_, inner)) = &mut open {
                    inner.extend_from_slice(&text.value);
                }
            }
            Token::EndTag(_) => {
                if let Some((element, text)) = open.take() {
                    look.text(element, &text);
                }
            }
            _ => {}
        }
    }
    look.found
}

/// An element whose text is code.
struct Element {
    line: usize,
    is_script: bool,
    nonce: Option<String>,
}

struct Look<'a> {
    page: &'a [u8],
    policies: &'a Policies,
    found: Vec<Forbidden>,
}

type Attributes = BTreeMap<HtmlString, Spanned<HtmlString, usize>>;

impl Look<'_> {
    fn line(&self, at: usize) -> usize {
        let before = &self.page[..at.min(self.page.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn forbid(&mut self, line: usize, what: impl Into<String>, hash: Option<String>) {
        self.found.push(Forbidden {
            line,
            what: what.into(),
            hash,
        });
    }

    /// Returns the element, if its text is code.
    fn element(&self, tag: &StartTag<usize>) -> Option<Element> {
        let is_script = match &tag.name[..] {
            b"script" if has(&tag.attributes, "src") || !is_code(&tag.attributes) => return None,
            b"script" => true,
            b"style" => false,
            _ => return None,
        };
        Some(Element {
            line: self.line(tag.span.start),
            is_script,
            nonce: value(&tag.attributes, "nonce"),
        })
    }

    fn text(&mut self, element: Element, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        let (what, directives) = match element.is_script {
            true => ("an inline script", SCRIPT),
            false => ("an inline style sheet", STYLE),
        };
        let inline = Inline {
            directives,
            hash: hash(text),
            is_attribute: false,
            nonce: element.nonce,
        };
        if !self.policies.allow_inline(&inline) {
            self.forbid(element.line, what, Some(inline.hash));
        }
    }

    fn attributes(&mut self, tag: &StartTag<usize>) {
        let mut attributes: Vec<_> = tag.attributes.iter().collect();
        attributes.sort_by_key(|(_, value)| value.span.start);
        for (name, value) in attributes {
            let name = String::from_utf8_lossy(name).into_owned();
            let text = String::from_utf8_lossy(&value.value).into_owned();
            let line = self.line(value.span.start);
            self.attribute(line, &name, &text);
            self.load(line, tag, &name, &text);
        }
    }

    fn attribute(&mut self, line: usize, name: &str, text: &str) {
        let is_handler = name.len() > 2 && name.starts_with("on");
        let leads_to_code = matches!(name, "href" | "src" | "action" | "formaction" | "data")
            && text
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("javascript:");
        let (what, directives) = match name {
            _ if is_handler => (format!("the event handler `{name}`"), HANDLER),
            "style" => ("a `style` attribute".into(), STYLE_ATTRIBUTE),
            _ if leads_to_code => (format!("a `javascript:` URL in `{name}`"), SCRIPT),
            _ => return,
        };
        let inline = Inline {
            directives,
            hash: hash(text.as_bytes()),
            is_attribute: true,
            nonce: None,
        };
        if !self.policies.allow_inline(&inline) {
            self.forbid(line, what, None);
        }
    }

    /// Checks a URL that an element loads.
    fn load(&mut self, line: usize, tag: &StartTag<usize>, name: &str, url: &str) {
        let rel = value(&tag.attributes, "rel")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let is_link_to = |kind| rel.split_ascii_whitespace().any(|word| word == kind);
        let element = String::from_utf8_lossy(&tag.name);
        let (what, directives) = match (&*element, name) {
            ("script", "src") => ("the script", SCRIPT),
            ("link", "href") if is_link_to("stylesheet") => ("the style sheet", STYLE),
            ("link", "href") if is_link_to("icon") => ("the icon", IMAGE),
            ("img", "src") => ("the image", IMAGE),
            ("iframe" | "frame", "src") => ("the frame", FRAME),
            ("audio" | "video" | "track" | "source", "src") => ("the media file", MEDIA),
            ("object", "data") | ("embed", "src") => ("the object", OBJECT),
            ("base", "href") => ("the base", BASE),
            _ => return,
        };
        let is_code = url
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("javascript:");
        if !is_code && !self.policies.allow_load(directives, url) {
            let shown: String = url
                .trim()
                .chars()
                .filter(|c| !c.is_control())
                .take(80)
                .collect();
            self.forbid(line, format!("{what} `{shown}`"), None);
        }
    }
}

fn has(attributes: &Attributes, name: &str) -> bool {
    attributes.contains_key(name.as_bytes())
}

fn value(attributes: &Attributes, name: &str) -> Option<String> {
    let value = attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(&value.value).into_owned())
}

/// Returns true if a script element's text is run, and is not data for another script (HTML, section 4.12.1).
fn is_code(attributes: &Attributes) -> bool {
    let Some(kind) = value(attributes, "type") else {
        return true;
    };
    let kind = kind.trim().to_ascii_lowercase();
    let code = ["", "module", "importmap", "speculationrules"];
    code.contains(&kind.as_str()) || kind.ends_with("javascript") || kind.ends_with("ecmascript")
}

/// Returns the hash of a text, as in a policy.
fn hash(text: &[u8]) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str, policy: &str) -> Vec<(usize, String)> {
        let found = forbidden(page.as_bytes(), &Policies::new(policy));
        found.into_iter().map(|one| (one.line, one.what)).collect()
    }

    const PAGE: &str = "<!doctype html>
<title><script>not code</script></title>
<!-- <script>alert(1)</script> -->
<SCRIPT>
if (a < b && '</p>') {}
</SCRIPT>
<script type=application/ld+json>{}</script>
<script src=/a.js></script><script></script>
<style>p { color: red }</style>
<p style='color: red'
   onclick=\"f()\">text</p>
<a href=' JavaScript:f()'>x</a>
<img src=https://cdn.example/a.png><script src='//cdn.example/a.js'></script>
<link rel='preload stylesheet' href=https://cdn.example/a.css>
<base href=/sub/>
";

    #[test]
    fn everything_that_the_usual_policy_forbids() {
        let expected = [
            (4, "an inline script"),
            (11, "the event handler `onclick`"),
            (12, "a `javascript:` URL in `href`"),
            (13, "the image `https://cdn.example/a.png`"),
            (13, "the script `//cdn.example/a.js`"),
            (14, "the style sheet `https://cdn.example/a.css`"),
            (15, "the base `/sub/`"),
        ];
        let expected = expected.map(|(line, what)| (line, what.to_string()));
        assert_eq!(found(PAGE, http::SITE_POLICY), expected);
    }

    #[test]
    fn styles_where_they_are_forbidden_and_nothing_where_all_is_allowed() {
        let styles = found(PAGE, "style-src 'self' cdn.example");
        assert_eq!(
            styles,
            [
                (9, "an inline style sheet".to_string()),
                (10, "a `style` attribute".to_string())
            ]
        );
        let all = "default-src * 'unsafe-inline'";
        assert_eq!(found(PAGE, all), []);
    }

    #[test]
    fn a_script_that_the_policy_names_by_its_hash() {
        // printf 'alert(1)' | openssl dgst -sha256 -binary | base64
        let policy = "script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
        assert_eq!(found("<script>alert(1)</script>", policy), []);
        assert_eq!(found("<script>alert(2)</script>", policy).len(), 1);
        let one = forbidden(
            b"<script>alert(1)</script>",
            &Policies::new("script-src 'self'"),
        );
        let hash = one[0].hash.as_deref();
        assert_eq!(
            hash,
            Some("sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=")
        );
    }

    #[test]
    fn bytes_that_are_no_page() {
        for page in [
            &b""[..],
            b"\xff\xfe<script",
            b"<script>a",
            b"</script><a href",
        ] {
            let _ = forbidden(page, &Policies::new("default-src 'none'"));
        }
    }
}
