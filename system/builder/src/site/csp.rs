//! Content-Security-Policy (CSP Level 3), as far as a page's own text is concerned.

/// The policies of one header field. A page must satisfy all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policies(Vec<Policy>);

/// Directives with their sources, in order; of two with one name the first counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy(Vec<(String, Vec<String>)>);

/// Inline code or style of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inline {
    /// The directives that apply; the first one that the policy has is used.
    pub directives: &'static [&'static str],
    /// The hash of its text as in a policy, without quotation marks.
    pub hash: String,
    /// True for an attribute: then hashes apply only together with `'unsafe-hashes'`.
    pub is_attribute: bool,
    /// The nonce that it has.
    pub nonce: Option<String>,
}

impl Policies {
    pub fn new(value: &str) -> Self {
        Self(value.split(',').map(Policy::new).collect())
    }

    pub fn allow_inline(&self, inline: &Inline) -> bool {
        self.0.iter().all(|policy| policy.allows_inline(inline))
    }

    /// Returns true if a page may load this URL. A relative URL belongs to the page's own site.
    pub fn allow_load(&self, directives: &[&str], url: &str) -> bool {
        self.0
            .iter()
            .all(|policy| policy.allows_load(directives, url))
    }
}

impl Policy {
    fn new(text: &str) -> Self {
        let mut directives: Vec<(String, Vec<String>)> = Vec::new();
        for directive in text.split(';') {
            let mut words = directive.split_ascii_whitespace();
            let Some(name) = words.next().map(str::to_ascii_lowercase) else {
                continue;
            };
            if !directives.iter().any(|(other, _)| *other == name) {
                directives.push((name, words.map(str::to_string).collect()));
            }
        }
        Self(directives)
    }

    /// Returns the sources of the first of these directives that the policy has.
    fn sources(&self, directives: &[&str]) -> Option<&[String]> {
        directives.iter().find_map(|name| {
            let found = self.0.iter().find(|(other, _)| other == name);
            found.map(|(_, sources)| sources.as_slice())
        })
    }

    fn allows_inline(&self, inline: &Inline) -> bool {
        let Some(sources) = self.sources(inline.directives) else {
            return true;
        };
        let has = |word: &str| {
            sources
                .iter()
                .any(|source| source.eq_ignore_ascii_case(word))
        };
        // Hashes and nonces are case-sensitive.
        let names = |text: String| sources.contains(&text);
        let by_hash = names(format!("'{}'", inline.hash));
        if by_hash && (!inline.is_attribute || has("'unsafe-hashes'")) {
            return true;
        }
        let mut nonces = inline.nonce.iter();
        if nonces.any(|nonce| names(format!("'nonce-{nonce}'"))) {
            return true;
        }
        let is_strict = |source: &String| {
            let source = source.to_ascii_lowercase();
            let starts = ["'sha256-", "'sha384-", "'sha512-", "'nonce-"];
            source == "'strict-dynamic'" || starts.iter().any(|start| source.starts_with(start))
        };
        has("'unsafe-inline'") && !sources.iter().any(is_strict)
    }

    fn allows_load(&self, directives: &[&str], url: &str) -> bool {
        let Some(sources) = self.sources(directives) else {
            return true;
        };
        let place = Place::of(url);
        sources.iter().any(|source| place.fits(source))
    }
}

/// The origin of a URL.
enum Place {
    /// The page's own site.
    Own,
    /// Another host.
    Host {
        scheme: Option<String>,
        host: String,
    },
    /// A scheme without hosts, such as `data`.
    Scheme(String),
}

impl Place {
    fn of(url: &str) -> Self {
        let url = url.trim();
        let host = |rest: &str| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            host.split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        if let Some(rest) = url.strip_prefix("//") {
            return Self::Host {
                scheme: None,
                host: host(rest),
            };
        }
        let is_scheme = |text: &str| {
            let mut bytes = text.bytes();
            bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        match url.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => {
                let scheme = scheme.to_ascii_lowercase();
                match rest.strip_prefix("//") {
                    Some(rest) => Self::Host {
                        scheme: Some(scheme),
                        host: host(rest),
                    },
                    None => Self::Scheme(scheme),
                }
            }
            _ => Self::Own,
        }
    }

