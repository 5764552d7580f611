//! Instances: modules that can be called. Mirrors `wrt_platform/instance.h`.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wrt_platform::{Instance, Module, Value};
//!
//! let bytes = wat::parse_str(
//!     r#"(module (func (export "add") (param i32 i32) (result i32)
//!          local.get 0 local.get 1 i32.add))"#,
//! )?;
//! let module = Module::new(&bytes)?;
//! let mut instance = Instance::builder().with_module(&module).with_fuel(1_000).build()?;
//! assert_eq!(instance.call("add", &[Value::I32(2), Value::I32(3)])?, [Value::I32(5)]);
//! # Ok(())
//! # }
//! ```

mod builder;
mod call;
#[cfg(feature = "alloc")]
mod linked;
pub(crate) mod raw;
pub(crate) mod storage;
mod trap;

use core::{marker::PhantomData, ops::Deref};

use wrt_platform_sys as sys;
pub use wrt_platform_sys::wrt_instance_usage as InstanceUsage;

pub use builder::InstanceBuilder;
pub use call::Progress;
#[cfg(feature = "alloc")]
pub use linked::Linked;
pub use storage::InstanceStorage;
pub use trap::{Trap, TrapCode};

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::module::Module;
use crate::page_allocator::PageAllocator;
use crate::table::{Owner, TableView};
use crate::value::{FuncRef, Value};
use crate::{global, memory};

#[cfg(feature = "alloc")]
use crate::link::Parts;

/// A module with its memory, tables, globals and guest stack. `Send`, not `Sync`: one thread at a
/// time, [`InterruptHandle`] aside.
///
/// A view of its memory ends before the guest runs, because that may write to it, or grow it:
///
/// ```compile_fail,E0502
/// fn run(instance: &mut wrt_platform::Instance<'_>) {
///     let view = instance.memory();
///     instance.call("tick", &[]).unwrap();
///     assert_eq!(view[0], 0);
/// }
/// ```
///
/// Its module stays where it is, for as long:
///
/// ```compile_fail,E0505
/// # use wrt_platform::{Instance, Module};
/// let module = Module::new(b"\0asm\x01\0\0\0").unwrap();
/// let instance = Instance::builder().with_module(&module).build().unwrap();
/// drop(module);
/// instance.memory();
/// ```
pub struct Instance<'a> {
    place: Place<'a>,
    timeout_ns: u64,
    /// Of the call that was begun last, for its results.
    begun: *mut sys::wrt_function,
    #[cfg(feature = "alloc")]
    parts: Parts<'a>,
    borrowed: PhantomData<Borrowed<'a>>,
}

/// What a builder borrows: module, buffer, imports and allocator.
type Borrowed<'a> = (&'a Module<'a>, &'a mut [u64], &'a mut (dyn PageAllocator + Send));

// SAFETY: the C instance is plain memory, tied to no thread; what it borrows or owns is borrowed
// exclusively or only read, and is `Send`: the builder asks for that.
unsafe impl Send for Instance<'_> {}

/// Where the C object is.
#[derive(Clone)]
pub(crate) enum Place<'a> {
    Borrowed(&'a InstanceStorage),
    #[cfg(feature = "alloc")]
    Shared(alloc::sync::Arc<InstanceStorage>),
}

impl Deref for Place<'_> {
    type Target = InstanceStorage;

    fn deref(&self) -> &InstanceStorage {
        match self {
            Self::Borrowed(storage) => storage,
            #[cfg(feature = "alloc")]
            Self::Shared(storage) => storage,
        }
    }
}

/// Stops an instance from another thread, or from an interrupt handler. It may outlive the
/// instance, and then does nothing; it never outlives memory that was lent to the instance.
#[derive(Clone)]
pub struct InterruptHandle<'a> {
    place: Place<'a>,
    number: usize,
}

impl InterruptHandle<'_> {
    /// Stops the running call at its next loop or call, or else the next call, with
    /// [`Interrupted`](crate::ErrorKind::Interrupted). Threads: any.  Interrupt handlers: yes.
    /// Cost: one store.
    pub fn interrupt(&self) {
        self.place.interrupt(self.number);
    }

    /// Takes an interrupt back that no call has seen yet. Threads: any.  Interrupt handlers: yes.
    /// Cost: one store.
    pub fn clear_interrupt(&self) {
        self.place.clear_interrupt(self.number);
    }

    /// How often the guest has shown that it gets on: moves every 2^20 instructions and when a
    /// host function has done its work, not while one waits. It wraps; `None`: the instance has
    /// ended. Threads: any.  Interrupt handlers: yes.  Cost: one load.
    pub fn heartbeat(&self) -> Option<u32> {
        self.place.heartbeat(self.number)
    }
}

