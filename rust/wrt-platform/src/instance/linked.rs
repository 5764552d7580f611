//! An instance that another one owns, lent to be called or written.

use core::{ops::Deref, time::Duration};

use alloc::vec::Vec;

use super::{Instance, Progress};
use crate::error::Result;
use crate::table::TableView;
use crate::value::{FuncRef, Value};

/// What [`Instance::linked_mut`] gives: all that an instance can do, but not the instance itself,
/// which has to stay where it is:
///
/// ```compile_fail,E0308
/// fn take<'a>(owner: &mut wrt_platform::Instance<'a>, other: &mut wrt_platform::Instance<'a>) {
///     std::mem::swap(owner.linked_mut("library").unwrap(), other);
/// }
/// ```
pub struct Linked<'owner, 'a>(pub(crate) &'owner mut Instance<'a>);

impl<'a> Deref for Linked<'_, 'a> {
    type Target = Instance<'a>;

    fn deref(&self) -> &Instance<'a> {
        self.0
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {$(
        #[doc = concat!("As [`Instance::", stringify!($name), "`].")]
        pub fn $name(&mut self $(, $argument: $kind)*) -> $result {
            self.0.$name($($argument),*)
        }
    )*};
}

impl<'a> Linked<'_, 'a> {
    forward! {
        memory_mut() -> &mut [u8];
        grow_memory(additional_pages: u32) -> Result<u32>;
        set_global(name: &str, value: Value) -> Result<()>;
        table(name: &str) -> Result<TableView<'_>>;
        linked_mut(module: &str) -> Option<Linked<'_, 'a>>;
        set_fuel(fuel: Option<u64>) -> Result<()>;
        call(name: &str, arguments: &[Value]) -> Result<Vec<Value>>;
        call_into(name: &str, arguments: &[Value], results: &mut [Value]) -> Result<()>;
        call_function(function: FuncRef, arguments: &[Value], results: &mut [Value]) -> Result<()>;
        set_timeout(timeout: Option<Duration>) -> ();
        start() -> Result<()>;
        begin(name: &str, arguments: &[Value]) -> Result<()>;
        run(instructions: u64) -> Result<Progress>;
        step(instructions: u64) -> Result<Progress>;
        abort() -> Result<()>;
    }
}
