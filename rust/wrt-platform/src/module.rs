//! Modules: WebAssembly bytes, validated where they lie. Mirrors `wrt_platform/module.h`.
//!
//! ```
//! use wrt_platform::Module;
//!
//! let bytes = b"\0asm\x01\0\0\0";
//! let module = Module::new(bytes)?;
//! assert_eq!(module.usage().function_count, 0);
//! # Ok::<(), wrt_platform::Error>(())
//! ```

#[cfg(feature = "alloc")]
use alloc::{borrow::Cow, vec, vec::Vec};
use core::{ffi::c_char, fmt, marker::PhantomData, mem, slice};

use wrt_platform_sys as sys;
pub use wrt_platform_sys::wrt_module_usage as ModuleUsage;

use crate::Layout;
use crate::error::{Result, check};
use crate::value::ValueType;

/// A validated module. It is read-only: any number of threads and instances may use it at once,
/// and it stays where it is while one does.
///
/// The bytes are executed where they lie, so they are borrowed:
///
/// ```compile_fail,E0597
/// let module = {
///     let bytes = b"\0asm\x01\0\0\0".to_vec();
///     wrt_platform::Module::new(&bytes).unwrap()
/// };
/// module.usage();
/// ```
pub struct Module<'bytes> {
    raw: sys::wrt_module,
    #[cfg(feature = "alloc")]
    _buffer: Vec<u64>,
    #[cfg(feature = "alloc")]
    _bytes: Vec<u8>,
    borrowed: PhantomData<&'bytes [u8]>,
}

// SAFETY: module.h: read-only after init, any number of threads; its buffer is its own.
unsafe impl Send for Module<'_> {}
// SAFETY: as above.
unsafe impl Sync for Module<'_> {}

/// Collects settings; the rules of module.h are checked by [`build`](Self::build).
#[must_use]
pub struct ModuleBuilder<'bytes> {
    config: sys::wrt_module_config,
    borrowed: PhantomData<(&'bytes [u8], &'bytes mut [u64])>,
}

/// Parameters and results of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionType<'module> {
    /// Types of the parameters.
    pub parameters: &'module [ValueType],
    /// Types of the results.
    pub results: &'module [ValueType],
}

/// Type of an import or an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternType<'module> {
    /// A function.
    Function(FunctionType<'module>),
    /// A table.
    Table {
        /// Type of its elements.
        element_type: ValueType,
        /// Elements it has at least.
        minimum: u32,
        /// Elements it grows to at most, if that is declared.
        maximum: Option<u32>,
    },
    /// A linear memory.
    Memory {
        /// Pages it has at least.
        minimum: u32,
        /// Pages it grows to at most, if that is declared.
        maximum: Option<u32>,
    },
    /// A global.
    Global {
        /// Type of its value.
        value_type: ValueType,
        /// Whether it can be written.
        is_mutable: bool,
    },
}

/// What a module asks for under two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportType<'module> {
    /// First name.
    pub module: &'module str,
    /// Second name.
    pub name: &'module str,
    /// What it has to be.
    pub kind: ExternType<'module>,
}

/// What a module offers under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportType<'module> {
    /// The name.
    pub name: &'module str,
    /// What it is.
    pub kind: ExternType<'module>,
}

