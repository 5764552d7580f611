//! Makes bindings.rs from all public headers. The feature `bindgen` asks for it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

const INCLUDE: &str = "c/include";
const WRITE: &str = "WRT_PLATFORM_SYS_WRITE_BINDINGS";

/// Writes OUT_DIR/bindings.rs, and src/bindings.rs if WRT_PLATFORM_SYS_WRITE_BINDINGS=1 asks
/// for it: that is how the checked-in file is made.
pub fn generate() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed={WRITE}");
    let text = bindings()?;
    let folder = env::var_os("OUT_DIR").expect("cargo sets it");
    write(&PathBuf::from(folder).join("bindings.rs"), &text)?;
    if env::var(WRITE).is_ok_and(|value| value == "1") {
        write(Path::new("src/bindings.rs"), &text)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn bindings() -> Result<String, String> {
    let mut headers = Vec::new();
    collect_headers(Path::new(INCLUDE), &mut headers)?;
    headers.sort();
    let mut builder = bindgen::Builder::default()
        .header_contents("all.h", &include_lines(&headers))
        .clang_args(["-std=c11", "-Ic/include"])
        .use_core()
        .layout_tests(false) // pointers have other sizes on other targets
        .prepend_enum_name(false)
        .formatter(bindgen::Formatter::Prettyplease)
        .allowlist_item("(wrt|WRT)_.*")
        .rust_target(bindgen::RustTarget::stable(85, 0).map_err(|error| error.to_string())?)
        .rust_edition(bindgen::RustEdition::Edition2024);
    for name in objects(&headers)? {
        builder = builder.no_copy(name);
    }
    let bindings = builder.generate().map_err(|error| format!("bindgen: {error}"))?;
    Ok(bindings.to_string())
}

fn collect_headers(folder: &Path, headers: &mut Vec<PathBuf>) -> Result<(), String> {
    let fail = |error| format!("cannot list {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            collect_headers(&path, headers)?;
        } else if path.extension().is_some_and(|end| end == "h") {
            headers.push(path);
        }
    }
    Ok(())
}

fn include_lines(headers: &[PathBuf]) -> String {
    let inside = headers.iter().filter_map(|path| path.strip_prefix(INCLUDE).ok());
    inside.map(|path| format!("#include \"{}\"\n", path.display())).collect()
}

/// Types that must not be copied: those with an `_init`, and the two that C fills in itself.
fn objects(headers: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut names = vec!["wrt_pages".to_owned(), "wrt_function".to_owned()];
    for header in headers {
        let text = fs::read_to_string(header)
            .map_err(|error| format!("cannot read {}: {error}", header.display()))?;
        let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        names.extend(words.filter_map(|word| word.strip_suffix("_init")).map(str::to_owned));
    }
    names.sort();
    names.dedup();
    Ok(names)
}
