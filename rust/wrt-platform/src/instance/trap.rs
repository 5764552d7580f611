//! Why a guest trapped, and where it stands.

use core::{ffi::CStr, fmt, marker::PhantomData, mem};

use wrt_platform_sys as sys;

use crate::error::{Result, check};
use crate::module::function_name;

/// Why a guest trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrapCode {
    /// It did not trap: the call is paused, or this is an outer frame.
    None,
    /// `unreachable` was executed.
    Unreachable,
    /// An integer was divided by zero.
    IntegerDivideByZero,
    /// An integer result has no room.
    IntegerOverflow,
    /// A float that is no integer was converted to one.
    InvalidConversion,
    /// Beyond the end of the memory.
    MemoryOutOfBounds,
    /// Beyond the end of a table.
    TableOutOfBounds,
    /// `call_indirect` beyond the table.
    UndefinedElement,
    /// `call_indirect` of a null.
    UninitializedElement,
    /// `call_indirect` of a function of another type.
    CallTypeMismatch,
    /// The guest stack is full.
    StackExhausted,
    /// One that this crate does not know.
    Other(u32),
}

impl TrapCode {
    const fn from_raw(code: sys::wrt_trap_code) -> Self {
        match code {
            sys::WRT_TRAP_NONE => Self::None,
            sys::WRT_TRAP_UNREACHABLE => Self::Unreachable,
            sys::WRT_TRAP_INTEGER_DIVIDE_BY_ZERO => Self::IntegerDivideByZero,
            sys::WRT_TRAP_INTEGER_OVERFLOW => Self::IntegerOverflow,
            sys::WRT_TRAP_INVALID_CONVERSION => Self::InvalidConversion,
            sys::WRT_TRAP_MEMORY_OUT_OF_BOUNDS => Self::MemoryOutOfBounds,
            sys::WRT_TRAP_TABLE_OUT_OF_BOUNDS => Self::TableOutOfBounds,
            sys::WRT_TRAP_UNDEFINED_ELEMENT => Self::UndefinedElement,
            sys::WRT_TRAP_UNINITIALIZED_ELEMENT => Self::UninitializedElement,
            sys::WRT_TRAP_CALL_TYPE_MISMATCH => Self::CallTypeMismatch,
            sys::WRT_TRAP_STACK_EXHAUSTED => Self::StackExhausted,
            other => Self::Other(other),
        }
    }
}

/// A place in the guest's code; for a trap also why.
#[derive(Clone, Copy)]
pub struct Trap<'instance> {
    raw: sys::wrt_trap,
    instance: PhantomData<&'instance sys::wrt_module>,
}

impl<'instance> Trap<'instance> {
    /// # Safety
    /// The instance is initialised, and lives for `'instance`, as do those it is linked with.
    pub(super) unsafe fn last(instance: *const sys::wrt_instance) -> Result<Self> {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: the caller's promise.
        check(unsafe { sys::wrt_instance_trap(instance, &raw mut raw) })?;
        Ok(Self { raw, instance: PhantomData })
    }

    /// # Safety
    /// As `last`.
    pub(crate) unsafe fn frame(instance: *const sys::wrt_instance, level: u32) -> Option<Self> {
        // SAFETY: zero is a valid value of every field (integers, null pointer).
        let mut raw = unsafe { mem::zeroed() };
        // SAFETY: the caller's promise.
        let status = unsafe { sys::wrt_instance_frame(instance, level, &raw mut raw) };
        (status == 0).then_some(Self { raw, instance: PhantomData })
    }

    /// Why.
    pub fn code(&self) -> TrapCode {
        TrapCode::from_raw(self.raw.code)
    }

    /// Why, in the specification's words: "integer divide by zero".
    pub fn text(&self) -> &'static str {
        // SAFETY: static text, never null.
        let text = unsafe { CStr::from_ptr(sys::wrt_trap_text(self.raw.code)) };
        text.to_str().unwrap_or_default()
    }

    /// Index of the function in its module, if anything ran.
    pub fn function(&self) -> Option<u32> {
        (self.raw.function != u32::MAX).then_some(self.raw.function)
    }

    /// Name of the function, if the module tells it.
    pub fn function_name(&self) -> Option<&'instance str> {
        if self.raw.module.is_null() {
            return None;
        }
        // SAFETY: an instance borrows its module.
        unsafe { function_name(self.raw.module, self.raw.function) }
    }

    /// Of the instruction: bytes from the start of the module.
    pub fn offset(&self) -> u32 {
        self.raw.offset
    }

    /// Guest frames on the stack, this one included.
    pub fn depth(&self) -> u32 {
        self.raw.depth
    }
}

/// Where, without why: "in function divide at byte 38".
pub(crate) struct Place<'a>(Trap<'a>);

impl<'instance> Trap<'instance> {
    #[cfg(feature = "alloc")]
    pub(super) const fn place(self) -> Place<'instance> {
        Place(self)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.function(), self.0.function_name()) {
            (Some(_), Some(name)) => write!(formatter, "in function {name}")?,
            (Some(index), None) => write!(formatter, "in function {index}")?,
            (None, _) => return write!(formatter, "before the first instruction"),
        }
        write!(formatter, " at byte {}", self.0.offset())
    }
}

impl fmt::Display for Trap<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code() != TrapCode::None {
            write!(formatter, "{} ", self.text())?;
        }
        Place(*self).fmt(formatter)
    }
}

impl fmt::Debug for Trap<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Trap")
            .field("code", &self.code())
            .field("function", &self.function())
            .field("function_name", &self.function_name())
            .field("offset", &self.offset())
            .field("depth", &self.depth())
            .finish()
    }
}
