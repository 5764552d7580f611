//! What an instance owns, beside its C object: what it imports, and what it stands on.
//!
//! Linked instances are owned, not shared: whoever may run one of them may run them all, and they
//! end together. So no view of a memory lives while a guest writes to it, and no table ever holds
//! a function of an instance that is gone.

use alloc::{boxed::Box, ffi::CString, format, string::String, sync::Arc, vec, vec::Vec};
use core::ffi::CStr;

use wrt_platform_sys as sys;

use crate::Layout;
use crate::error::{Error, Result, check};
use crate::global::Global;
use crate::host_function::{Bind, HostFunction};
use crate::instance::storage::InstanceStorage;
use crate::instance::{Instance, raw};
use crate::memory::Memory;
use crate::module::{ImportType, Module};
use crate::page_allocator::PageAllocator;
use crate::table::Table;

/// What an instance owns. Fields end from top to bottom.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    instances: Vec<(String, Instance<'a>)>,
    items: Vec<(CString, CString, Item<'a>)>,
    #[cfg(all(feature = "std", target_os = "linux"))]
    wasi: Option<crate::wasi::Wasi<'a>>,
    allocator: Option<Box<dyn PageAllocator + Send + 'a>>,
    module: Option<Arc<Module<'a>>>,
    buffer: Vec<u64>,
}

/// Something that is imported. Boxed, because C keeps its address.
enum Item<'a> {
    Function(Box<dyn Bind + Send + 'a>),
    Memory(Box<Memory<'a>>),
    Table(Box<Table<'a>>),
    Global(Box<Global>),
}

/// A config that is ready for C, with what it points to.
pub(crate) struct Completed {
    pub config: sys::wrt_instance_config,
    imports: Vec<sys::wrt_import>,
    /// Names in `imports` that no item holds.
    names: Vec<CString>,
}

impl<'a> Parts<'a> {
    pub const fn new() -> Self {
        Self {
            instances: Vec::new(),
            items: Vec::new(),
            #[cfg(all(feature = "std", target_os = "linux"))]
            wasi: None,
            allocator: None,
            module: None,
            buffer: Vec::new(),
        }
    }

    pub fn instances(&self) -> impl Iterator<Item = &Instance<'a>> {
        self.instances.iter().map(|(_, instance)| instance)
    }

    pub fn linked(&self, module: &str) -> Option<&Instance<'a>> {
        self.instances.iter().find(|(name, _)| name == module).map(|(_, instance)| instance)
    }

    pub fn linked_mut(&mut self, module: &str) -> Option<&mut Instance<'a>> {
        self.instances.iter_mut().find(|(name, _)| name == module).map(|(_, instance)| instance)
    }

    pub fn owns_buffer(&self) -> bool {
        !self.buffer.is_empty()
    }

    pub fn add_instance(&mut self, module: &str, instance: Instance<'a>) {
        self.instances.push((module.into(), instance));
    }

    pub fn add_function<F: Send + 'a>(
        &mut self,
        module: &str,
        name: &str,
        function: HostFunction<'a, F>,
    ) -> Result<()> {
        self.add(module, name, Item::Function(Box::new(function)))
    }

    pub fn add_memory(&mut self, module: &str, name: &str, memory: Memory<'a>) -> Result<()> {
        self.add(module, name, Item::Memory(Box::new(memory)))
    }

    pub fn add_table(&mut self, module: &str, name: &str, table: Table<'a>) -> Result<()> {
        self.add(module, name, Item::Table(Box::new(table)))
    }

    pub fn add_global(&mut self, module: &str, name: &str, global: Global) -> Result<()> {
        self.add(module, name, Item::Global(Box::new(global)))
    }

    fn add(&mut self, module: &str, name: &str, item: Item<'a>) -> Result<()> {
        let reason = c"the name of an import has a NUL in it";
        let text = |name| {
            CString::new(name).map_err(|_| Error::invalid_argument(c"InstanceBuilder", reason))
        };
        self.items.push((text(module)?, text(name)?, item));
        Ok(())
    }

    #[cfg(all(feature = "std", target_os = "linux"))]
    pub fn own_wasi(&mut self, wasi: crate::wasi::Wasi<'a>) {
        self.wasi = Some(wasi);
    }

    #[cfg(all(feature = "std", target_os = "linux"))]
    pub fn wasi(&self) -> Option<&crate::wasi::Wasi<'a>> {
        self.wasi.as_ref()
    }

    /// Keeps the allocator, at one address.
    pub fn own_allocator(
        &mut self,
        allocator: impl PageAllocator + Send + 'a,
    ) -> sys::wrt_page_allocator {
        self.allocator.insert(Box::new(allocator)).interface()
    }

    /// Keeps the module, at one address.
    pub fn own_module(&mut self, module: Arc<Module<'a>>) -> *const sys::wrt_module {
        self.module.insert(module).raw()
    }

    /// The module that is kept.
    pub fn module(&self) -> Option<Arc<Module<'a>>> {
        self.module.clone()
    }

    /// Adds to the config what is owned. Imports come in this order, because of two of the same
    /// names the last one counts: what was lent, what linked instances export, what was given.
    pub fn complete(
        &mut self,
        config: sys::wrt_instance_config,
        module: &Module<'_>,
        owner: &InstanceStorage,
    ) -> Result<Completed> {
        // SAFETY: the builder borrows that many.
        let lent = unsafe { slice(config.imports, config.import_count as usize) };
        let mut completed = Completed { config, imports: lent.to_vec(), names: Vec::new() };
        #[cfg(all(feature = "std", target_os = "linux"))]
        if let Some(wasi) = &self.wasi {
            completed.imports.extend_from_slice(wasi.imports()?);
        }
        for (name, instance) in &self.instances {
            instance.storage().set_owner(owner);
            completed.add_exports(name, instance, module);
        }
        for (module, name, item) in &mut self.items {
            completed.imports.push(import(module, name, item.bind()?));
        }
        completed.config.imports = completed.imports.as_ptr();
        completed.config.import_count = completed.imports.len() as u32;
        self.add_allocator(&mut completed.config, module)?;
        self.add_buffer(&mut completed.config)?;
        Ok(completed)
    }

    fn add_buffer(&mut self, config: &mut sys::wrt_instance_config) -> Result<()> {
        if !config.buffer.is_null() {
            return Ok(());
        }
        let mut layout = Layout { bytes: 0, alignment: 0 };
        // SAFETY: both pointers are live; the config is complete but for the buffer.
        check(unsafe { sys::wrt_instance_layout(config, &raw mut layout) })?;
        self.buffer = vec![0; layout.bytes.div_ceil(8)];
        config.buffer = self.buffer.as_mut_ptr().cast();
        config.buffer_size = layout.bytes;
        Ok(())
    }

    /// A module's own memory comes from Linux, where nothing else was said.
    #[cfg(target_os = "linux")]
    fn add_allocator(
        &mut self,
        config: &mut sys::wrt_instance_config,
        module: &Module<'_>,
    ) -> Result<()> {
        if config.allocator.ops.is_null() && module.usage().memory_count > 0 {
            let builder = crate::linux::memory::LinuxAllocatorBuilder::new();
            config.allocator = self.own_allocator(builder.with_guard_pages(true).build()?);
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn add_allocator(
        &mut self,
        _config: &mut sys::wrt_instance_config,
        _module: &Module<'_>,
    ) -> Result<()> {
        Ok(()) // C says what is missing
    }
}

/// # Safety
/// There are so many at `first`, for `'a`.
unsafe fn slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(first, count) }
}

