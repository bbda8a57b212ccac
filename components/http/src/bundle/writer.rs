//! Writes bundles, on the host.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256};

use super::coding::Coding;
use super::field::{FieldError, check_field, check_value};
use super::format::{ENTRY, HEADER, MAGIC, OWN_POLICY, OWN_SNIFFING, RULE};
use super::media_type::media_type;
use super::pattern::{Pattern, PatternError};
use super::template::{Template, TemplateError};

/// The maximum number of redirects and rewrites of a site: each is compared with every request's
/// path.
const MAX_RULES: usize = 256;

/// The default `Cache-Control`: clients may store a file, but must revalidate it for each use.
const USUAL_CACHE: &str = "no-cache";

/// The site's default page for paths that are not found.
const USUAL_NOT_FOUND: &str = "404.html";

/// Collects files and writes a bundle of them. The same files give the same bytes, in any order.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    /// Sorted by path.
    files: Vec<Draft>,
    rules: Vec<Written>,
    not_found: Option<String>,
    fallback: Option<String>,
}

/// A file to be written to a bundle.
#[derive(Clone, Debug)]
pub struct Draft {
    path: String,
    content: Vec<u8>,
    media_type: String,
    cache: String,
    fields: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Written {
    /// The status of a redirect; 0 for a rewrite.
    status: u16,
    pattern: String,
    target: String,
}

/// A file that cannot be in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddError {
    /// The path is empty, absolute, or has an empty, `.` or `..` segment.
    BadPath(String),
    /// There is a file of this path already.
    Twice(String),
    /// There is no file at this path.
    Missing(String),
    /// The bundle would be larger than 4 GiB.
    TooLarge,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPath(path) => write!(f, "`{path}` is no relative path without `.` and `..`"),
            Self::Twice(path) => write!(f, "`{path}` was added twice"),
            Self::Missing(path) => write!(f, "there is no file `{path}`"),
            Self::TooLarge => f.write_str("a site bundle holds at most 4 GiB"),
        }
    }
}

impl core::error::Error for AddError {}

/// The reason why a redirect or rewrite cannot be in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// There are too many rules.
    TooMany,
    /// The pattern is invalid.
    Pattern(PatternError),
    /// The target is invalid.
    Target(TemplateError),
    /// Not a status of redirects.
    Status(u16),
    /// The target of a redirect is redirected again by the same rule.
    Loop,
    /// A rewrite leads to a path without a file.
    Missing(String),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "a site has at most {MAX_RULES} redirects and rewrites"),
            Self::Pattern(error) => error.fmt(f),
            Self::Target(error) => error.fmt(f),
            Self::Status(status) => {
                write!(f, "{status} is no redirect: use 301, 302, 303, 307 or 308")
            }
            Self::Loop => f.write_str(
                "the target fits the pattern again, so clients would go round in a circle",
            ),
            Self::Missing(path) => write!(f, "there is no file `{path}`"),
        }
    }
}

impl core::error::Error for RuleError {}

impl From<PatternError> for RuleError {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}

impl From<TemplateError> for RuleError {
    fn from(error: TemplateError) -> Self {
        Self::Target(error)
    }
}

impl Draft {
    /// Returns the path relative to the site's root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the content.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Returns the value of `Content-Type`.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Returns whether the pattern matches one of the paths at which the file is served: a folder's
    /// `index.html` is served at the folder's path too.
    pub fn fits(&self, pattern: &Pattern<'_>) -> bool {
        let path = alloc::format!("/{}", self.path);
        let folder = path
            .strip_suffix("/index.html")
            .map(|folder| alloc::format!("{folder}/"));
        pattern.matches(&path).is_some()
            || folder.is_some_and(|folder| pattern.matches(&folder).is_some())
    }

    /// Sets the file's `Content-Type`.
    ///
    /// # Errors
    /// [`FieldError::BadValue`].
    pub fn set_media_type(&mut self, media_type: &str) -> Result<(), FieldError> {
        check_value(media_type)?;
        self.media_type = media_type.to_string();
        Ok(())
    }