impl<'a> Instance<'a> {
    /// Starts a builder.
    pub const fn builder() -> InstanceBuilder<'a> {
        InstanceBuilder::new()
    }

    /// A handle that stops this instance from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle<'a> {
        InterruptHandle { place: self.place.clone(), number: self.number() }
    }

    /// The same, for a thread that may live for ever. There is none if storage or buffer are
    /// lent: the instance could be forgotten, and its buffer be somebody else's then.
    #[cfg(feature = "alloc")]
    pub fn shared_interrupt_handle(&self) -> Option<InterruptHandle<'static>> {
        match &self.place {
            Place::Shared(storage) if self.parts.owns_buffer() => Some(InterruptHandle {
                place: Place::Shared(storage.clone()),
                number: self.number(),
            }),
            _ => None,
        }
    }

    /// The token that an interrupt requests, for waits of the caller's own between two calls; a
    /// host function asks its [`Caller`](crate::Caller).
    pub fn cancel_token(&self) -> &CancelToken {
        raw::cancel_token(&self.place)
    }

    /// Its memory, own or imported; empty if it has none.
    pub fn memory(&self) -> &[u8] {
        // SAFETY: guests run, and write, only by `&mut self`; imports are borrowed or owned.
        unsafe { raw::memory(&self.place) }
    }

    /// Its memory, to be written; empty if it has none.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `memory`.
        unsafe { raw::memory_mut(&self.place) }
    }

    /// Grows its memory as `memory.grow` does; returns the pages that there were before.
    pub fn grow_memory(&mut self, additional_pages: u32) -> Result<u32> {
        // SAFETY: C refuses a null pointer; nobody looks at the memory.
        unsafe { memory::grow(raw::memory_object(&self.place), additional_pages) }
    }

    /// Value of an exported global.
    pub fn global(&self, name: &str) -> Result<Value> {
        let found = raw::export_of(&self.place, name, sys::WRT_EXTERN_GLOBAL)?;
        // SAFETY: the kind says which member counts; it lives with the instance.
        Ok(unsafe { global::value(found.global, self.number()) })
    }

    /// Writes an exported global, if it is mutable.
    pub fn set_global(&mut self, name: &str, value: Value) -> Result<()> {
        let found = raw::export_of(&self.place, name, sys::WRT_EXTERN_GLOBAL)?;
        // SAFETY: as in `global`.
        unsafe { global::set(found.global, value, |number| self.knows(number)) }
    }

    /// An exported table.
    pub fn table(&mut self, name: &str) -> Result<TableView<'_>> {
        let found = raw::export_of(&self.place, name, sys::WRT_EXTERN_TABLE)?;
        // SAFETY: the kind says which member counts; it lives with the instance.
        Ok(unsafe { TableView::new(found.table, self) })
    }

    /// An exported function, for [`call_function`](Self::call_function): saves the search.
    pub fn function(&self, name: &str) -> Result<FuncRef> {
        let function = raw::function(&self.place, name)?;
        // SAFETY: it lives with the instance.
        Ok(unsafe { FuncRef::from_pointer(function, self.number()) })
    }

    /// The instance that was given to this one under that name, with
    /// [`with_instance`](InstanceBuilder::with_instance).
    #[cfg(feature = "alloc")]
    pub fn linked(&self, module: &str) -> Option<&Instance<'a>> {
        self.parts.linked(module)
    }

    /// The same, to be called or written.
    #[cfg(feature = "alloc")]
    pub fn linked_mut(&mut self, module: &str) -> Option<Linked<'_, 'a>> {
        self.parts.linked_mut(module).map(Linked)
    }

    /// The WASI that was given to it, with its exit code.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub fn wasi(&self) -> Option<&crate::wasi::Wasi<'a>> {
        self.parts.wasi()
    }

    /// What has been used.
    pub fn usage(&self) -> Result<InstanceUsage> {
        raw::usage(&self.place)
    }

    /// Instructions that are left; `None`: without bound.
    pub fn fuel(&self) -> Result<Option<u64>> {
        Ok(Some(self.usage()?.fuel_left).filter(|fuel| *fuel != u64::MAX))
    }

    /// Sets what fuel is left; `None`: without bound.
    pub fn set_fuel(&mut self, fuel: Option<u64>) -> Result<()> {
        let (has_fuel, fuel) = (fuel.is_some(), fuel.unwrap_or(0));
        // SAFETY: alive.
        crate::error::check(unsafe { sys::wrt_instance_set_fuel(self.place.raw(), has_fuel, fuel) })
    }

    /// Why the last call trapped, or where the paused call stands.
    pub fn trap(&self) -> Result<Trap<'_>> {
        // SAFETY: alive, as are those it is linked with.
        unsafe { Trap::last(self.place.raw()) }
    }

    /// The frames of the last trap or the paused call, the innermost first.
    pub fn backtrace(&self) -> impl Iterator<Item = Trap<'_>> {
        // SAFETY: as in `trap`.
        (0..).map_while(|level| unsafe { Trap::frame(self.place.raw(), level) })
    }
}

#[cfg(feature = "alloc")]
impl Instance<'_> {
    pub(crate) fn storage(&self) -> &InstanceStorage {
        &self.place
    }
}

impl Owner for Instance<'_> {
    fn number(&self) -> usize {
        self.place.number()
    }

    /// What is linked lives and dies together, so a function of any of them will do.
    fn knows(&self, number: usize) -> bool {
        #[cfg(feature = "alloc")]
        if self.parts.instances().any(|linked| linked.knows(number)) {
            return true;
        }
        self.place.knows(number)
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        self.place.close();
        // SAFETY: initialised, or all zero. Nobody is inside, for that borrows it.
        let status = unsafe { sys::wrt_instance_deinit(self.place.raw()) };
        debug_assert_eq!(status, 0, "nobody is inside of an instance that is dropped");
        self.place.give_back();
    }
}
