//! The code blocks of qnx_memory_partitioning.md, each as a function, on the simulated kernel:
//! `cargo run --example qnx_memory_partitioning`. What is written in another way than there is
//! listed, with the reason, in docs/documents_qnx.rst.

use std::error::Error;

#[path = "qnx_documents/guest.rs"]
mod guest;
#[path = "qnx_documents/partitions.rs"]
mod partitions;

fn main() -> Result<(), Box<dyn Error>> {
    for (name, block) in partitions::BLOCKS {
        block()?;
        println!("{name}");
    }
    Ok(())
}