impl<'bytes> ModuleBuilder<'bytes> {
    /// Starts without bytes and buffer.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut config: sys::wrt_module_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_module_config>() as u32;
        Self { config, borrowed: PhantomData }
    }

    /// The module. Flash will do: the bytes are never copied and never written.
    pub const fn with_bytes(mut self, bytes: &'bytes [u8]) -> Self {
        self.config.bytes = bytes.as_ptr();
        self.config.bytes_size = bytes.len();
        self
    }

    /// Where index and side table go, as large as [`layout`](Self::layout) says.
    pub const fn with_buffer(mut self, buffer: &'bytes mut [u64]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr().cast();
        self
    }

    /// What buffer is enough for the bytes. Cost: one pass over them.
    pub fn layout(&self) -> Result<Layout> {
        let mut layout = Layout { bytes: 0, alignment: 0 };
        // SAFETY: both pointers are live for the call; the bytes are borrowed.
        check(unsafe { sys::wrt_module_layout(&raw const self.config, &raw mut layout) })?;
        Ok(layout)
    }

    /// Validates the module, or says which byte is wrong. Without a buffer of its own, and with
    /// the feature `alloc`, one is made on the heap.
    pub fn build(self) -> Result<Module<'bytes>> {
        #[cfg(feature = "alloc")]
        if self.config.buffer.is_null() {
            return self.build_on_heap(Vec::new());
        }
        self.init()
    }

    #[cfg(feature = "alloc")]
    fn build_on_heap(mut self, bytes: Vec<u8>) -> Result<Module<'bytes>> {
        let mut buffer = vec![0u64; self.layout()?.bytes.div_ceil(8)];
        self.config.buffer = buffer.as_mut_ptr().cast();
        self.config.buffer_size = size_of_val(buffer.as_slice());
        let mut module = self.init()?;
        (module._buffer, module._bytes) = (buffer, bytes);
        Ok(module)
    }

    fn init(self) -> Result<Module<'bytes>> {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: bytes and buffer stay borrowed, or owned, for as long as the module.
        check(unsafe { sys::wrt_module_init(&raw mut raw, &raw const self.config) })?;
        Ok(Module {
            raw,
            #[cfg(feature = "alloc")]
            _buffer: Vec::new(),
            #[cfg(feature = "alloc")]
            _bytes: Vec::new(),
            borrowed: PhantomData,
        })
    }
}

impl Default for ModuleBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'bytes> Module<'bytes> {
    /// Starts a builder.
    pub const fn builder() -> ModuleBuilder<'bytes> {
        ModuleBuilder::new()
    }

    /// Validates borrowed bytes; the index goes to the heap.
    #[cfg(feature = "alloc")]
    pub fn new(bytes: &'bytes [u8]) -> Result<Self> {
        ModuleBuilder::new().with_bytes(bytes).build()
    }

    /// Validates bytes that the module keeps, or borrows: a `Vec<u8>`, a slice.
    #[cfg(feature = "alloc")]
    pub fn from_bytes(bytes: impl Into<Cow<'bytes, [u8]>>) -> Result<Self> {
        let owned = match bytes.into() {
            Cow::Borrowed(bytes) => return Self::new(bytes),
            Cow::Owned(bytes) => bytes,
        };
        // SAFETY: the vector goes into the module, which never gives it out or changes it; its
        // contents do not move with it.
        let bytes: &'bytes [u8] = unsafe { slice::from_raw_parts(owned.as_ptr(), owned.len()) };
        ModuleBuilder::new().with_bytes(bytes).build_on_heap(owned)
    }

    pub(crate) const fn raw(&self) -> *const sys::wrt_module {
        &raw const self.raw
    }

    /// What the module holds and what it costs. Cost: constant.
    pub fn usage(&self) -> ModuleUsage {
        // SAFETY: zero is a valid value of every field (integers).
        let mut usage = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live.
        let status = unsafe { sys::wrt_module_query(self.raw(), &raw mut usage) };
        debug_assert_eq!(status, 0, "a Module is always initialised");
        usage
    }

    /// What it asks for, in its own order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> {
        (0..self.usage().import_count).map(|index| self.import(index))
    }

    /// What it offers, in its own order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> {
        (0..self.usage().export_count).map(|index| self.export(index))
    }

    fn import(&self, index: u32) -> ImportType<'_> {
        let (mut module, mut name) = (EMPTY_NAME, EMPTY_NAME);
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut kind = unsafe { mem::zeroed() };
        let raw = self.raw();
        // SAFETY: all pointers are live.
        let status = unsafe {
            sys::wrt_module_import(raw, index, &raw mut module, &raw mut name, &raw mut kind)
        };
        debug_assert_eq!(status, 0, "the index is below import_count");
        // SAFETY: C filled them in; they point into bytes and buffer.
        unsafe { ImportType { module: text(module), name: text(name), kind: extern_type(&kind) } }
    }

    fn export(&self, index: u32) -> ExportType<'_> {
        let mut name = EMPTY_NAME;
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut kind = unsafe { mem::zeroed() };
        // SAFETY: all pointers are live.
        let status =
            unsafe { sys::wrt_module_export(self.raw(), index, &raw mut name, &raw mut kind) };
        debug_assert_eq!(status, 0, "the index is below export_count");
        // SAFETY: C filled them in; they point into bytes and buffer.
        unsafe { ExportType { name: text(name), kind: extern_type(&kind) } }
    }

    /// Type of a function of the module's index space, imported ones first.
    pub fn function_type(&self, function: u32) -> Result<FunctionType<'_>> {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut kind = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live.
        check(unsafe { sys::wrt_module_function_type(self.raw(), function, &raw mut kind) })?;
        // SAFETY: C filled it in; it points into the bytes.
        Ok(unsafe { FunctionType::from_raw(&kind) })
    }

    /// Name of a function: from the name section, else of an export, else of its import.
    pub fn function_name(&self, function: u32) -> Option<&str> {
        // SAFETY: a module of ours, alive.
        unsafe { function_name(self.raw(), function) }
    }
}

