//! Builds the C library, or finds one that is installed.
//!
//! `c` is a link to the repository's C tree. Cargo follows it when it packs the crate, so a
//! published crate carries its own copy.

#[cfg(feature = "bindgen")]
#[path = "build/bindings.rs"]
mod bindings;
#[path = "build/native.rs"]
mod native;

use std::env;

const USE_PKG_CONFIG: &str = "WRT_PLATFORM_SYS_USE_PKG_CONFIG";

fn main() {
    println!("cargo::rerun-if-env-changed={USE_PKG_CONFIG}");
    println!("cargo::rerun-if-env-changed=DOCS_RS");
    println!("cargo::rerun-if-changed=c/include");
    println!("cargo::rerun-if-changed=c/src");
    println!("cargo::rerun-if-changed=c/sim");
    println!("cargo::rerun-if-changed=build");
    if let Err(reason) = prepare() {
        println!("cargo::error=wrt-platform-sys: {reason}");
        std::process::exit(1);
    }
}

fn prepare() -> Result<(), String> {
    #[cfg(feature = "bindgen")]
    bindings::generate()?;
    if env::var_os("DOCS_RS").is_some() {
        return Ok(()); // documentation is made from the bindings alone; nothing is linked
    }
    if env::var(USE_PKG_CONFIG).is_ok_and(|value| value == "1") {
        return native::find_installed();
    }
    native::compile()
}
