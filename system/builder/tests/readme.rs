//! What the README shows is what the repository holds.

use std::fs;
use std::path::Path;

#[test]
fn the_example_of_a_service_is_the_echo_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let main = fs::read_to_string(root.join("protections/echo/src/main.rs")).unwrap();
    let code = main.find("\nuse ").map(|start| &main[start + 1..]).unwrap();
    assert!(
        readme.contains(code),
        "copy protections/echo/src/main.rs into README.md again"
    );
}
