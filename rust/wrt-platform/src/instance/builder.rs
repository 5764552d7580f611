//! How an instance comes to be.

use core::{marker::PhantomData, mem, ptr, time::Duration};

use wrt_platform_sys as sys;

use super::{Borrowed, Instance, InstanceStorage, Place};
use crate::Layout;
use crate::error::{Error, Result, check};
use crate::import::Import;
use crate::limits::{Limits, nanoseconds};
use crate::module::Module;
use crate::page_allocator::PageAllocator;

#[cfg(feature = "alloc")]
use crate::{
    ErrorKind, global::Global, host_function::HostFunction, link, memory::Memory, table::Table,
};
#[cfg(feature = "alloc")]
use alloc::sync::Arc;

/// Collects settings; the rules of instance.h are checked when it builds.
#[must_use]
pub struct InstanceBuilder<'a> {
    config: sys::wrt_instance_config,
    module: Option<&'a Module<'a>>,
    timeout: Option<Duration>,
    /// What was wrong with a setting; building says it.
    refusal: Option<Error>,
    #[cfg(feature = "alloc")]
    parts: link::Parts<'a>,
    borrowed: PhantomData<Borrowed<'a>>,
}

impl<'a> InstanceBuilder<'a> {
    /// Starts without a module.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut config: sys::wrt_instance_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_instance_config>() as u32;
        Self {
            config,
            module: None,
            timeout: None,
            refusal: None,
            #[cfg(feature = "alloc")]
            parts: link::Parts::new(),
            borrowed: PhantomData,
        }
    }

    /// What is to run.
    pub fn with_module(mut self, module: &'a Module<'_>) -> Self {
        self.config.module = module.raw();
        self.module = Some(module);
        self
    }

    /// What is lent to the instance. The order does not matter; what the module does not ask for
    /// is ignored; of two of the same names the last one counts.
    pub fn with_imports(mut self, imports: &'a mut [Import<'a>]) -> Self {
        let raw = Import::raw(imports);
        self.config.imports = raw.as_ptr();
        self.config.import_count = raw.len() as u32;
        self
    }

    /// Memory that the instance itself needs, as [`layout`](Self::layout) says. Without it, and
    /// with the feature `alloc`, it is taken from the heap.
    pub fn with_buffer(mut self, buffer: &'a mut [u64]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// Where the module's own memory comes from. Without it, and with the feature `alloc`, Linux
    /// gives it, between guard pages.
    pub fn with_allocator(mut self, allocator: &'a mut (dyn PageAllocator + Send)) -> Self {
        self.config.allocator = allocator.interface();
        self
    }

    /// Pages that are reserved for the module's own memory; growth beyond answers -1. 0: the
    /// declared maximum, at most 4096 (256 MiB).
    pub fn with_maximum_pages(mut self, pages: u32) -> Self {
        self.config.maximum_pages = pages;
        self
    }

    /// Elements to which a table of the module may grow. 0: the declared maximum, at most 1024
    /// above its first size.
    pub fn with_maximum_table_elements(mut self, count: u32) -> Self {
        self.config.maximum_table_elements = count;
        self
    }

    /// Bytes of the guest stack. 0: 65536.
    pub fn with_stack_size(mut self, bytes: u32) -> Self {
        self.config.stack_size = bytes;
        self
    }

    /// Instructions that may run; more can be given later.
    pub fn with_fuel(mut self, instructions: u64) -> Self {
        self.config.fuel = instructions;
        self.with_has_fuel(true)
    }

    /// Whether fuel counts at all; `with_fuel` says so.
    pub fn with_has_fuel(mut self, enabled: bool) -> Self {
        self.config.has_fuel = enabled;
        self
    }

    /// Time that the start function, and then each call, may take.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets what of memory, fuel and time is limited.
    pub fn with_limits(mut self, limits: &Limits) -> Self {
        match limits.pages() {
            Ok(pages) => self.config.maximum_pages = pages.unwrap_or(self.config.maximum_pages),
            Err(refusal) => self.refusal = Some(refusal),
        }
        self.timeout = limits.timeout.or(self.timeout);
        match limits.fuel {
            Some(fuel) => self.with_fuel(fuel),
            None => self,
        }
    }

    /// What buffer the instance itself needs.
    pub fn layout(&self) -> Result<Layout> {
        let mut layout = Layout { bytes: 0, alignment: 0 };
        // SAFETY: both pointers are live for the call; the module is borrowed or owned.
        check(unsafe { sys::wrt_instance_layout(&raw const self.config, &raw mut layout) })?;
        Ok(layout)
    }

    /// Makes the instance in a storage of the caller, and runs its start function to the end.
    pub fn build_in(self, storage: &'a InstanceStorage) -> Result<Instance<'a>> {
        self.build_unstarted_in(storage)?.started()
    }

    /// As `build_in`, without running anything: [`run`](Instance::run) and
    /// [`step`](Instance::step) run the start function first.
    pub fn build_unstarted_in(self, storage: &'a InstanceStorage) -> Result<Instance<'a>> {
        self.build_at(Place::Borrowed(storage))
    }

    fn build_at(mut self, place: Place<'a>) -> Result<Instance<'a>> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        place.take()?;
        let mut instance = Instance {
            place,
            timeout_ns: nanoseconds(self.timeout),
            begun: ptr::null_mut(),
            #[cfg(feature = "alloc")]
            parts: self.parts,
            borrowed: PhantomData,
        }; // from here on its `drop` cleans up
        instance.init(self.module, self.config)?;
        instance.place.open();
        Ok(instance)
    }
}

#[cfg(feature = "alloc")]
impl<'a> InstanceBuilder<'a> {
    /// Makes the instance, and runs its start function to the end.
    pub fn build(self) -> Result<Instance<'a>> {
        self.build_unstarted()?.started()
    }

    /// As `build`, without running anything: [`run`](Instance::run) and [`step`](Instance::step)
    /// run the start function first.
    pub fn build_unstarted(self) -> Result<Instance<'a>> {
        self.build_at(Place::Shared(Arc::new(InstanceStorage::new())))
    }

    /// What is to run, kept alive by the instance: for one that outlives the function in which it
    /// is made.
    pub fn with_shared_module(mut self, module: Arc<Module<'a>>) -> Self {
        self.config.module = self.parts.own_module(module);
        self
    }

    /// As `with_allocator`, kept alive by the instance.
    pub fn with_owned_allocator(mut self, allocator: impl PageAllocator + Send + 'a) -> Self {
        self.config.allocator = self.parts.own_allocator(allocator);
        self
    }

    /// Gives the instance a host function.
    pub fn with_function<F: Send + 'a>(
        mut self,
        module: &str,
        name: &str,
        function: HostFunction<'a, F>,
    ) -> Self {
        let added = self.parts.add_function(module, name, function);
        self.note(added)
    }

    /// Gives the instance a memory.
    pub fn with_memory(mut self, module: &str, name: &str, memory: Memory<'a>) -> Self {
        let added = self.parts.add_memory(module, name, memory);
        self.note(added)
    }

    /// Gives the instance a table.
    pub fn with_table(mut self, module: &str, name: &str, table: Table<'a>) -> Self {
        let added = self.parts.add_table(module, name, table);
        self.note(added)
    }

    /// Gives the instance a global.
    pub fn with_global(mut self, module: &str, name: &str, global: Global) -> Self {
        let added = self.parts.add_global(module, name, global);
        self.note(added)
    }

    /// Gives the instance another one, whose exports it imports under `module`. The two are
    /// linked for good; [`linked_mut`](Instance::linked_mut) reaches the other one. When building
    /// fails, both end: their tables may hold functions of each other.
    pub fn with_instance(mut self, module: &str, instance: Instance<'a>) -> Self {
        self.parts.add_instance(module, instance);
        self
    }

    /// Gives the instance the calls of WASI; [`wasi`](Instance::wasi) then tells its exit code.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub fn with_wasi(mut self, wasi: crate::wasi::Wasi<'a>) -> Self {
        self.parts.own_wasi(wasi);
        self
    }

    fn note(mut self, added: Result<()>) -> Self {
        self.refusal = self.refusal.or(added.err());
        self
    }
}

