//! What Rust's standard library asks of WASI. Prints the same on every system.
use std::{
    collections::HashMap, env, fs,
    io::{self, BufRead, Read, Seek, SeekFrom, Write},
    process, thread,
    time::{Duration, Instant, SystemTime},
};

fn main() -> io::Result<()> {
    let root = env::args().nth(1).expect("the folder");
    println!("variable {:?}", env::var("KIND"));
    for line in io::stdin().lock().lines() {
        println!("read {}", line?);
    }
    let text = format!("{root}/text");
    fs::write(&text, "one\ntwo\nthree\n")?;
    let mut file = fs::OpenOptions::new().read(true).append(true).open(&text)?;
    file.write_all(b"four\n")?;
    file.seek(SeekFrom::Start(4))?;
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    println!("{rest:?} of {} bytes", file.metadata()?.len());
    file.set_len(7)?;
    drop(file);
    println!("{:?}", fs::read_to_string(&text)?);
    fs::create_dir_all(format!("{root}/a/b/c"))?;
    fs::copy(&text, format!("{root}/a/b/copy"))?;
    fs::rename(&text, format!("{root}/a/moved"))?;
    let mut names = Vec::new();
    for entry in fs::read_dir(format!("{root}/a"))? {
        let entry = entry?;
        names.push((entry.file_name(), entry.file_type()?.is_dir()));
    }
    names.sort();
    println!("{names:?}");
    for path in ["nothing", "a/moved/x", "../outside/secret"] {
        println!("{path}: {:?}", fs::read(format!("{root}/{path}")).is_err());
    }
    println!("{:?}", fs::read(format!("{root}/nothing")).unwrap_err().kind());
    println!("{:?}", fs::create_dir(format!("{root}/a")).unwrap_err().kind());
    println!("{:?}", fs::remove_file(format!("{root}/nothing")).unwrap_err().kind());
    let age = SystemTime::now().duration_since(fs::metadata(format!("{root}/a/b"))?.modified()?);
    println!("modified just now: {}", age.unwrap_or_default() < Duration::from_secs(60));
    fs::remove_dir_all(format!("{root}/a"))?;
    println!("left: {}", fs::read_dir(&root)?.count());
    let start = Instant::now();
    thread::sleep(Duration::from_millis(30));
    println!("slept: {}", start.elapsed() >= Duration::from_millis(30));
    let counted: HashMap<_, _> = (0..100).map(|n| (n, n * n)).collect(); // seeded at random
    println!("{}", counted.values().sum::<i32>());
    eprintln!("to standard error");
    process::exit(42)
}
