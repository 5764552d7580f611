//! Safe Rust face of wrt_platform.
#![no_std]
#![warn(missing_docs)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;

pub use error::{Error, ErrorKind, Result};
pub use wrt_platform_sys::wrt_layout as Layout;
