//! Reads bundles in place.

use core::cmp::Ordering;
use core::fmt;

use super::coding::Coding;
use super::field::{check_field, check_value};
use super::format::{ENTRY, HEADER, MAGIC, OWN_POLICY, OWN_SNIFFING, RULE, entry, header};
use super::pattern::Pattern;
use super::template::Template;

/// A checked bundle, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    count: u32,
    rules: u32,
}

/// A file of a bundle: its place in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u32);

/// The content of a file and its metadata.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Path relative to the site's root, without a leading slash.
    pub path: &'a str,
    /// Value of `Content-Type`.
    pub media_type: &'a str,
    /// The content.
    pub content: &'a [u8],
    /// Value of `Cache-Control`.
    pub cache: &'a str,
    /// Further header fields in the form in which they are sent: `CR LF name: value` each.
    pub fields: &'a str,
    /// Whether the further fields include a `Content-Security-Policy`.
    pub has_own_policy: bool,
    /// Whether the further fields include an `X-Content-Type-Options`.
    pub has_own_sniffing: bool,
    /// The first half of the content's SHA-256, 32 hexadecimal digits: in quotes it is a strong entity
    /// tag (RFC 9110, section 8.8.3).
    pub tag: &'a str,
}

/// A redirect or rewrite of a path; it applies whether or not there is a file.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'a> {
    /// The client is redirected to another URL.
    Redirect {
        /// The paths that it applies to.
        pattern: Pattern<'a>,
        /// The URL or path that the client is redirected to.
        target: Template<'a>,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// The path is replaced by another one.
    Rewrite {
        /// The paths that it applies to.
        pattern: Pattern<'a>,
        /// The path that replaces them.
        target: Template<'a>,
    },
}

/// The reason why bytes are not a valid bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// They do not begin with the magic number and a known version.
    UnknownFormat,
    /// They are shorter than the length in their header.
    Truncated,
    /// The header names a file that is not in the index.
    BadHeader,
    /// The index entry of this number points outside the bundle, is not text, or is out of order.
    BadEntry(u32),
    /// The rule of this number is invalid.
    BadRule(u32),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat => f.write_str("no site bundle of a known version"),
            Self::Truncated => f.write_str("the site bundle is truncated"),
            Self::BadHeader => f.write_str("the header of the site bundle names no file"),
            Self::BadEntry(entry) => write!(f, "entry {entry} of the site bundle is wrong"),
            Self::BadRule(rule) => write!(f, "rule {rule} of the site bundle is wrong"),
        }
    }
}

impl core::error::Error for BundleError {}