impl fmt::Debug for Module<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Module").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: no instance uses it, for each would borrow it.
        let status = unsafe { sys::wrt_module_deinit(&raw mut self.raw) };
        debug_assert_eq!(status, 0, "a Module is always initialised");
    }
}

const EMPTY_NAME: sys::wrt_name = sys::wrt_name { text: core::ptr::null(), size: 0 };

/// # Safety
/// The name comes from C, which has checked that it is UTF-8, and lives for `'a`.
unsafe fn text<'a>(name: sys::wrt_name) -> &'a str {
    if name.size == 0 {
        return "";
    }
    // SAFETY: the caller's promise.
    unsafe {
        let bytes = slice::from_raw_parts(name.text.cast::<c_char>().cast(), name.size);
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// # Safety
/// `module` is initialised and lives for `'a`.
pub(crate) unsafe fn function_name<'a>(
    module: *const sys::wrt_module,
    function: u32,
) -> Option<&'a str> {
    let mut name = EMPTY_NAME;
    // SAFETY: the caller's promise.
    let status = unsafe { sys::wrt_module_function_name(module, function, &raw mut name) };
    // SAFETY: C filled it in; it points into the module's bytes.
    (status == 0).then(|| unsafe { text(name) })
}

impl FunctionType<'_> {
    /// # Safety
    /// C filled it in, and what it points to lives for the result's lifetime.
    pub(crate) unsafe fn from_raw(raw: &sys::wrt_function_type) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                parameters: ValueType::slice(raw.parameters, raw.parameter_count),
                results: ValueType::slice(raw.results, raw.result_count),
            }
        }
    }
}

/// # Safety
/// As `FunctionType::from_raw`.
unsafe fn extern_type<'a>(raw: &sys::wrt_extern_type) -> ExternType<'a> {
    let value_type =
        || ValueType::from_byte(raw.value_type as u8).expect("C validated the value type");
    let maximum = (raw.maximum != u32::MAX).then_some(raw.maximum);
    let minimum = raw.minimum;
    match raw.kind {
        sys::WRT_EXTERN_TABLE => ExternType::Table { element_type: value_type(), minimum, maximum },
        sys::WRT_EXTERN_MEMORY => ExternType::Memory { minimum, maximum },
        sys::WRT_EXTERN_GLOBAL => {
            ExternType::Global { value_type: value_type(), is_mutable: raw.is_mutable != 0 }
        }
        // SAFETY: the caller's promise.
        _ => ExternType::Function(unsafe { FunctionType::from_raw(&raw.function) }),
    }
}
