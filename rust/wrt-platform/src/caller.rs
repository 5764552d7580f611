//! The instance whose code called a host function, as that function sees it.

use core::marker::PhantomData;

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::instance::raw;
use crate::instance::storage::InstanceStorage;
use crate::instance::{InstanceUsage, Trap};
use crate::value::{FuncRef, Value};

/// The instance that called. It may be read, written, and called again from inside.
///
/// A view of its memory ends before anything is called, because that may write to it:
///
/// ```compile_fail,E0502
/// fn host(caller: &mut wrt_platform::Caller<'_>) {
///     let view = caller.memory();
///     caller.call("tick", &[]).unwrap();
///     assert_eq!(view[0], 0);
/// }
/// ```
pub struct Caller<'call> {
    storage: &'call InstanceStorage,
    /// One thread: the one that runs the guest.
    here: PhantomData<*mut ()>,
}

impl<'call> Caller<'call> {
    pub(crate) const fn new(storage: &'call InstanceStorage) -> Self {
        Self { storage, here: PhantomData }
    }

    /// The caller's memory; empty if it has none.
    pub fn memory(&self) -> &[u8] {
        // SAFETY: the guest waits for us; all that writes borrows the caller exclusively.
        unsafe { raw::memory(self.storage) }
    }

    /// The caller's memory, to be written; empty if it has none.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `memory`.
        unsafe { raw::memory_mut(self.storage) }
    }

    /// Calls an export of the caller, and waits for its end.
    #[cfg(feature = "alloc")]
    pub fn call(&mut self, name: &str, arguments: &[Value]) -> Result<alloc::vec::Vec<Value>> {
        let function = raw::function(self.storage, name)?;
        raw::call_to_vec(self.storage, function, arguments, 0, |number| self.storage.knows(number))
    }

    /// As `call`, with room for the results.
    pub fn call_into(
        &mut self,
        name: &str,
        arguments: &[Value],
        results: &mut [Value],
    ) -> Result<()> {
        let function = raw::function(self.storage, name)?;
        let knows = |number| self.storage.knows(number);
        raw::call(self.storage, function, arguments, results, 0, knows)
    }

    /// Calls a function that the guest handed over.
    pub fn call_function(
        &mut self,
        function: FuncRef,
        arguments: &[Value],
        results: &mut [Value],
    ) -> Result<()> {
        let knows = |number| self.storage.knows(number);
        let function = function.pointer(knows)?;
        raw::call(self.storage, function, arguments, results, 0, knows)
    }

    /// The token that an interrupt of the running call requests, wherever that call began: for
    /// waits. An [`Interrupted`](crate::ErrorKind::Interrupted) of such a wait may be returned:
    /// the call is interrupted then, and when it goes on the function is called again.
    pub fn cancel_token(&self) -> &CancelToken {
        raw::cancel_token(self.storage)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<InstanceUsage> {
        raw::usage(self.storage)
    }

    /// The guest's frames, the innermost first.
    pub fn backtrace(&self) -> impl Iterator<Item = Trap<'_>> {
        // SAFETY: it is alive while it calls.
        (0..).map_while(|level| unsafe { Trap::frame(self.storage.raw(), level) })
    }
}
