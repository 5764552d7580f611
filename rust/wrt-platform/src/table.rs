//! Tables of their own, to be given to an instance. Mirrors a part of `wrt_platform/instance.h`.
//!
//! A table comes to hold functions of the instances that use it, so it cannot be lent: it is given
//! to the first of them, lives as long, and is reached there.

use core::{marker::PhantomData, mem};

use wrt_platform_sys as sys;

use crate::error::{Result, check};
use crate::value::{Value, ValueType};

/// A table of references.
pub struct Table<'a> {
    raw: sys::wrt_table,
    #[cfg(feature = "alloc")]
    _buffer: alloc::vec::Vec<u64>,
    buffer: PhantomData<&'a mut [u64]>,
}

// SAFETY: plain memory, tied to no thread; its buffer is its own, or borrowed exclusively.
unsafe impl Send for Table<'_> {}

/// Collects settings; the rules of instance.h are checked by [`build`](Self::build).
#[must_use]
pub struct TableBuilder<'a> {
    config: sys::wrt_table_config,
    initial_value: Value,
    buffer: PhantomData<&'a mut [u64]>,
}

impl<'a> TableBuilder<'a> {
    /// Starts with functions, no element, and no declared maximum.
    pub const fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut config: sys::wrt_table_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_table_config>() as u32;
        config.element_type = sys::WRT_FUNCREF;
        config.declared_maximum = u32::MAX;
        Self { config, initial_value: Value::FuncRef(None), buffer: PhantomData }
    }

    /// `FuncRef` or `ExternRef`. The first elements become null.
    pub const fn with_element_type(mut self, element_type: ValueType) -> Self {
        self.config.element_type = element_type as u32;
        self.initial_value = Value::zero(element_type);
        self
    }

    /// Elements that are there from the start.
    pub const fn with_initial_elements(mut self, count: u32) -> Self {
        self.config.initial_elements = count;
        self
    }

    /// Elements of the table's type, which a module's import is compared with.
    pub const fn with_declared_maximum(mut self, count: u32) -> Self {
        self.config.declared_maximum = count;
        self
    }

    /// What the first elements hold; of the element type. Null without it.
    pub const fn with_initial_value(mut self, value: Value) -> Self {
        self.initial_value = value;
        self
    }

    /// Room for the elements; growth ends where it ends.
    pub const fn with_buffer(mut self, buffer: &'a mut [u64]) -> Self {
        self.config.buffer_size = size_of_val(buffer);
        self.config.buffer = buffer.as_mut_ptr();
        self
    }

    /// Makes the table. Without a buffer, and with the feature `alloc`, it gets one on the heap,
    /// for its declared maximum, at most 1024 elements above its first size.
    pub fn build(mut self) -> Result<Table<'a>> {
        let wanted = ValueType::from_byte(self.config.element_type as u8);
        let wanted = wanted.unwrap_or(ValueType::FuncRef);
        let initial_value = self.initial_value.to_raw(wanted, |_| false)?;
        // SAFETY: `to_raw` accepts a reference here only if one is wanted; C refuses numbers.
        self.config.initial_value = unsafe { initial_value.reference };
        #[cfg(feature = "alloc")]
        let owned = self.own_buffer();
        // SAFETY: zero is a valid value of every field (integers, null pointers).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: both pointers are live; the buffer is borrowed, or goes into the table.
        check(unsafe { sys::wrt_table_init(&raw mut raw, &raw const self.config) })?;
        Ok(Table {
            raw,
            #[cfg(feature = "alloc")]
            _buffer: owned,
            buffer: PhantomData,
        })
    }

    #[cfg(feature = "alloc")]
    fn own_buffer(&mut self) -> alloc::vec::Vec<u64> {
        if !self.config.buffer.is_null() {
            return alloc::vec::Vec::new();
        }
        let initial = self.config.initial_elements;
        let headroom = initial.saturating_add(sys::WRT_INSTANCE_TABLE_HEADROOM);
        let capacity = self.config.declared_maximum.min(headroom).max(1);
        let mut buffer = alloc::vec![0u64; capacity as usize];
        self.config.buffer_size = size_of_val(buffer.as_slice());
        self.config.buffer = buffer.as_mut_ptr();
        buffer
    }
}

impl Default for TableBuilder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Table<'a> {
    /// Starts a builder.
    pub const fn builder() -> TableBuilder<'a> {
        TableBuilder::new()
    }

    /// To be read and written.
    pub fn view(&mut self) -> TableView<'_> {
        // SAFETY: initialised by `build`; its functions are null as long as it is not linked.
        unsafe { TableView::new(&raw mut self.raw, &Nobody) }
    }

    /// What C imports. The table must stay at this address for as long as C has it.
    #[cfg(feature = "alloc")]
    pub(crate) fn bind(&mut self) -> sys::wrt_extern {
        let of = sys::wrt_extern__bindgen_ty_1 { table: &raw mut self.raw };
        sys::wrt_extern { kind: sys::WRT_EXTERN_TABLE, reserved: 0, of }
    }
}

/// Who answers for the functions in a table.
pub(crate) trait Owner {
    /// Number under which functions are given out.
    fn number(&self) -> usize;
    /// Whether a function that was given out under this number lives as long as the table.
    fn knows(&self, number: usize) -> bool;
}

struct Nobody;

impl Owner for Nobody {
    fn number(&self) -> usize {
        0
    }

    fn knows(&self, _number: usize) -> bool {
        false
    }
}

/// A table, lent to be read and written.
pub struct TableView<'a> {
    raw: *mut sys::wrt_table,
    owner: &'a dyn Owner,
}

impl<'a> TableView<'a> {
    /// # Safety
    /// The table is initialised, nobody else touches it for `'a`, and `owner` answers for it.
    pub(crate) unsafe fn new(raw: *mut sys::wrt_table, owner: &'a dyn Owner) -> Self {
        Self { raw, owner }
    }

    /// Elements that there are.
    pub fn len(&self) -> u32 {
        // SAFETY: alive, by the promise of `new`.
        unsafe { (*self.raw).element_count }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ValueType {
        // SAFETY: alive, by the promise of `new`.
        let byte = unsafe { (*self.raw).element_type } as u8;
        ValueType::from_byte(byte).expect("C checked the type")
    }

    /// Reads an element.
    pub fn get(&self, index: u32) -> Result<Value> {
        let mut reference = 0;
        // SAFETY: alive, by the promise of `new`.
        check(unsafe { sys::wrt_table_get(self.raw, index, &raw mut reference) })?;
        let raw = sys::wrt_value { reference };
        // SAFETY: of the element type; the owner answers for functions.
        Ok(unsafe { Value::from_raw(raw, self.element_type(), self.owner.number()) })
    }

    /// Writes an element.
    pub fn set(&mut self, index: u32, value: Value) -> Result<()> {
        let reference = self.lower(value)?;
        // SAFETY: alive, by the promise of `new`.
        check(unsafe { sys::wrt_table_set(self.raw, index, reference) })
    }

    /// Grows as `table.grow` does; returns the elements that there were before.
    pub fn grow(&mut self, additional_elements: u32, value: Value) -> Result<u32> {
        let reference = self.lower(value)?;
        let mut before = 0;
        // SAFETY: alive, by the promise of `new`.
        check(unsafe {
            sys::wrt_table_grow(self.raw, additional_elements, reference, &raw mut before)
        })?;
        Ok(before)
    }

    fn lower(&self, value: Value) -> Result<u64> {
        let raw = value.to_raw(self.element_type(), |number| self.owner.knows(number))?;
        // SAFETY: the element type is a reference.
        Ok(unsafe { raw.reference })
    }
}
