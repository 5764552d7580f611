//! The C library itself: compiled from the sources of this crate, or one that is installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Links the library that pkg-config knows.
pub fn find_installed() -> Result<(), String> {
    let wanted = env!("CARGO_PKG_VERSION");
    pkg_config::Config::new().atleast_version(wanted).probe("wrt_platform").map_err(|error| {
        format!(
            "no installed wrt_platform {wanted} was found, though \
             WRT_PLATFORM_SYS_USE_PKG_CONFIG=1 asks for it: {error}. Set PKG_CONFIG_PATH to the \
             folder of wrt_platform.pc, or unset the variable to build the library from source."
        )
    })?;
    Ok(())
}

/// Compiles the sources for the target.
pub fn compile() -> Result<(), String> {
    let sources = sources()?;
    let (interpreter, others): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|path| file_name(path).starts_with("interpreter"));
    let objects = if interpreter.is_empty() {
        Vec::new()
    } else {
        interpreter_compiler().files(interpreter).try_compile_intermediates().map_err(explain)?
    };
    compiler().files(others).objects(objects).try_compile("wrt_platform").map_err(explain)
}

fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    // -O2 always, like every packaged build; products are not fused, so that results are the
    // same on every machine.
    build.std("c11").warnings(false).opt_level(2).include("c/include").flag("-ffp-contract=off");
    build.flag_if_supported("-fvisibility=hidden");
    build
}

/// As the CMake build has it, and for its reasons.
fn interpreter_compiler() -> cc::Build {
    let mut build = compiler();
    let flags = [
        "-fno-tree-vectorize",
        "-fno-tree-slp-vectorize",
        "-fno-strict-aliasing",
        "-falign-functions=64",
    ];
    flags.into_iter().for_each(|flag| {
        build.flag_if_supported(flag);
    });
    build
}

/// What the target is made of: the portable folders, and those of its system.
fn sources() -> Result<Vec<PathBuf>, String> {
    if !Path::new("c/src/core").is_dir() {
        return Err(
            "the C sources (c/src) are missing from this copy of the crate. In a checkout \
                    of the repository, rust/wrt-platform-sys/c must be a symbolic link to the \
                    folder c (on Windows: git config core.symlinks true, then check out again)."
                .into(),
        );
    }
    let target = |part| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    let folders: &[&str] = match (target("OS").as_str(), target("ARCH").as_str()) {
        ("linux", _) => &["core", "engine", "linux", "wasi"],
        ("none", "arm") => &["core", "engine", "cortexm"],
        (system, processor) => {
            return Err(format!(
                "wrt_platform has no port for {system} on {processor} yet: Linux and bare-metal \
                 Arm only. With WRT_PLATFORM_SYS_USE_PKG_CONFIG=1 an installed library is used instead."
            ));
        }
    };
    let mut files = Vec::new();
    for folder in folders {
        files.extend(listed(&Path::new("c/src").join(folder))?);
    }
    Ok(files)
}

/// The sources that the folder's CMakeLists.txt names: one list for both builds.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = folder.join("CMakeLists.txt");
    let text = fs::read_to_string(&list)
        .map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    let words = text.split(|letter: char| letter.is_whitespace() || letter == '(' || letter == ')');
    let mut names: Vec<_> = words.filter(|word| word.ends_with(".c")).collect();
    names.sort_unstable();
    names.dedup(); // a file with options of its own is named twice
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn explain(error: cc::Error) -> String {
    let target = env::var("TARGET").unwrap_or_default();
    format!(
        "the C library could not be compiled for {target}: {error}. A C11 compiler for that \
         target is needed: on Debian gcc, for Cortex-M gcc-arm-none-eabi; another one is chosen \
         by CC_{}.",
        target.replace('-', "_")
    )
}