impl Default for InstanceBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Instance<'a> {
    fn started(mut self) -> Result<Self> {
        self.start()?;
        Ok(self)
    }

    #[cfg(not(feature = "alloc"))]
    fn init(
        &mut self,
        _module: Option<&'a Module<'a>>,
        config: sys::wrt_instance_config,
    ) -> Result<()> {
        // SAFETY: all that the config points to stays borrowed for as long as the instance.
        check(unsafe { sys::wrt_instance_init(self.place.raw(), &raw const config) })
    }

    #[cfg(feature = "alloc")]
    fn init(
        &mut self,
        module: Option<&'a Module<'a>>,
        config: sys::wrt_instance_config,
    ) -> Result<()> {
        let owned = self.parts.module(); // kept here, so that `parts` can be changed
        let Some(module) = module.or(owned.as_deref()) else {
            let reason = c"no module was given";
            return Err(Error::invalid_argument(c"InstanceBuilder::build", reason));
        };
        let completed = self.parts.complete(config, module, &self.place)?;
        // SAFETY: all that the config points to stays borrowed, or owned, for as long as the
        // instance; imports and their names for the call.
        let status =
            unsafe { sys::wrt_instance_init(self.place.raw(), &raw const completed.config) };
        check(status).map_err(|error| match error.kind {
            ErrorKind::Link => completed.explain(error, module),
            _ => super::raw::explain(&self.place, error),
        })
    }
}