impl<'a> Bundle<'a> {
    /// Checks a bundle; bytes after it (the rest of a page) are ignored. Contents are not hashed.
    ///
    /// # Errors
    /// [`BundleError`], if anything in the header, the index or the rules is invalid.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BundleError> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(BundleError::UnknownFormat);
        }
        let number = |at| word(bytes, at).ok_or(BundleError::Truncated);
        let (count, rules) = (number(header::COUNT)?, number(header::RULES)?);
        let length = number(header::LENGTH)? as usize;
        let bytes = bytes.get(..length).ok_or(BundleError::Truncated)?;
        let tables = (count as usize)
            .checked_mul(ENTRY)
            .and_then(|index| index.checked_add((rules as usize).checked_mul(RULE)?));
        if tables.is_none_or(|tables| tables > bytes.len().saturating_sub(HEADER)) {
            return Err(BundleError::Truncated);
        }
        let bundle = Self {
            bytes,
            count,
            rules,
        };
        bundle.check_index()?;
        for place in [header::NOT_FOUND, header::FALLBACK] {
            if word(bytes, place).is_none_or(|id| id > count) {
                return Err(BundleError::BadHeader);
            }
        }
        match (0..rules).find(|number| !bundle.is_rule(*number)) {
            Some(number) => Err(BundleError::BadRule(number)),
            None => Ok(bundle),
        }
    }

    fn check_index(&self) -> Result<(), BundleError> {
        let mut last = None;
        for number in 0..self.count {
            let id = FileId(number);
            let file = self.file(id).filter(|file| {
                let is_hexadecimal = file.tag.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_hexadecimal
                    && check_value(file.media_type).is_ok()
                    && check_value(file.cache).is_ok()
                    && are_fields(file.fields)
            });
            let file = file.ok_or(BundleError::BadEntry(number))?;
            let variants = Coding::ALL.map(|coding| self.variant_number(id, coding));
            let known = |number: Option<u32>| number.is_some_and(|number| number <= self.count);
            if last.is_some_and(|last| last >= file.path) || !variants.into_iter().all(known) {
                return Err(BundleError::BadEntry(number));
            }
            last = Some(file.path);
        }
        Ok(())
    }

    /// Returns the file with exactly this path, by binary search.
    pub fn find(&self, path: &str) -> Option<FileId> {
        self.find_joined(&[path])
    }

    /// Returns the file whose path is the concatenation of these texts, by binary search.
    pub fn find_joined(&self, path: &[&str]) -> Option<FileId> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match compare(self.file_path(FileId(middle))?, path) {
                Ordering::Equal => return Some(FileId(middle)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Returns the file; `None` for an id of another bundle that is out of range here.
    pub fn file(&self, id: FileId) -> Option<File<'a>> {
        let at = self.place(id)?;
        let tag = self.bytes.get(at + entry::TAG..at + entry::VARIANTS)?;
        let flags = word(self.bytes, at + entry::FLAGS)?;
        Some(File {
            path: self.text(at + entry::PATH)?,
            media_type: self.text(at + entry::MEDIA_TYPE)?,
            content: self.slice(at + entry::CONTENT)?,
            cache: self.text(at + entry::CACHE)?,
            fields: self.text(at + entry::FIELDS)?,
            has_own_policy: flags & OWN_POLICY != 0,
            has_own_sniffing: flags & OWN_SNIFFING != 0,
            tag: core::str::from_utf8(tag).ok()?,
        })
    }

    /// Returns the file that holds this file's content in a content coding, if there is one.
    pub fn variant(&self, id: FileId, coding: Coding) -> Option<FileId> {
        self.variant_number(id, coding)?.checked_sub(1).map(FileId)
    }

    /// Returns the site's page for paths that are not found.
    pub fn not_found(&self) -> Option<FileId> {
        word(self.bytes, header::NOT_FOUND)?
            .checked_sub(1)
            .map(FileId)
    }

    /// Returns the page that is sent in place of every path that is not found.
    pub fn fallback(&self) -> Option<FileId> {
        word(self.bytes, header::FALLBACK)?
            .checked_sub(1)
            .map(FileId)
    }

    /// Returns all files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = File<'a>> + use<'a> {
        let bundle = *self;
        (0..self.count).filter_map(move |id| bundle.file(FileId(id)))
    }

    /// Returns redirects and rewrites in the order in which they are tried.
    pub fn rules(&self) -> impl Iterator<Item = Rule<'a>> + use<'a> {
        let bundle = *self;
        (0..self.rules).filter_map(move |number| bundle.rule(number))
    }

    /// Returns whether pattern, target and status of a rule are valid.
    fn is_rule(&self, number: u32) -> bool {
        let (pattern, target, url) = match self.rule(number) {
            Some(Rule::Redirect {
                pattern, target, ..
            }) => (pattern, target, true),
            Some(Rule::Rewrite { pattern, target }) => (pattern, target, false),
            None => return false,
        };
        let target = match url {
            true => Template::url(target.text(), pattern.wildcards()),
            false => Template::path(target.text(), pattern.wildcards()),
        };
        Pattern::new(pattern.text()).is_ok() && target.is_ok()
    }

    fn rule(&self, number: u32) -> Option<Rule<'a>> {
        let at = HEADER + self.count as usize * ENTRY + number as usize * RULE;
        let pattern = Pattern::checked(self.text(at + 4)?);
        let target = Template::checked(self.text(at + 12)?);
        match word(self.bytes, at)? {
            0 => Some(Rule::Rewrite { pattern, target }),
            status @ (301..=303 | 307 | 308) => Some(Rule::Redirect {
                pattern,
                target,
                status: status as u16,
            }),
            _ => None,
        }
    }

    fn variant_number(&self, id: FileId, coding: Coding) -> Option<u32> {
        let place = Coding::ALL.iter().position(|other| *other == coding)?;
        word(self.bytes, self.place(id)? + entry::VARIANTS + 4 * place)
    }

    fn file_path(&self, id: FileId) -> Option<&'a str> {
        self.text(self.place(id)? + entry::PATH)
    }

    fn place(&self, id: FileId) -> Option<usize> {
        (id.0 < self.count).then(|| HEADER + id.0 as usize * ENTRY)
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        core::str::from_utf8(self.slice(at)?).ok()
    }

    fn slice(&self, at: usize) -> Option<&'a [u8]> {
        let offset = word(self.bytes, at)? as usize;
        let length = word(self.bytes, at + 4)? as usize;
        self.bytes.get(offset..offset.checked_add(length)?)
    }
}

/// Returns whether a text consists of header fields, each after a line break.
fn are_fields(text: &str) -> bool {
    let mut lines = text.split("\r\n");
    let is_field = |line: &str| {
        let field = line.split_once(": ");
        field.is_some_and(|(name, value)| check_field(name, value).is_ok())
    };
    lines.next() == Some("") && lines.all(is_field)
}

/// Compares a text with the concatenation of others.
fn compare(text: &str, joined: &[&str]) -> Ordering {
    let mut rest = text.as_bytes();
    for part in joined {
        let part = part.as_bytes();
        let (head, tail) = rest.split_at(rest.len().min(part.len()));
        match head.cmp(part) {
            Ordering::Equal => rest = tail,
            other => return other,
        }
    }
    match rest.is_empty() {
        true => Ordering::Equal,
        false => Ordering::Greater,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}
