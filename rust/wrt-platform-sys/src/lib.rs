//! The C library as it is, by bindgen. For people there is the crate `wrt-platform`.
//!
//! `bindings.rs` is checked in, so that nobody needs libclang; the feature `bindgen` makes it
//! anew from the headers.
#![no_std]
#![allow(missing_docs, non_camel_case_types)]
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, rustdoc::bare_urls)]

#[cfg(feature = "bindgen")]
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
#[cfg(not(feature = "bindgen"))]
include!("bindings.rs");
