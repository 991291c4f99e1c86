//! Links the unwinder into the program.
//!
//! A shared libgcc_s is opened and relocated at every start, and its constructor asks CPUID a
//! dozen times, which a virtual machine answers in tens of microseconds each. Where the C
//! compiler comes without a static one, the shared one is linked as usual.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_native = env::var_os("HOST") == env::var_os("TARGET");
    if !is_native || env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return;
    }
    let Ok(answer) = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output() else {
        return;
    };
    let path = String::from_utf8_lossy(&answer.stdout);
    // The bare name comes back for what is not found.
    if let Some(directory) = Path::new(path.trim()).parent().filter(|at| at.is_absolute()) {
        println!("cargo::rustc-link-search=native={}", directory.display());
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
