//! Values that cross between host and guest, and their types.

use core::fmt;

use wrt_platform_sys as sys;

use crate::error::{Error, Result};

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValueType {
    /// 32-bit integer, without sign of its own.
    I32 = sys::WRT_I32 as u8,
    /// 64-bit integer, without sign of its own.
    I64 = sys::WRT_I64 as u8,
    /// 32-bit floating point.
    F32 = sys::WRT_F32 as u8,
    /// 64-bit floating point.
    F64 = sys::WRT_F64 as u8,
    /// Reference to a function.
    FuncRef = sys::WRT_FUNCREF as u8,
    /// Reference to something of the host.
    ExternRef = sys::WRT_EXTERNREF as u8,
}

impl ValueType {
    /// Every type, in the order of the specification.
    pub const ALL: [Self; 6] =
        [Self::I32, Self::I64, Self::F32, Self::F64, Self::FuncRef, Self::ExternRef];

    /// The type that a byte of the binary format stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u8 == byte)
    }

    pub(crate) const fn bytes(types: &[Self]) -> &[u8] {
        // SAFETY: the enum is a byte.
        unsafe { core::slice::from_raw_parts(types.as_ptr().cast(), types.len()) }
    }

    /// # Safety
    /// `first` points to `count` bytes that C has checked to be value types, alive for `'a`.
    pub(crate) unsafe fn slice<'a>(first: *const u8, count: u32) -> &'a [Self] {
        if count == 0 {
            return &[];
        }
        // SAFETY: the caller's promise; each valid byte is one of the variants.
        unsafe { core::slice::from_raw_parts(first.cast(), count as usize) }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
        })
    }
}

/// A function of an instance, or one that it can reach. Good for that instance only, and for
/// those that are linked with it; elsewhere it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FuncRef {
    address: usize,
    /// Number of the instance that gave it out: functions of one that is gone are never called.
    instance: usize,
}

/// A value of any type. Integers have no sign in WebAssembly; here they are signed, as most
/// languages show them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// 32-bit floating point.
    F32(f32),
    /// 64-bit floating point.
    F64(f64),
    /// A function, or null.
    FuncRef(Option<FuncRef>),
    /// A number that the host chose, which means nothing to the guest; 0 is null.
    ExternRef(u64),
}

impl Value {
    /// Its type.
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::I32(_) => ValueType::I32,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::FuncRef(_) => ValueType::FuncRef,
            Self::ExternRef(_) => ValueType::ExternRef,
        }
    }

    /// The number, if it is an `i32`.
    pub const fn i32(self) -> Option<i32> {
        if let Self::I32(number) = self { Some(number) } else { None }
    }

    /// The number, if it is an `i64`.
    pub const fn i64(self) -> Option<i64> {
        if let Self::I64(number) = self { Some(number) } else { None }
    }

    /// The number, if it is an `f32`.
    pub const fn f32(self) -> Option<f32> {
        if let Self::F32(number) = self { Some(number) } else { None }
    }

    /// The number, if it is an `f64`.
    pub const fn f64(self) -> Option<f64> {
        if let Self::F64(number) = self { Some(number) } else { None }
    }

    /// Zero, or null.
    pub(crate) const fn zero(value_type: ValueType) -> Self {
        match value_type {
            ValueType::I32 => Self::I32(0),
            ValueType::I64 => Self::I64(0),
            ValueType::F32 => Self::F32(0.0),
            ValueType::F64 => Self::F64(0.0),
            ValueType::FuncRef => Self::FuncRef(None),
            ValueType::ExternRef => Self::ExternRef(0),
        }
    }

    /// # Safety
    /// `raw` is of that type, and a reference in it belongs to `instance`.
    pub(crate) unsafe fn from_raw(
        raw: sys::wrt_value,
        value_type: ValueType,
        instance: usize,
    ) -> Self {
        // SAFETY: the caller's promise; every bit pattern is a number.
        unsafe {
            match value_type {
                ValueType::I32 => Self::I32(raw.i32_ as _),
                ValueType::I64 => Self::I64(raw.i64_ as _),
                ValueType::F32 => Self::F32(raw.f32_),
                ValueType::F64 => Self::F64(raw.f64_),
                ValueType::FuncRef => Self::FuncRef(FuncRef::from_raw(raw.reference, instance)),
                ValueType::ExternRef => Self::ExternRef(raw.reference),
            }
        }
    }

    /// For C, once type and owner have been found right.
    pub(crate) fn to_raw(
        self,
        wanted: ValueType,
        is_ours: impl Fn(usize) -> bool,
    ) -> Result<sys::wrt_value> {
        if self.value_type() != wanted {
            return Err(Error::invalid_argument(c"Value", c"a value is not of the wanted type"));
        }
        let mut raw = sys::wrt_value { i64_: 0 };
        match self {
            Self::I32(number) => raw.i32_ = number as _,
            Self::I64(number) => raw.i64_ = number as _,
            Self::F32(number) => raw.f32_ = number,
            Self::F64(number) => raw.f64_ = number,
            Self::FuncRef(None) => raw.reference = 0,
            Self::FuncRef(Some(function)) if is_ours(function.instance) => {
                raw.reference = function.address as u64;
            }
            Self::FuncRef(Some(_)) => return Err(foreign_function()),
            Self::ExternRef(number) => raw.reference = number,
        }
        Ok(raw)
    }
}

