//! Sites of descriptions, and the notes about their folders.

use std::fs;
use std::path::Path;

use http::bundle::{Bundle, Coding, File, Rule};
use selkie::{Content, Plan};

/// A site's folder, and descriptions that serve it.
struct Site(tempfile::TempDir);

const SYSTEM: &str = r#"
[system]
name = "test"
[protection.supervisor]
program = "supervisor"
[protection.console]
program = "console"
device = "serial0"
[protection.clock]
program = "clock"
device = "clock0"
[protection.pci]
program = "pci"
device = "pci0"
[protection.entropy]
program = "entropy"
device = "rng0"
[protection.nic]
program = "net-driver"
device = "net0"
[protection.tcpip]
program = "tcpip"
packets = "nic"
[protection.web]
program = "http"
streams = { from = "tcpip", listen = 80 }
"#;

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (path, content) in files {
            let path = folder.path().join("site").join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it is writable");
            fs::write(path, content).expect("it is writable");
        }
        Self(folder)
    }

    /// Plans a description with these additional lines; returns the errors as text.
    fn plan(&self, more: &str) -> Result<Plan, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let file = self.0.path().join("test.toml");
        fs::write(&file, format!("{SYSTEM}{more}")).expect("it is writable");
        selkie::plan(&root, &file, "pc99").map_err(|wrong| wrong.to_string())
    }

    /// Plans a site with these keys besides its folder.
    fn with(&self, keys: &str) -> Result<Plan, String> {
        self.plan(&format!(
            "[protection.web.data.site]\nfolder = \"site\"\n{keys}\n"
        ))
    }
}

/// Returns the notes about the site.
fn notes(plan: &Plan) -> Vec<&str> {
    let notes = plan.notes.iter().map(String::as_str);
    notes
        .filter(|note| !note.contains("without effect"))
        .collect()
}

fn bundle(plan: &Plan) -> Bundle<'_> {
    let web = plan.protections.iter().find(|p| p.name == "web");
    match &web.expect("it is there").data[..] {
        [(_, Content::Bytes(bytes))] => Bundle::new(bytes).expect("it is one"),
        other => panic!("{other:?}"),
    }
}

fn file<'a>(plan: &'a Plan, path: &str) -> File<'a> {
    let bundle = bundle(plan);
    let file = bundle.find(path).and_then(|id| bundle.file(id));
    file.unwrap_or_else(|| panic!("no {path}"))
}

#[test]
fn hidden_files_are_left_out_and_named() {
    let site = Site::new(&[
        ("index.html", "<p>"),
        (".well-known/security.txt", "Contact: mailto:a@b.example"),
        (".well-known/.secret", "x"),
        ("a/.well-known/x", "x"),
        (".git/config", "x"),
        (".env", "x"),
    ]);
    let plan = site
        .plan("data = { site = \"site\" }\n")
        .expect("it is right");
    let paths: Vec<_> = bundle(&plan).files().map(|file| file.path).collect();
    assert_eq!(paths, [".well-known/security.txt", "index.html"]);
    assert_eq!(
        notes(&plan),
        [
            "left out of `site`, because their names begin with a point: `.env`, `.git`, `.well-known/.secret`, `a/.well-known`"
        ]
    );
}

#[test]
fn what_the_policy_forbids_is_shown_with_its_place_and_the_key() {
    let page = "<!doctype html>\n<p>\n<script>f()</script>\n<p style='color: red'>\n";
    let site = Site::new(&[("blog/index.html", page)]);
    let plan = site.with("").expect("it is right");
    let shown = notes(&plan);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].starts_with(
        "site/blog/index.html:3: the Content-Security-Policy forbids an inline script ('sha256-"
    ));
    assert!(
        shown[1].contains("the key `policy` in the `config` of `web`"),
        "{shown:?}"
    );
    // With a policy that allows it, or none, or one of the file's own, there is no note.
    for more in [
        "[protection.web.config]\npolicy = \"script-src 'unsafe-inline'\"",
        "[protection.web.config]\npolicy = \"\"",
        "[protection.web.data.site.headers.\"/blog/\"]\nContent-Security-Policy = \"img-src *\"",
    ] {
        let plan = site.with(more).expect("it is right");
        assert_eq!(notes(&plan), Vec::<&str>::new(), "{more}");
    }
    let plan = site
        .with("[protection.web.config]\npolicy = \"style-src 'none'\"")
        .expect("it is right");
    assert!(
        notes(&plan)[0].starts_with("site/blog/index.html:4: "),
        "{:?}",
        notes(&plan)
    );
}

#[test]
fn encoded_files_lie_beside_theirs() {
    let site = Site::new(&[("a.js", "let a"), ("a.js.br", "br"), ("a.js.gz", "no gzip")]);
    let plan = site.with("").expect("it is right");
    let bundle = bundle(&plan);
    let plain = bundle.find("a.js").expect("it is there");
    assert_eq!(
        bundle.variant(plain, Coding::Brotli),
        bundle.find("a.js.br")
    );
    assert_eq!(bundle.variant(plain, Coding::Gzip), None);
    assert!(notes(&plan)[0].starts_with("`site/a.js.gz` is not sent in place of `a.js`"));
}