impl Item<'_> {
    fn bind(&mut self) -> Result<sys::wrt_extern> {
        match self {
            Self::Function(function) => function.bind(),
            Self::Memory(memory) => Ok(memory.bind()),
            Self::Table(table) => Ok(table.bind()),
            Self::Global(global) => Ok(global.bind()),
        }
    }
}

const fn import(module: &CStr, name: &CStr, value: sys::wrt_extern) -> sys::wrt_import {
    sys::wrt_import { module: module.as_ptr(), name: name.as_ptr(), value }
}

impl Completed {
    /// What `module` imports from `from`, and `instance` has.
    fn add_exports(&mut self, from: &str, instance: &Instance<'_>, module: &Module<'_>) {
        for wanted in module.imports().filter(|import| import.module == from) {
            let Ok(value) = raw::export(instance.storage(), wanted.name) else { continue };
            let (Ok(from), Ok(name)) = (CString::new(from), CString::new(wanted.name)) else {
                continue; // C's names end at a NUL; such an import stays unknown
            };
            self.imports.push(import(&from, &name, value));
            self.names.extend([from, name]);
        }
    }

    /// Names what was not given, or has another type.
    pub fn explain(&self, error: Error, module: &Module<'_>) -> Error {
        let named = |import: ImportType<'_>| format!("{}.{}", import.module, import.name);
        let missing: Vec<_> = self.missing(module).map(named).collect();
        if !missing.is_empty() {
            return error.with_note(format!("nothing was given for {}", missing.join(", ")));
        }
        let index = error.detail[0] as usize;
        match module.imports().nth(index) {
            Some(import) => error.with_note(named(import)),
            None => error,
        }
    }

    fn missing<'m>(&self, module: &'m Module<'_>) -> impl Iterator<Item = ImportType<'m>> {
        let imports = module.imports().enumerate();
        imports.filter(|(index, _)| self.is_missing(*index as u32)).map(|(_, import)| import)
    }

    fn is_missing(&self, index: u32) -> bool {
        let mut found = 0;
        // SAFETY: the config is the one that init has just read; `found` is live.
        let status = unsafe {
            sys::wrt_instance_missing_import(&raw const self.config, index, &raw mut found)
        };
        status == 0 && found == index
    }
}
