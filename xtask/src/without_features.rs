//! The program without its features: it builds, and has nothing of what they bring.

use anyhow::{Context, Result, ensure};

use crate::ci;
use underpass_testkit::workspace;

/// The program alone.
const PROGRAM: [&str; 2] = ["--package=underpass-cli", "--no-default-features"];

/// Crates that only features need, by the feature.
const BROUGHT: [(&str, &[&str]); 1] =
    [("remote", &["http-cache-semantics", "object_store", "underpass-remote"])];

/// Builds it and looks at what it is made of.
///
/// # Errors
///
/// If it does not build, or has a crate that a feature brings.
pub(crate) fn run() -> Result<()> {
    ci::cargo(&["build", PROGRAM[0], PROGRAM[1]])?;
    let mut tree = workspace::cargo();
    tree.arg("tree").args(PROGRAM).args(["--edges=normal,build", "--prefix=none"]);
    let output = tree.output().context("cargo tree")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).context("what cargo tree prints")?;
    let crates = check(&tree)?;
    println!("{crates} crates, none of those that features bring");
    Ok(())
}

/// How many crates a tree has.
fn check(tree: &str) -> Result<usize> {
    let mut crates: Vec<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    crates.sort_unstable();
    crates.dedup();
    ensure!(crates.contains(&"underpass-cli"), "cargo tree names no crate of the program");
    for (feature, brought) in BROUGHT {
        let there: Vec<_> = brought.iter().filter(|name| crates.contains(name)).copied().collect();
        ensure!(
            there.is_empty(),
            "the program without its feature {feature} has {}: let the feature alone bring it",
            there.join(", ")
        );
    }
    Ok(crates.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_a_feature_brings_is_found_and_a_longer_name_is_not() {
        let tree = "underpass-cli v0.0.0 (/x)\nobject_store_of_others v1\nanyhow v1.0.0 (*)\n";
        assert_eq!(check(tree).unwrap(), 3);
        let error = check(&format!("{tree}object_store v0.14.2\n")).unwrap_err().to_string();
        assert!(error.contains("feature remote has object_store: "), "{error}");
        assert!(check("").is_err());
    }
}