#[test]
fn everything_that_a_site_can_say() {
    let site = Site::new(&[
        ("index.html", "home"),
        ("errors/lost.html", "lost"),
        ("assets/app.4f3a.js", "x"),
        ("data.wat", "x"),
        ("files/b.txt", "x"),
    ]);
    let plan = site
        .with(
            r#"
not_found = "errors/lost.html"
fallback = "/index.html"
listing = true
types = { wat = "text/x-wat" }
cache = { "/**" = "max-age=60", "/assets/**" = "public, max-age=31536000, immutable" }
headers = { "/" = { X-Frame-Options = "DENY" }, "/none/*" = { X-A = "b" } }
redirects = { "/old/*" = "/new/$1", "/blog/**" = { to = "https://blog.example/$1", status = 308 } }
rewrites = { "/app/**" = "/index.html" }
"#,
        )
        .expect("it is right");
    let site = bundle(&plan);
    assert_eq!(site.not_found(), site.find("errors/lost.html"));
    assert_eq!(site.fallback(), site.find("index.html"));
    assert_eq!(file(&plan, "data.wat").media_type, "text/x-wat");
    let asset = file(&plan, "assets/app.4f3a.js");
    assert_eq!(asset.cache, "public, max-age=31536000, immutable");
    let home = file(&plan, "index.html");
    assert_eq!(
        (home.cache, home.fields),
        ("max-age=60", "\r\nX-Frame-Options: DENY")
    );
    assert_eq!(home.content, b"home");
    let listing = file(&plan, "files/index.html").content;
    assert!(String::from_utf8_lossy(listing).contains("href=\"./b.txt\""));
    let rules: Vec<_> = site
        .rules()
        .map(|rule| match rule {
            Rule::Redirect {
                pattern,
                target,
                status,
            } => (pattern.text(), target.text(), status),
            Rule::Rewrite { pattern, target } => (pattern.text(), target.text(), 0),
        })
        .collect();
    assert_eq!(
        rules,
        [
            ("/old/*", "/new/$1", 301),
            ("/blog/**", "https://blog.example/$1", 308),
            ("/app/**", "/index.html", 0),
        ]
    );
    assert_eq!(
        notes(&plan),
        ["`/none/*` fits the path of no file, so nothing has this X-A"]
    );
}

#[test]
fn what_is_wrong_is_shown_with_its_place() {
    let site = Site::new(&[("index.html", "home")]);
    for (keys, message) in [
        (
            "fallback = \"app.html\"",
            "there is no file `app.html` in the site",
        ),
        (
            "not_found = \"404.html\"",
            "there is no file `404.html` in the site",
        ),
        ("listing = 1", "`listing` is a number"),
        ("fallbak = \"x\"", "did you mean `fallback`?"),
        ("types = { wat = \"text\" }", "\"text\" is no media type"),
        ("types = { wat = \"a/b\\r\\nc\" }", "is no media type"),
        ("types = { \"a/b\" = \"a/b\" }", "`a/b` is no extension"),
        (
            "cache = { \"assets/*\" = \"no-store\" }",
            "a pattern begins with `/`",
        ),
        ("cache = { \"/*\" = \"a\\nb\" }", "without control"),
        (
            "headers = { \"/*\" = { X-A = \"b\\r\\nSet-Cookie: c\" } }",
            "without control",
        ),
        (
            "headers = { \"/*\" = { \"X A\" = \"b\" } }",
            "name consists of letters",
        ),
        (
            "headers = { \"/*\" = { Content-Type = \"b/c\" } }",
            "the key `types` sets it",
        ),
        (
            "headers = { \"/*\" = { Strict-Transport-Security = \"b\" } }",
            "the key `hsts`",
        ),
        ("headers = { \"/*\" = \"b\" }", "expected a table"),
        (
            "redirects = { \"/a**\" = \"/b\" }",
            "`**` is a whole segment",
        ),
        (
            "redirects = { \"/a\" = \"//evil.example\" }",
            "a target is a path",
        ),
        (
            "redirects = { \"/a/*\" = \"https://$1/\" }",
            "would choose the host",
        ),
        (
            "redirects = { \"/a/*\" = \"/a/$1\" }",
            "go round in a circle",
        ),
        (
            "redirects = { \"/a\" = { to = \"/b\", status = 304 } }",
            "304 is no redirect",
        ),
        (
            "redirects = { \"/a\" = { status = 302 } }",
            "where to redirect to",
        ),
        (
            "redirects = { \"/a\" = { to = \"/b\", kind = 1 } }",
            "`kind` is not a key of a redirect",
        ),
        (
            "rewrites = { \"/a\" = \"/gone.html\" }",
            "there is no file `gone.html`",
        ),
        (
            "rewrites = { \"/a\" = \"https://h/\" }",
            "a path of the site",
        ),
        (
            "[protection.web.config]\npolicy = \"a\\nb\"",
            "without control",
        ),
        (
            "[protection.web.config]\nredirect_https = 0",
            "must be 1 to 65535",
        ),
        (
            "[protection.web.config]\naccess_log = \"comined\"",
            "did you mean `combined`?",
        ),
        ("[protection.web.config]\nhsts = -1", "must be 0 to"),
    ] {
        let wrong = site.with(keys).expect_err(keys);
        assert!(wrong.contains(message), "{keys}\n{wrong}");
        assert!(wrong.contains("test.toml:"), "{keys}\n{wrong}");
    }
    let wrong = site
        .plan("data = { site = { listing = true } }")
        .expect_err("no folder");
    assert!(wrong.contains("a site has a `folder`"), "{wrong}");
}
