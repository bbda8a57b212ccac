//! The site of a description: its folder, and the rules for its paths and files.

use std::ops::Range;

use http::bundle::{FieldError, Pattern, RuleError, Writer, check_field, check_value};

use super::{Content, Planner};
use crate::compile::bundle;
use crate::description::Written;
use crate::manifest::Program;
use crate::site;
use crate::toml::{Entry, Fields, Kind as Toml, Spanned};

/// The default status of a redirect: Moved Permanently.
const MOVED: u16 = 301;

/// The keys of a site.
struct Keys<'n> {
    folder: &'n Entry,
    follow_links: Option<&'n Entry>,
    not_found: Option<&'n Entry>,
    fallback: Option<&'n Entry>,
    listing: Option<&'n Entry>,
    types: Option<&'n Entry>,
    headers: Option<&'n Entry>,
    cache: Option<&'n Entry>,
    redirects: Option<&'n Entry>,
    rewrites: Option<&'n Entry>,
}

impl Planner<'_> {
    /// Reads a site: a folder, as text, or a table with the folder and more.
    pub(super) fn site(
        &mut self,
        written: &Written,
        program: &Program,
        entry: &Entry,
    ) -> Option<Content> {
        let keys = self.site_keys(entry)?;
        let path = self.reader().text(keys.folder)?;
        let folder = self.existing(&path, "folder", |path| path.is_dir())?;
        let follow_links = keys
            .follow_links
            .and_then(|entry| self.reader().boolean(entry));
        let site = bundle::site(&folder, self.board.memory, follow_links == Some(true));
        let mut read = match site {
            Ok(read) => read,
            Err(reason) => {
                self.unusable(&path, &reason);
                return None;
            }
        };
        let before = self.problems.len();
        self.apply(&keys, &mut read.writer);
        self.site_notes(written, program, &path, &read);
        if self.problems.len() > before {
            return None;
        }
        let bytes = read.writer.finish().map_err(|error| error.to_string());
        self.made(&path, bytes)
    }

    fn site_keys<'n>(&mut self, entry: &'n Entry) -> Option<Keys<'n>> {
        let Toml::Table(entries) = &entry.value.kind else {
            return Some(Keys {
                folder: entry,
                follow_links: None,
                not_found: None,
                fallback: None,
                listing: None,
                types: None,
                headers: None,
                cache: None,
                redirects: None,
                rewrites: None,
            });
        };
        let mut fields = Fields::new(entries);
        let (folder, follow_links) = (fields.take("folder"), fields.take("follow_links"));
        let mut take = |key| fields.take(key);
        let keys = (
            [take("not_found"), take("fallback"), take("listing")],
            [take("types"), take("headers"), take("cache")],
            [take("redirects"), take("rewrites")],
        );
        fields.finish(&mut self.reader(), "a site");
        let Some(folder) = folder else {
            let problem = self.wrong(&entry.value.span, "a site has a `folder`");
            problem.help =
                Some("for example: { folder = \"site\", fallback = \"index.html\" }".into());
            return None;
        };
        let ([not_found, fallback, listing], [types, headers, cache], [redirects, rewrites]) = keys;
        Some(Keys {
            folder,
            follow_links,
            not_found,
            fallback,
            listing,
            types,
            headers,
            cache,
            redirects,
            rewrites,
        })
    }

    /// Applies the rules of the description to the files, and reports errors in them.
    fn apply(&mut self, keys: &Keys<'_>, writer: &mut Writer) {
        let listing = keys.listing.and_then(|entry| self.reader().boolean(entry));
        if listing == Some(true)
            && let Err(error) = site::list_folders(writer)
        {
            self.wrong(&keys.folder.value.span, error.to_string());
        }
        self.types(keys.types, writer);
        self.cache(keys.cache, writer);
        self.headers(keys.headers, writer);
        self.redirects(keys.redirects, writer);
        self.rewrites(keys.rewrites, writer);
        self.page(keys.not_found, |path| writer.set_not_found(path).is_ok());
        self.page(keys.fallback, |path| writer.set_fallback(path).is_ok());
    }

    /// Sets a file of the site that is sent in place of others.
    fn page(&mut self, entry: Option<&Entry>, set: impl FnOnce(&str) -> bool) {
        let Some(path) = entry.and_then(|entry| self.reader().text(entry)) else {
            return;
        };
        if !set(path.value.trim_start_matches('/')) {
            let message = format!("there is no file `{}` in the site", path.value);
            self.wrong(&path.span, message).help =
                Some("the path is relative to the site's folder".into());
        }
    }

    /// Returns the entries of a table, each with its text.
    fn texts(&mut self, entry: Option<&Entry>) -> Vec<(String, Range<usize>, Spanned<String>)> {
        let mut texts = Vec::new();
        for one in self.rows(entry) {
            if let Some(text) = self.reader().text(&one) {
                texts.push((one.key, one.key_span, text));
            }
        }
        texts
    }

    fn rows(&mut self, entry: Option<&Entry>) -> Vec<Entry> {
        let table = entry.and_then(|entry| self.reader().table(&entry.key, &entry.value));
        table.map(<[Entry]>::to_vec).unwrap_or_default()
    }

    /// Sets media types by the extension of a file's name.
    fn types(&mut self, entry: Option<&Entry>, writer: &mut Writer) {
        for (extension, span, media_type) in self.texts(entry) {
            if extension.is_empty() || extension.contains(['/', '*']) {
                let message = format!("`{extension}` is no extension of a file's name");
                self.wrong(&span, message).help =
                    Some("for example: types = { wat = \"text/plain\" }".into());
                continue;
            }
            let value = &media_type.value;
            if check_value(value).is_err() || !value.contains('/') {
                let message = format!("{value:?} is no media type");
                self.wrong(&media_type.span, message).help =
                    Some("for example: \"text/plain; charset=utf-8\"".into());
                continue;
            }
            let end = format!(".{}", extension.trim_start_matches('.')).to_ascii_lowercase();
            for file in writer.files_mut() {
                let name = file.path().rsplit('/').next().unwrap_or_default();
                if name.to_ascii_lowercase().ends_with(&end) && name.len() > end.len() {
                    let set = file.set_media_type(value);
                    set.expect("the value was checked");
                }
            }
        }
    }

    /// Sets `Cache-Control` by path.
    fn cache(&mut self, entry: Option<&Entry>, writer: &mut Writer) {
        for (pattern, span, value) in self.texts(entry) {
            self.field(writer, (&pattern, &span), "Cache-Control", &value);
        }
    }

    /// Sets header fields by path.
    fn headers(&mut self, entry: Option<&Entry>, writer: &mut Writer) {
        for row in self.rows(entry) {
            for (name, name_span, value) in self.texts(Some(&row)) {
                match check_field(&name, "") {
                    Err(error) => self.wrong_field(&name_span, &name, error),
                    Ok(()) => self.field(writer, (&row.key, &row.key_span), &name, &value),
                }
            }
        }
    }

    /// Sets a header field of the files whose paths match a pattern.
    fn field(
        &mut self,
        writer: &mut Writer,
        (text, span): (&str, &Range<usize>),
        name: &str,
        value: &Spanned<String>,
    ) {
        let pattern = match Pattern::new(text) {
            Ok(pattern) => pattern,
            Err(error) => return self.wrong_rule(span, text, &error.into()),
        };
        if let Err(error) = check_field(name, &value.value) {
            return self.wrong_field(&value.span, name, error);
        }
        let fitting = writer
            .files_mut()
            .iter_mut()
            .filter(|file| file.fits(&pattern));
        let count = fitting
            .map(|file| {
                file.set_field(name, &value.value)
                    .expect("the field was checked")
            })
            .count();
        if count == 0 {
            self.site_notes.push(format!(
                "`{text}` fits the path of no file, so nothing has this {name}"
            ));
        }
    }

    fn wrong_field(&mut self, span: &Range<usize>, name: &str, error: FieldError) {
        let hint = match name.to_ascii_lowercase().as_str() {
            "strict-transport-security" => "; the key `hsts` in `config` sets it, for all answers",
            "content-type" => "; the key `types` sets it, by extension",
            _ => "",
        };
        let problem = self.wrong(span, "files cannot be sent with this header field");
        problem.help = Some(format!("{error}{hint}"));
    }

    fn redirects(&mut self, entry: Option<&Entry>, writer: &mut Writer) {
        for row in self.rows(entry) {
            let target = match &row.value.kind {
                Toml::Table(entries) => self.target(&row, entries),
                _ => self.reader().text(&row).map(|target| (target, MOVED)),
            };
            let Some((target, status)) = target else {
                continue;
            };
            if let Err(error) = writer.redirect(&row.key, &target.value, status) {
                self.wrong_target(&row, &target, &error);
            }
        }
    }

    /// Reads `{ to = "…", status = … }`.
    fn target(&mut self, row: &Entry, entries: &[Entry]) -> Option<(Spanned<String>, u16)> {
        let mut fields = Fields::new(entries);
        let (to, status) = (fields.take("to"), fields.take("status"));
        let mut reader = self.reader();
        fields.finish(&mut reader, "a redirect");
        let Some(to) = to else {
            let problem = reader.wrong(&row.value.span, "this does not say where to redirect to");
            problem.help = Some("for example: { to = \"/new/$1\", status = 302 }".into());
            return None;
        };
        let status = match status {
            Some(entry) => reader.number(entry, 301, 308)?.value as u16,
            None => MOVED,
        };
        Some((reader.text(to)?, status))
    }

    fn rewrites(&mut self, entry: Option<&Entry>, writer: &mut Writer) {
        for row in self.rows(entry) {
            let Some(target) = self.reader().text(&row) else {
                continue;
            };
            if let Err(error) = writer.rewrite(&row.key, &target.value) {
                self.wrong_target(&row, &target, &error);
            }
        }
    }

    fn wrong_target(&mut self, row: &Entry, target: &Spanned<String>, error: &RuleError) {
        match error {
            RuleError::Pattern(_) | RuleError::TooMany => {
                self.wrong_rule(&row.key_span, &row.key, error);
            }
            _ => self.wrong_rule(&target.span, &target.value, error),
        }
    }

    fn wrong_rule(&mut self, span: &Range<usize>, text: &str, error: &RuleError) {
        let message = format!("`{}` cannot be used", text.escape_debug());
        self.wrong(span, message).help = Some(error.to_string());
    }

    /// Adds notes about files that are not served, or that will not work in a browser.
    fn site_notes(
        &mut self,
        written: &Written,
        program: &Program,
        path: &Spanned<String>,
        read: &bundle::Folder,
    ) {
        let folder = &path.value;
        self.site_notes
            .extend(site::left_out(folder, &read.left_out));
        self.site_notes
            .extend(site::unfit_encoded(folder, &read.writer));
        let policy = match written.entry("config").map(|entry| &entry.value.kind) {
            Some(Toml::Table(entries)) => entries.iter().find(|entry| entry.key == "policy"),
            _ => None,
        };
        let policy = policy.and_then(Entry::as_text).unwrap_or(http::SITE_POLICY);
        if program.config.iter().any(|key| key.name == "policy") && !policy.is_empty() {
            let name = &written.name.value;
            let notes = site::forbidden(folder, &read.writer, name, policy);
            self.site_notes.extend(notes);
        }
    }
}