impl FuncRef {
    /// # Safety
    /// A reference that is not null is the address of a function which lives as long as the
    /// instance of that number.
    unsafe fn from_raw(reference: u64, instance: usize) -> Option<Self> {
        (reference != 0).then_some(Self { address: reference as usize, instance })
    }

    /// # Safety
    /// As `from_raw`.
    pub(crate) unsafe fn from_pointer(function: *mut sys::wrt_function, instance: usize) -> Self {
        Self { address: function as usize, instance }
    }

    pub(crate) fn pointer(self, is_ours: impl Fn(usize) -> bool) -> Result<*mut sys::wrt_function> {
        if is_ours(self.instance) {
            Ok(self.address as *mut sys::wrt_function)
        } else {
            Err(foreign_function())
        }
    }
}

fn foreign_function() -> Error {
    Error::invalid_argument(c"FuncRef", c"the function belongs to an instance that is not linked")
}

macro_rules! conversion {
    ($($number:ty => $variant:ident),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::$variant(number)
            }
        }
    )*};
}

conversion!(i32 => I32, i64 => I64, f32 => F32, f64 => F64);

/// Room for a few values on the stack, for more on the heap where there is one.
pub(crate) struct Room<T> {
    few: [T; FEW],
    #[cfg(feature = "alloc")]
    many: alloc::vec::Vec<T>,
    count: usize,
}

/// So many values a call takes, or gives, without a heap.
const FEW: usize = 16;

impl<T: Copy> Room<T> {
    pub fn new(count: usize, zero: T) -> Result<Self> {
        #[cfg(not(feature = "alloc"))]
        if count > FEW {
            let reason = c"{0} values; beyond {1} the crate's feature alloc is needed";
            let error = Error::new(crate::ErrorKind::Unsupported, c"Value", reason);
            return Err(error.with_detail([count as u64, FEW as u64]));
        }
        Ok(Self {
            few: [zero; FEW],
            #[cfg(feature = "alloc")]
            many: alloc::vec![zero; if count > FEW { count } else { 0 }],
            count,
        })
    }

    #[cfg(feature = "alloc")]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if self.count > FEW { &mut self.many } else { &mut self.few[..self.count] }
    }

    #[cfg(not(feature = "alloc"))]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.few[..self.count]
    }
}

/// Raw values, all zero.
pub(crate) fn raw_room(count: usize) -> Result<Room<sys::wrt_value>> {
    Room::new(count, sys::wrt_value { i64_: 0 })
}
