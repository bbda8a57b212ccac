//! Pages that list what is in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use http::bundle::{AddError, Writer};

/// Gives every folder without an `index.html` a page that lists its files and folders. Names that begin with a point
/// are not listed.
///
/// # Errors
/// [`AddError`].
pub(super) fn add(writer: &mut Writer) -> Result<(), AddError> {
    for (folder, entries) in folders(writer) {
        let index = format!("{folder}index.html");
        if writer.file(&index).is_none() {
            writer.add(&index, page(&folder, &entries).as_bytes())?;
        }
    }
    Ok(())
}

/// Returns the names in each folder, by the folder's path. Paths and names of folders end in a slash.
fn folders(writer: &Writer) -> BTreeMap<String, BTreeSet<(String, Option<usize>)>> {
    let mut folders: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for file in writer.files() {
        let mut rest = file.path();
        let mut size = Some(file.content().len());
        loop {
            let (folder, name) = match rest.trim_end_matches('/').rfind('/') {
                Some(slash) => rest.split_at(slash + 1),
                None => ("", rest),
            };
            if !name.starts_with('.') {
                let entries = folders.entry(folder.to_string()).or_default();
                entries.insert((name.to_string(), size));
            }
            if folder.is_empty() {
                break;
            }
            (rest, size) = (folder, None);
        }
    }
    folders
}

fn page(folder: &str, entries: &BTreeSet<(String, Option<usize>)>) -> String {
    let title = format!("Index of /{}", escape(folder));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
    );
    if !folder.is_empty() {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for (name, size) in entries {
        let size = size
            .map(|size| format!(" ({size} bytes)"))
            .unwrap_or_default();
        // Writing into a string does not fail.
        let _ = writeln!(
            page,
            "<li><a href=\"./{}\">{}</a>{size}</li>",
            encode(name),
            escape(name)
        );
    }
    page.push_str("</ul>\n</html>\n");
    page
}

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Percent-encodes a name for a URL.
fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            true => encoded.push(char::from(byte)),
            // Writing into a string does not fail.
            false => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_without_an_index_get_one() {
        let mut writer = Writer::new();
        for path in [
            "a/<b>&\"c\".txt",
            "a/d e/f",
            "own/index.html",
            ".well-known/security.txt",
        ] {
            writer.add(path, b"1234").unwrap();
        }
        add(&mut writer).unwrap();
        let page = |path: &str| {
            let file = writer.file(path).unwrap_or_else(|| panic!("no {path}"));
            String::from_utf8(file.content().to_vec()).unwrap()
        };
        let folder = page("a/index.html");
        assert!(folder.contains("<h1>Index of /a/</h1>") && folder.contains("href=\"../\""));
        assert!(folder.contains(
            "<li><a href=\"./%3Cb%3E%26%22c%22.txt\">&lt;b&gt;&amp;&quot;c&quot;.txt</a> (4 bytes)</li>"
        ));
        assert!(folder.contains("<li><a href=\"./d%20e/\">d e/</a></li>"));
        let root = page("index.html");
        assert!(
            !root.contains("well-known") && !root.contains("href=\"../\""),
            "{root}"
        );
        assert!(root.contains("href=\"./own/\"") && root.contains("href=\"./a/\""));
        assert_eq!(page("own/index.html"), "1234");
        assert!(page("a/d e/index.html").contains("href=\"./f\""));
        assert!(writer.file(".well-known/index.html").is_some());
    }
}
