//! Walls that are leant against before there is a guest.

fn main() -> Result<(), wrt_platform::Error> {
    let report = wrt_platform::selftest()?;
    report.check()?; // a program that counts on its walls ends here
    println!("{} walls were leant against, and hold", report.rows().len());
    Ok(())
}
