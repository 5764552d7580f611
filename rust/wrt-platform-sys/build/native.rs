//! The C library itself: compiled from the sources of this crate, or one that is installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
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
    check_sources()?;
    let (guests, kernel) = simulated()?;
    let files = [sources()?, kernel].concat();
    let (interpreter, others): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|path| file_name(path).starts_with("interpreter"));
    let mut objects = intermediates(interpreter_compiler(), interpreter)?;
    if !guests.is_empty() {
        objects.extend(intermediates(guest_compiler()?, guests)?);
    }
    if target("OS") == "linux" {
        objects.extend(intermediates(sandbox_compiler()?, listed(Path::new("c/src/sandbox"))?)?);
    }
    compiler().files(others).objects(objects).try_compile("wrt_platform").map_err(explain)
}

fn intermediates(mut compiler: cc::Build, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    compiler.files(files).try_compile_intermediates().map_err(explain)
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

/// For sources of a system that this one simulates: they see no header of this one's C library.
/// The CMake build has the same flags (cmake/guest.cmake).
fn guest_compiler() -> Result<cc::Build, String> {
    let mut build = compiler();
    let own = compiler_headers(&build)?;
    build.flag("-nostdinc").flag("-isystem").flag(own);
    build.flag("-idirafter").flag("c/sim/qnx/include");
    for name in ["__linux__", "__linux", "linux", "__gnu_linux__"] {
        build.flag(format!("-U{name}"));
    }
    build.define("__QNX__", "1").define("__QNXNTO__", "1");
    Ok(build)
}

/// For the sandbox, which carries the sealed program as bytes, where there is one.
fn sandbox_compiler() -> Result<cc::Build, String> {
    let mut build = compiler();
    if matches!(target("ARCH").as_str(), "x86_64" | "aarch64") {
        let program = link_worker(&build)?;
        build.define("WRT_WORKER_FILE", format!("\"{}\"", program.display()).as_str());
    }
    Ok(build)
}

/// Links the sealed program by itself, as c/src/worker/CMakeLists.txt has it, and for its reasons.
fn link_worker(build: &cc::Build) -> Result<PathBuf, String> {
    let folder = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    let program = folder.join("wrt_worker");
    let compiler = build.try_get_compiler().map_err(explain)?;
    let mut command = compiler.to_command();
    command.args(["-std=c11", "-O2", "-Ic/include", "-ffp-contract=off", "-fno-sanitize=all"]);
    command.args(["-fno-pic", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-w"]);
    command.args(["-ffunction-sections", "-fdata-sections", "-fno-strict-aliasing"]);
    if compiler.is_like_gnu() {
        command.args(["-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-falign-functions=64"]);
    } else {
        command.args(["-fno-vectorize", "-fno-slp-vectorize"]);
    }
    if target("ARCH") == "aarch64" {
        command.arg("-mno-outline-atomics");
    }
    command.args(["-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none"]);
    command.args(["-Wl,-z,noexecstack", "-Wl,-s"]);
    command.args(listed(Path::new("c/src/worker"))?).args(["-lgcc", "-o"]).arg(&program);
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(program);
    }
    Err(format!("the sealed program: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Where gcc and clang keep the headers that are their own.
fn compiler_headers(build: &cc::Build) -> Result<String, String> {
    let compiler = build.try_get_compiler().map_err(explain)?;
    let asked = Command::new(compiler.path()).arg("-print-file-name=include").output();
    let output = asked.map_err(|error| format!("{}: {error}", compiler.path().display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What Linux simulates: sources that are compiled as the other system's own, and all others. A
/// port is left out, since the library has Linux's.
fn simulated() -> Result<(Vec<PathBuf>, Vec<PathBuf>), String> {
    if target("OS") != "linux" {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut backend = listed(Path::new("c/src/qnx"))?;
    backend.retain(|path| file_name(path) != "port.c");
    let kernel = [listed(Path::new("c/sim/common"))?, listed(Path::new("c/sim/qnx"))?].concat();
    let (entries, kernel): (Vec<_>, Vec<_>) =
        kernel.into_iter().partition(|path| file_name(path).starts_with("entry_"));
    Ok(([backend, entries].concat(), kernel))
}

/// The crate is nothing without the C tree.
fn check_sources() -> Result<(), String> {
    if !Path::new("c/src/core").is_dir() {
        return Err(
            "the C sources (c/src) are missing from this copy of the crate. In a checkout \
                    of the repository, rust/wrt-platform-sys/c must be a symbolic link to the \
                    folder c (on Windows: git config core.symlinks true, then check out again)."
                .into(),
        );
    }
    Ok(())
}

/// What the target is made of: the portable folders, and those of its system.
fn sources() -> Result<Vec<PathBuf>, String> {
    let folders: &[&str] = match (target("OS").as_str(), target("ARCH").as_str()) {
        ("linux", _) => &["core", "engine", "linux", "wasi", "doctor"],
        ("nto" | "qnx", _) => &["core", "engine", "qnx"],
        ("none", "arm") => &["core", "engine", "cortexm"],
        (system, processor) => {
            return Err(format!(
                "wrt_platform has no port for {system} on {processor} yet: Linux, QNX and \
                 bare-metal Arm only. With WRT_PLATFORM_SYS_USE_PKG_CONFIG=1 an installed library is used instead."
            ));
        }
    };
    let mut files = Vec::new();
    for folder in folders {
        files.extend(listed(&Path::new("c/src").join(folder))?);
    }
    Ok(files)
}

fn target(part: &str) -> String {
    env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default()
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
