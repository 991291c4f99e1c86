//! Rules about crates: which may depend on which, how many packages in all, lints on, every test
//! file built.
//!
//! Source: DESIGN's table "The house"; the Cargo book, `cargo metadata`.

use serde_json::Value;

use super::{Finding, SourceFile};

/// What each crate may depend on among its siblings. Dependencies point down this table only.
const ARROWS: [(&str, &[&str]); 19] = [
    (
        "underpass-cli",
        &[
            "underpass-serve",
            "underpass-copy",
            "underpass-relay",
            "underpass-log",
            "underpass-tsdb",
            "underpass-measure",
            "underpass-daemon",
            "underpass",
        ],
    ),
    ("underpass-serve", &["underpass-remote", "underpass-client", "underpass", "underpass-daemon"]),
    ("underpass-copy", &["underpass-client", "underpass", "underpass-daemon", "underpass-sys"]),
    ("underpass-relay", &["underpass", "underpass-daemon"]),
    ("underpass-log", &["underpass", "underpass-daemon"]),
    ("underpass-tsdb", &["underpass", "underpass-daemon", "underpass-sys"]),
    ("underpass-measure", &["underpass", "underpass-sys"]),
    ("underpass-remote", &["underpass-client", "underpass"]),
    ("underpass-client", &["underpass", "underpass-daemon", "underpass-sys"]),
    ("underpass-daemon", &[]),
    ("underpass-axum", &["underpass", "underpass-http-body"]),
    ("underpass-tonic", &["underpass", "underpass-http-body"]),
    ("underpass-hyper-util", &["underpass", "underpass-http-body"]),
    ("underpass-http-body", &["underpass"]),
    ("underpass", &["underpass-sys"]),
    ("underpass-sys", &[]),
    ("underpass-testkit", &[]),
    // The bench drives the engine, reads other processes' clocks, and uses the rigs of the tests.
    ("underpass-bench", &["underpass", "underpass-measure", "underpass-sys", "underpass-testkit"]),
    // Nothing of the product: tidy runs while the engine does not build.
    ("xtask", &["underpass-testkit"]),
];

/// Of tests, and of xtask and the bench, which are not part of the product.
const TEST_CRATE: &str = "underpass-testkit";

/// Every package is code that somebody here answers for. The engine, the server and the command
/// need about 100; the adapters' axum and tonic and the tests' proptest, gzip and TLS another 80;
/// TLS, the Kafka codec and metrics are expected to bring as many again. Arrow and Parquet, built
/// only with the feature `parquet`, need 60; a bucket's requests, with the feature `remote`, 21.
const PACKAGES_MAX: usize = 370;

/// Dependencies between the workspace's crates, from `cargo metadata --no-deps`.
pub(super) fn check_arrows(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in array(metadata, "packages") {
        let (name, manifest) = (text(package, "name"), format!("crate {}", text(package, "name")));
        let mut add = |message| {
            findings.push(Finding { path: manifest.clone(), line: 0, message });
        };
        let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
            add("is not in the table of crates: give it a line in ARROWS and ARCHITECTURE.md"
                .into());
            continue;
        };
        for dependency in array(package, "dependencies") {
            let on = text(dependency, "name");
            let is_sibling = ARROWS.iter().any(|(crate_name, _)| *crate_name == on);
            let is_for_tests = on == TEST_CRATE && text(dependency, "kind") == "dev";
            if is_sibling && !is_for_tests && !allowed.contains(&on) {
                add(format!("depends on {on}: move what it needs to a crate below both"));
            }
        }
    }
    findings
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The number of packages in the lock file.
pub(super) fn check_lock(files: &[SourceFile]) -> Vec<Finding> {
    let Some(lock) = files.iter().find(|file| file.path == "Cargo.lock") else { return Vec::new() };
    let count = lock.text.lines().filter(|line| *line == "[[package]]").count();
    if count <= PACKAGES_MAX {
        return Vec::new();
    }
    let message = format!(
        "{count} packages, at most {PACKAGES_MAX}: leave a dependency or its default features out"
    );
    vec![lock.finding(0, message)]
}