    /// Returns true if a source of a policy matches it. Ports and paths of sources are ignored.
    fn fits(&self, source: &str) -> bool {
        let source = source.to_ascii_lowercase();
        match self {
            // A source may name the site's own host, but that name is unknown here.
            Self::Own => match source.strip_suffix(':') {
                Some(scheme) => scheme.starts_with("http"),
                None => source == "'self'" || !source.starts_with('\''),
            },
            Self::Scheme(scheme) => source == format!("{scheme}:"),
            Self::Host { scheme, host } => {
                let fits_scheme = |wanted: &str| {
                    scheme.as_ref().is_none_or(|scheme| {
                        scheme == wanted || wanted == "http" && scheme == "https"
                    })
                };
                if let Some(wanted) = source.strip_suffix(':') {
                    return fits_scheme(wanted);
                }
                let rest = match source.split_once("://") {
                    Some((wanted, _)) if !fits_scheme(wanted) => return false,
                    Some((_, rest)) => rest,
                    None => &source,
                };
                let name = rest.split(['/', ':']).next().unwrap_or_default();
                match name.strip_prefix("*.") {
                    _ if name == "*" => true,
                    Some(parent) => {
                        let child = host.strip_suffix(parent);
                        child.is_some_and(|child| child.ends_with('.'))
                    }
                    None => host == name,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &[&str] = &["script-src-elem", "script-src", "default-src"];

    fn inline(policy: &str) -> bool {
        Policies::new(policy).allow_inline(&Inline {
            directives: SCRIPT,
            hash: "sha256-AbC=".into(),
            is_attribute: false,
            nonce: Some("n1".into()),
        })
    }

    #[test]
    fn what_is_inline() {
        for allowed in [
            "",
            "img-src 'none'",
            "script-src 'unsafe-inline'",
            "default-src 'UNSAFE-inline'",
            "script-src 'sha256-AbC='",
            "script-src 'nonce-n1'",
            "default-src 'none'; script-src 'unsafe-inline'",
            "script-src 'none'; script-src-elem 'unsafe-inline'",
            "script-src 'unsafe-inline'; script-src 'none'",
        ] {
            assert!(inline(allowed), "{allowed}");
        }
        for forbidden in [
            "default-src 'self'",
            "script-src",
            "script-src 'none'",
            "SCRIPT-SRC https:",
            "script-src 'sha256-abc='",
            "script-src 'unsafe-inline' 'sha256-other='",
            "script-src 'unsafe-inline' 'nonce-other'",
            "script-src 'unsafe-inline' 'strict-dynamic'",
            "script-src 'unsafe-inline', default-src 'self'",
        ] {
            assert!(!inline(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn hashes_of_attributes_need_a_word_more() {
        let handler = Inline {
            directives: &["script-src-attr", "script-src", "default-src"],
            hash: "sha256-AbC=".into(),
            is_attribute: true,
            nonce: None,
        };
        let allowed = |policy| Policies::new(policy).allow_inline(&handler);
        assert!(!allowed("script-src 'sha256-AbC='"));
        assert!(allowed("script-src 'sha256-AbC=' 'unsafe-hashes'"));
        assert!(allowed(
            "script-src 'none'; script-src-attr 'unsafe-inline'"
        ));
    }

    #[test]
    fn what_is_loaded() {
        let allowed = |policy, url| Policies::new(policy).allow_load(SCRIPT, url);
        for (policy, url) in [
            ("default-src 'self'", "a.js"),
            ("default-src 'self'", "/a.js?b:c"),
            ("img-src 'none'", "https://h/"),
            ("default-src https:", "a.js"),
            ("default-src my.example", "a.js"),
            ("default-src *", "https://h/"),
            ("default-src https:", "https://h/"),
            ("default-src https:", "//h/"),
            ("default-src cdn.example", "https://CDN.example:443/a"),
            ("default-src https://cdn.example/a/", "//cdn.example/a/b"),
            ("default-src *.example", "https://a.b.example"),
            ("default-src data:", "data:text/javascript,1"),
        ] {
            assert!(allowed(policy, url), "{policy} {url}");
        }
        for (policy, url) in [
            ("default-src 'none'", "a.js"),
            ("default-src data: 'unsafe-inline'", "a.js"),
            ("default-src 'self'", "https://h/"),
            ("default-src 'self'", "//h/"),
            ("default-src 'self'", " data:text/javascript,1"),
            ("default-src *", "data:text/javascript,1"),
            ("default-src https:", "http://h/"),
            ("default-src https://h", "http://h/"),
            ("default-src *.example", "https://example/"),
            ("default-src *.example", "https://badexample/"),
            ("default-src cdn.example", "https://cdn.example.evil/"),
        ] {
            assert!(!allowed(policy, url), "{policy} {url}");
        }
    }
}
