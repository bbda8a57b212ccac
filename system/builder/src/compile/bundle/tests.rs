use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use http::bundle::Bundle;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::site;
use super::walk::MOST_ENTRIES;

const MOST: u64 = 64 << 20;

/// Makes a folder with an index page.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "<p>").unwrap();
    folder
}

fn paths(folder: &Path, follow_links: bool) -> Vec<String> {
    let bytes = site(folder, MOST, follow_links)
        .unwrap()
        .writer
        .finish()
        .unwrap();
    let bundle = Bundle::new(&bytes).unwrap();
    bundle.files().map(|file| file.path.to_owned()).collect()
}

fn refused(folder: &Path) -> String {
    site(folder, MOST, false).unwrap_err()
}

#[test]
fn takes_files_in_folders_but_no_hidden_ones() {
    let site = folder();
    fs::create_dir_all(site.path().join("a/b")).unwrap();
    fs::write(site.path().join("a/b/c.css"), "").unwrap();
    fs::write(site.path().join(".secret"), "").unwrap();
    fs::write(site.path().join("INDEX.HTML"), "").unwrap();
    assert_eq!(
        paths(site.path(), false),
        ["INDEX.HTML", "a/b/c.css", "index.html"]
    );
}

#[test]
fn refuses_what_is_no_regular_file() {
    let site = folder();
    let odd = site.path().join("odd");
    mknodat(CWD, &odd, FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(
        refused(site.path()),
        "`odd`: it is a FIFO, not a regular file"
    );
    fs::remove_file(&odd).unwrap();
    symlink("/dev/zero", &odd).unwrap();
    let error = super::site(site.path(), MOST, true).unwrap_err();
    assert_eq!(error, "`odd`: it is a device, not a regular file");
}

#[test]
fn names_a_link_that_leads_out_of_the_folder() {
    let site = folder();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret.txt"), "x").unwrap();
    for target in [Path::new("/etc/passwd"), outside.path(), Path::new("..")] {
        let link = site.path().join("link");
        symlink(target, &link).unwrap();
        let error = refused(site.path());
        let shown = format!(
            "the link `link` leads to `{}`, which lies outside",
            target.display()
        );
        assert!(error.starts_with(&shown), "{error}");
        assert!(error.contains("follow_links = true"), "{error}");
        fs::remove_file(link).unwrap();
    }
    symlink(outside.path(), site.path().join("link")).unwrap();
    assert_eq!(paths(site.path(), true), ["index.html", "link/secret.txt"]);
}

#[test]
fn follows_a_link_that_stays_in_the_folder() {
    let site = folder();
    fs::create_dir(site.path().join("a")).unwrap();
    symlink("../index.html", site.path().join("a/copy.html")).unwrap();
    // The folder itself may be reached by a link.
    let beside = tempfile::tempdir().unwrap();
    let link = beside.path().join("site");
    symlink(site.path(), &link).unwrap();
    assert_eq!(paths(&link, false), ["a/copy.html", "index.html"]);
}

#[test]
fn names_the_link_of_a_loop() {
    let site = folder();
    fs::create_dir_all(site.path().join("a/b")).unwrap();
    for (target, path, said) in [
        (
            "itself",
            "itself",
            "the link `itself` leads to `itself`, which leads back to it: a loop",
        ),
        (
            "..",
            "a/up",
            "the link `a/up` leads to `..`, that is, to the site's folder itself: a loop",
        ),
        (
            "../../a",
            "a/b/up",
            "the link `a/b/up` leads to `../../a`, that is, to `a`, in which it lies: a loop",
        ),
    ] {
        let link = site.path().join(path);
        symlink(target, &link).unwrap();
        assert_eq!(refused(site.path()), said);
        fs::remove_file(link).unwrap();
    }
    symlink("gone", site.path().join("a/dangling")).unwrap();
    assert_eq!(
        refused(site.path()),
        "the link `a/dangling` leads to `gone`: No such file or directory"
    );
}

#[test]
fn refuses_a_file_larger_than_memory_with_the_sizes() {
    let site = folder();
    let large = fs::File::create(site.path().join("disk.iso")).unwrap();
    large.set_len(5 << 30).unwrap();
    assert_eq!(
        refused(site.path()),
        "`disk.iso` has 5 GiB, the board's memory 64 MiB"
    );
    large.set_len(1024).unwrap();
    let error = super::site(site.path(), 1024, false).unwrap_err();
    assert_eq!(
        error,
        "`index.html` has 3 bytes, the files before it 1 KiB: more than the board's memory, 1 KiB"
    );
}

#[test]
fn names_are_text() {
    let site = folder();
    fs::write(site.path().join(OsStr::from_bytes(b"caf\xe9.html")), "").unwrap();
    let error = refused(site.path());
    assert!(
        error.starts_with("the name `caf\u{fffd}.html` is not UTF-8"),
        "{error}"
    );
}

#[test]
fn takes_ten_thousand_files_and_not_a_whole_disk() {
    let site = folder();
    for group in 0..10 {
        let folder = site.path().join(group.to_string());
        fs::create_dir(&folder).unwrap();
        for file in 0..1000 {
            fs::write(folder.join(format!("{file}.txt")), "x").unwrap();
        }
    }
    assert_eq!(paths(site.path(), false).len(), 10_001);
    // Links to one folder, of which each counts as often as it is reached.
    for link in 0..=MOST_ENTRIES / 1000 {
        symlink("0", site.path().join(format!("link-{link}"))).unwrap();
    }
    assert_eq!(
        refused(site.path()),
        format!("it holds more than {MOST_ENTRIES} files and folders")
    );
}