    /// Sets a header field of the file. Replaces an earlier one of the same name, also the server's
    /// own.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn set_field(&mut self, name: &str, value: &str) -> Result<(), FieldError> {
        check_field(name, value)?;
        if name.eq_ignore_ascii_case("cache-control") {
            self.cache = value.to_string();
            return Ok(());
        }
        self.fields
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.fields.push((name.to_string(), value.to_string()));
        Ok(())
    }

    /// Returns the value of a header field that was set before.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn field_lines(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.fields {
            lines.extend(["\r\n", name, ": ", value]);
        }
        lines
    }

    fn flags(&self) -> u32 {
        let flag = |name, flag| self.field(name).map_or(0, |_| flag);
        flag("content-security-policy", OWN_POLICY) | flag("x-content-type-options", OWN_SNIFFING)
    }
}

impl Writer {
    /// An empty bundle.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. `path` is relative to the site's root, with `/` between its segments; the media
    /// type follows from its extension (see [`media_type()`]). A file whose name is that of another
    /// file with the suffix of a [`Coding`] is served in its place to clients that accept the
    /// coding, if its content fits the coding.
    ///
    /// # Errors
    /// [`AddError::BadPath`] or [`AddError::Twice`].
    pub fn add(&mut self, path: &str, content: &[u8]) -> Result<(), AddError> {
        if path
            .split('/')
            .any(|segment| matches!(segment, "" | "." | ".."))
        {
            return Err(AddError::BadPath(path.to_string()));
        }
        match self.position(path) {
            Ok(_) => Err(AddError::Twice(path.to_string())),
            Err(at) => {
                let draft = Draft {
                    path: path.to_string(),
                    content: content.to_vec(),
                    media_type: media_type(path).to_string(),
                    cache: USUAL_CACHE.to_string(),
                    fields: Vec::new(),
                };
                self.files.insert(at, draft);
                Ok(())
            }
        }
    }

    /// Returns the files, sorted by path.
    pub fn files(&self) -> &[Draft] {
        &self.files
    }

    /// Returns the files, to set their properties.
    pub fn files_mut(&mut self) -> &mut [Draft] {
        &mut self.files
    }

    /// Returns the file at this path.
    pub fn file(&self, path: &str) -> Option<&Draft> {
        self.files.get(self.position(path).ok()?)
    }

    /// Redirects paths; the first rule that matches a path applies.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn redirect(&mut self, pattern: &str, target: &str, status: u16) -> Result<(), RuleError> {
        let paths = Pattern::new(pattern)?;
        let url = Template::url(target, paths.wildcards())?;
        if !matches!(status, 301..=303 | 307 | 308) {
            return Err(RuleError::Status(status));
        }
        if leads_back(&paths, &url) {
            return Err(RuleError::Loop);
        }
        self.rule(status, pattern, target)
    }

    /// Rewrites paths to another one. The files must be added before.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn rewrite(&mut self, pattern: &str, target: &str) -> Result<(), RuleError> {
        let template = Template::path(target, Pattern::new(pattern)?.wildcards())?;
        if !template.has_parts() {
            let path = target.trim_start_matches('/').replace("$$", "$");
            let file = match path.is_empty() || path.ends_with('/') {
                true => alloc::format!("{path}index.html"),
                false => path,
            };
            if self.position(&file).is_err() {
                return Err(RuleError::Missing(file));
            }
        }
        self.rule(0, pattern, target)
    }

    fn rule(&mut self, status: u16, pattern: &str, target: &str) -> Result<(), RuleError> {
        if self.rules.len() == MAX_RULES {
            return Err(RuleError::TooMany);
        }
        self.rules.push(Written {
            status,
            pattern: pattern.to_string(),
            target: target.to_string(),
        });
        Ok(())
    }

    /// Sets the file that is sent, with status 404, for paths that are not found; by default
    /// `404.html`, if it exists.
    ///
    /// # Errors
    /// [`AddError::Missing`].
    pub fn set_not_found(&mut self, path: &str) -> Result<(), AddError> {
        self.not_found = Some(self.present(path)?);
        Ok(())
    }

    /// Sets the file that is sent for all paths without a file, except those whose last segment has
    /// an extension.
    ///
    /// # Errors
    /// [`AddError::Missing`].
    pub fn set_fallback(&mut self, path: &str) -> Result<(), AddError> {
        self.fallback = Some(self.present(path)?);
        Ok(())
    }

    fn present(&self, path: &str) -> Result<String, AddError> {
        match self.position(path) {
            Ok(_) => Ok(path.to_string()),
            Err(_) => Err(AddError::Missing(path.to_string())),
        }
    }

    fn position(&self, path: &str) -> Result<usize, usize> {
        self.files
            .binary_search_by(|other| other.path.as_str().cmp(path))
    }

    /// Returns a file's number, counted from 1; 0 if there is no file.
    fn number(&self, path: &str) -> usize {
        self.position(path).map_or(0, |at| at + 1)
    }

    /// Returns the number of the file that holds this file's content in a coding.
    fn variant(&self, file: &Draft, coding: Coding) -> usize {
        let path = alloc::format!("{}{}", file.path, coding.suffix());
        let found = self.file(&path);
        match found.is_some_and(|found| coding.fits(&found.content, &file.content)) {
            true => self.number(&path),
            false => 0,
        }
    }

    /// The bundle's bytes.
    ///
    /// # Errors
    /// [`AddError::TooLarge`].
    pub fn finish(self) -> Result<Vec<u8>, AddError> {
        let start = HEADER + self.files.len() * ENTRY + self.rules.len() * RULE;
        let mut out = Output {
            tables: Vec::with_capacity(start - HEADER),
            data: Vec::new(),
            start,
        };
        for file in &self.files {
            out.push(file.path.as_bytes())?;
            out.push(file.media_type.as_bytes())?;
            out.align();
            out.push(&file.content)?;
            out.push(file.cache.as_bytes())?;
            out.push(file.field_lines().as_bytes())?;
            let hash = Sha256::digest(&file.content);
            let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
            out.tables.extend(hash[..16].iter().flat_map(digits));
            for coding in Coding::ALL {
                out.tables.extend(word(self.variant(file, coding))?);
            }
            out.tables.extend(file.flags().to_le_bytes());
        }
        for rule in &self.rules {
            out.tables.extend(word(rule.status.into())?);
            out.push(rule.pattern.as_bytes())?;
            out.push(rule.target.as_bytes())?;
        }
        let length = start + out.data.len();
        let not_found = self.not_found.as_deref().unwrap_or(USUAL_NOT_FOUND);
        let fallback = self.fallback.as_deref().map_or(0, |path| self.number(path));
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(MAGIC);
        let rules = self.rules.len();
        for number in [
            self.files.len(),
            length,
            rules,
            self.number(not_found),
            fallback,
            0,
        ] {
            bytes.extend(word(number)?);
        }
        bytes.append(&mut out.tables);
        bytes.append(&mut out.data);
        Ok(bytes)
    }
}