/// Every crate has the workspace's lints on, and clippy counts functions' lines.
pub(super) fn check_manifests(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let is_package = file.path.ends_with("Cargo.toml") && file.text.contains("\n[package]\n")
            || file.text.starts_with("[package]\n") && file.path.ends_with("Cargo.toml");
        if is_package && !file.text.contains("\n[lints]\nworkspace = true\n") {
            findings.push(file.finding(0, "no `[lints] workspace = true`: add it"));
        }
        if file.path == "clippy.toml" && !file.text.contains("too-many-lines-threshold = 70\n") {
            findings.push(file.finding(0, "functions have 70 lines at most: set the threshold"));
        }
    }
    findings
}

/// One test binary a crate, `tests/it/main.rs`, and every file next to it declared there.
pub(super) fn check_tests(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let Some((package, test)) = file.path.split_once("/tests/") else { continue };
        let Some(inside) = test.strip_prefix("it/") else {
            findings.push(file.finding(0, "a separate test binary: move it into tests/it/"));
            continue;
        };
        let Some(module) = inside.strip_suffix(".rs").filter(|name| *name != "main") else {
            continue;
        };
        if module.contains('/') {
            continue;
        }
        let main = format!("{package}/tests/it/main.rs");
        let declaration = format!("mod {module};");
        let is_declared = files.iter().any(|file| {
            file.path == main && file.text.lines().any(|line| line.trim_end() == declaration)
        });
        if !is_declared {
            let message = format!("never built: declare `{declaration}` in {main}");
            findings.push(file.finding(0, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(name: &str, on: &str, kind: Option<&str>) -> Value {
        json!({"packages": [{"name": name, "dependencies": [{"name": on, "kind": kind}]}]})
    }

    #[test]
    fn dependencies_point_down_the_table_and_the_testkit_is_for_tests() {
        let count = |name, on, kind| check_arrows(&metadata(name, on, kind)).len();
        assert_eq!(count("underpass-serve", "underpass", None), 0);
        assert_eq!(count("underpass", "underpass-serve", None), 1);
        assert_eq!(count("underpass-serve", "underpass-log", None), 1);
        assert_eq!(count("underpass", "underpass-testkit", Some("dev")), 0);
        assert_eq!(count("underpass", "underpass-testkit", None), 1);
        assert_eq!(count("underpass", "libc", None), 0);
        assert_eq!(count("underpass-new", "libc", None), 1);
    }

    #[test]
    fn too_many_packages_are_found() {
        let lock = |count| vec![SourceFile::of("Cargo.lock", &"[[package]]\n".repeat(count))];
        assert_eq!(check_lock(&lock(PACKAGES_MAX)), []);
        assert_eq!(check_lock(&lock(PACKAGES_MAX + 1)).len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let manifest = "[package]\nname = \"a\"\n";
        let with_lints = format!("{manifest}\n[lints]\nworkspace = true\n");
        let count = |text: &str| check_manifests(&[SourceFile::of("a/Cargo.toml", text)]).len();
        assert_eq!((count(manifest), count(&with_lints), count("[workspace]\n")), (1, 0, 0));
        assert_eq!(check_manifests(&[SourceFile::of("clippy.toml", "")]).len(), 1);
    }

    #[test]
    fn a_test_file_that_nothing_declares_is_found() {
        let files = [
            SourceFile::of("crates/a/tests/it/main.rs", "mod declared;\n"),
            SourceFile::of("crates/a/tests/it/declared.rs", ""),
            SourceFile::of("crates/a/tests/it/forgotten.rs", ""),
            SourceFile::of("crates/a/tests/apart.rs", ""),
        ];
        let found: Vec<String> = check_tests(&files).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["crates/a/tests/it/forgotten.rs", "crates/a/tests/apart.rs"]);
    }
}
