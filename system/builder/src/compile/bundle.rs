//! A folder as a site bundle.

use std::path::Path;

use http::bundle::Writer;

/// The files of a folder, as the bundle that the HTTP server reads. Names that begin with a point are left
/// out.
///
/// # Errors
/// Why the folder makes no bundle.
pub(crate) fn site(folder: &Path) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new();
    let count = add(&mut writer, folder, "")?;
    if count == 0 {
        return Err("the folder holds no file; put at least one into it".into());
    }
    writer.finish().map_err(|error| error.to_string())
}

fn add(writer: &mut Writer, folder: &Path, prefix: &str) -> Result<usize, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.into_string().map_err(|name| {
            let name = name.to_string_lossy();
            format!("the name `{name}` is not UTF-8")
        })?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    // The same folder gives the same bundle.
    names.sort();
    let mut count = 0;
    for name in names {
        let (path, inside) = (folder.join(&name), format!("{prefix}{name}"));
        if path.is_dir() {
            count += add(writer, &path, &format!("{inside}/"))?;
        } else {
            let bytes = std::fs::read(&path).map_err(failed)?;
            let added = writer.add(&inside, &bytes);
            added.map_err(|error| format!("`{inside}`: {error}"))?;
            count += 1;
        }
    }
    Ok(count)
}