/// Returns whether the target of a redirect is a path of the same site that the pattern matches
/// again, whatever the wildcards match.
fn leads_back(pattern: &Pattern<'_>, target: &Template<'_>) -> bool {
    let path = target.text().split(['?', '#']).next().unwrap_or_default();
    let filled = (1..=9).fold(path.to_string(), |path, number| {
        path.replace(&alloc::format!("${number}"), "x")
    });
    pattern.matches(&filled).is_some()
}

/// The parts of a bundle after its header.
struct Output {
    /// Index and rules.
    tables: Vec<u8>,
    data: Vec<u8>,
    /// Offset at which the data begins.
    start: usize,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) -> Result<(), AddError> {
        self.tables.extend(word(self.start + self.data.len())?);
        self.tables.extend(word(bytes.len())?);
        self.data.extend(bytes);
        Ok(())
    }

    fn align(&mut self) {
        let end = (self.start + self.data.len()).next_multiple_of(16);
        self.data.resize(end - self.start, 0);
    }
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

fn word(value: usize) -> Result<[u8; 4], AddError> {
    u32::try_from(value)
        .map(u32::to_le_bytes)
        .map_err(|_| AddError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::super::{Bundle, Rule};
    use super::*;

    #[test]
    fn odd_paths_are_refused() {
        let mut writer = Writer::new();
        for path in ["", "/a", "a/", "a//b", "../a", "a/./b"] {
            assert_eq!(writer.add(path, b""), Err(AddError::BadPath(path.into())));
        }
        writer.add("a", b"").unwrap();
        assert_eq!(writer.add("a", b""), Err(AddError::Twice("a".into())));
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let mut one = Writer::new();
        one.add("a", b"1").unwrap();
        one.add("b", b"2").unwrap();
        let mut two = Writer::new();
        two.add("b", b"2").unwrap();
        two.add("a", b"1").unwrap();
        assert_eq!(one.finish(), two.finish());
    }

    #[test]
    fn encoded_forms_lie_beside_their_file() {
        let mut writer = Writer::new();
        writer.add("a.js", b"let a").unwrap();
        writer.add("a.js.gz", b"\x1f\x8b\x08...\x05\0\0\0").unwrap();
        writer.add("a.js.br", b"...").unwrap();
        writer.add("a.js.zst", b"no zstd").unwrap();
        let bytes = writer.finish().unwrap();
        let bundle = Bundle::new(&bytes).unwrap();
        let id = |path| bundle.find(path).unwrap();
        let variant = |coding| bundle.variant(id("a.js"), coding);
        assert_eq!(variant(Coding::Gzip), Some(id("a.js.gz")));
        assert_eq!(variant(Coding::Brotli), Some(id("a.js.br")));
        assert_eq!(variant(Coding::Zstd), None);
        assert_eq!(bundle.variant(id("a.js.gz"), Coding::Gzip), None);
    }

    #[test]
    fn fields_are_checked_and_the_last_one_counts() {
        let mut writer = Writer::new();
        writer.add("docs/index.html", b"").unwrap();
        let file = &mut writer.files_mut()[0];
        for (name, value) in [
            ("X-A", "1"),
            ("x-a", "2"),
            ("Cache-Control", "no-store"),
            ("X-B", "3"),
        ] {
            file.set_field(name, value).unwrap();
        }
        assert_eq!(file.set_field("a", "\r\n"), Err(FieldError::BadValue));
        assert_eq!(file.set_media_type("a\r\nb"), Err(FieldError::BadValue));
        file.set_media_type("text/x").unwrap();
        assert!(file.fits(&Pattern::new("/docs/").unwrap()));
        assert!(file.fits(&Pattern::new("/*/index.html").unwrap()));
        assert!(!file.fits(&Pattern::new("/docs").unwrap()));
        let bytes = writer.finish().unwrap();
        let file = Bundle::new(&bytes).unwrap().files().next().unwrap();
        assert_eq!(file.fields, "\r\nx-a: 2\r\nX-B: 3");
        assert_eq!((file.cache, file.media_type), ("no-store", "text/x"));
        assert!(!file.has_own_policy && !file.has_own_sniffing);
    }

    #[test]
    fn rules_are_checked_and_kept_in_order() {
        let mut writer = Writer::new();
        writer.add("app.html", b"").unwrap();
        writer.redirect("/old/*", "/new/$1", 301).unwrap();
        writer.rewrite("/app/**", "/app.html").unwrap();
        writer.rewrite("/x/*", "/$1.html").unwrap();
        for (pattern, target, status, error) in [
            ("/a", "/b", 300, RuleError::Status(300)),
            ("/a", "/b", 304, RuleError::Status(304)),
            (
                "a",
                "/b",
                301,
                RuleError::Pattern(PatternError::NotAbsolute),
            ),
            (
                "/a",
                "/$1",
                301,
                RuleError::Target(TemplateError::NoSuchWildcard),
            ),
            ("/a/**", "/a/b/$1", 301, RuleError::Loop),
            ("/a", "/a?b", 301, RuleError::Loop),
        ] {
            assert_eq!(
                writer.redirect(pattern, target, status),
                Err(error),
                "{pattern} {target}"
            );
        }
        let missing = RuleError::Missing("docs/index.html".into());
        assert_eq!(writer.rewrite("/b", "/docs/"), Err(missing));
        assert_eq!(
            writer.set_fallback("gone.html"),
            Err(AddError::Missing("gone.html".into()))
        );
        assert_eq!(
            writer.set_not_found("gone.html"),
            Err(AddError::Missing("gone.html".into()))
        );
        writer.set_fallback("app.html").unwrap();
        for number in writer.rules.len()..MAX_RULES {
            writer
                .redirect(&alloc::format!("/{number}"), "/", 308)
                .unwrap();
        }
        assert_eq!(
            writer.redirect("/one/more", "/", 308),
            Err(RuleError::TooMany)
        );
        let bytes = writer.finish().unwrap();
        let bundle = Bundle::new(&bytes).unwrap();
        assert_eq!(
            (bundle.fallback(), bundle.not_found()),
            (bundle.find("app.html"), None)
        );
        let mut rules = bundle.rules();
        assert!(matches!(
            rules.next(),
            Some(Rule::Redirect { status: 301, .. })
        ));
        assert!(
            matches!(rules.next(), Some(Rule::Rewrite { pattern, .. }) if pattern.text() == "/app/**")
        );
        assert_eq!(bundle.rules().count(), MAX_RULES);
    }
}
