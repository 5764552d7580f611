//! Memory accounts: a tree of budgets, and page allocators that are charged to them. Mirrors
//! `wrt_platform/memory_account.h`.
//!
//! ```
//! use wrt_platform::memory_account::{CountedAllocatorBuilder, MemoryAccountBuilder};
//! use wrt_platform::{PageAllocator, StaticAllocatorBuilder};
//!
//! let machine = MemoryAccountBuilder::new().with_maximum(64 << 20).build()?;
//! let tenant = MemoryAccountBuilder::new().with_parent(&machine).with_maximum(65536).build()?;
//!
//! let mut heap = vec![0; 256 * 1024];
//! let pages = StaticAllocatorBuilder::new().with_buffer(&mut heap).build()?;
//! let counted = CountedAllocatorBuilder::new().with_inner(&pages).with_account(&tenant).build()?;
//! let mut memory = counted.allocate(1, Some(2))?;
//! assert_eq!(machine.usage()?.used, 65536);
//! assert!(memory.grow(1).is_err()); // the tenant has no more
//! # Ok::<(), wrt_platform::Error>(())
//! ```

use alloc::{boxed::Box, sync::Arc};
use core::{cell::UnsafeCell, mem};

use wrt_platform_sys as sys;
pub use wrt_platform_sys::wrt_counted_allocator_report as CountedAllocatorReport;

use crate::error::{Error, Result, check};
use crate::page_allocator::PageAllocator;
use crate::system_below::{closed_name, system_interface, text_of};

/// How an account has been used; in bytes, where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryAccountUsage {
    /// Charged, kept for its children, and used by them beyond that.
    pub used: u64,
    /// Of that, charged to this very account.
    pub charged: u64,
    /// The most that `used` ever was.
    pub peak: u64,
    /// As it was made.
    pub minimum: u64,
    /// As it was made; 0: none.
    pub maximum: u64,
    /// A charge could have this much now.
    pub available: u64,
    /// Charges to this very account that were refused.
    pub refusals: u32,
    /// Accounts just below it.
    pub children: u32,
    /// Counted allocators that charge it.
    pub views: u32,
}

impl MemoryAccountUsage {
    pub(crate) const fn from_raw(raw: &sys::wrt_memory_account_usage) -> Self {
        Self {
            used: raw.used,
            charged: raw.charged,
            peak: raw.peak,
            minimum: raw.minimum,
            maximum: raw.maximum,
            available: raw.available,
            refusals: raw.refusals,
            children: raw.children,
            views: raw.views,
        }
    }
}

/// A budget. Clones are the same account, which ends with the last of them; what is charged to it
/// goes back then.
#[derive(Clone)]
pub struct MemoryAccount {
    account: Arc<Account>,
}

struct Account {
    raw: UnsafeCell<sys::wrt_memory_account>,
    _parent: Option<MemoryAccount>, // C borrows it
}

// SAFETY: on hosts the root has a thread system, and then any thread may call, the header says.
#[cfg(all(feature = "std", target_os = "linux"))]
unsafe impl Send for Account {}
// SAFETY: as above.
#[cfg(all(feature = "std", target_os = "linux"))]
unsafe impl Sync for Account {}

impl MemoryAccount {
    /// Takes `bytes` from the account. `NoMemory`, with the numbers, if it or one above has not
    /// that much left; then nothing has changed.
    pub fn charge(&self, bytes: u64) -> Result<()> {
        // SAFETY: initialised, and kept by `self`.
        check(unsafe { sys::wrt_memory_account_charge(self.raw(), bytes) })
    }

    /// Gives back `bytes` of what was charged to this very account; `State` if that is less.
    pub fn refund(&self, bytes: u64) -> Result<()> {
        // SAFETY: as in `charge`.
        check(unsafe { sys::wrt_memory_account_refund(self.raw(), bytes) })
    }

    /// Lets `peak` begin again, at what is used now.
    pub fn reset_peak(&self) -> Result<()> {
        // SAFETY: as in `charge`.
        check(unsafe { sys::wrt_memory_account_reset_peak(self.raw()) })
    }

    /// How it has been used, all numbers of one moment.
    pub fn usage(&self) -> Result<MemoryAccountUsage> {
        self.query().map(|raw| MemoryAccountUsage::from_raw(&raw))
    }

    /// Its name, cut to 31 bytes, handed to `read`.
    pub fn name<R>(&self, read: impl FnOnce(&str) -> R) -> Result<R> {
        self.query().map(|raw| read(text_of(&raw.name)))
    }

    fn query(&self) -> Result<sys::wrt_memory_account_usage> {
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_memory_account_usage = unsafe { mem::zeroed() };
        // SAFETY: as in `charge`; the report is live for the call.
        check(unsafe { sys::wrt_memory_account_query(self.raw(), &raw mut raw) })?;
        Ok(raw)
    }

    pub(crate) fn raw(&self) -> *mut sys::wrt_memory_account {
        self.account.raw.get()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // SAFETY: zero is a valid value of every field.
        let mut usage: sys::wrt_memory_account_usage = unsafe { mem::zeroed() };
        let raw = self.raw.get();
        // SAFETY: initialised, or all zero; children and views keep it, so there is none.
        unsafe {
            if sys::wrt_memory_account_query(raw, &raw mut usage) == sys::WRT_OK as sys::wrt_status
            {
                let _ = sys::wrt_memory_account_refund(raw, usage.charged);
                let _ = sys::wrt_memory_account_deinit(raw);
            }
        }
    }
}

/// Collects settings; the rules of memory_account.h are checked by [`build`](Self::build).
#[must_use]
pub struct MemoryAccountBuilder {
    config: sys::wrt_memory_account_config,
    parent: Option<MemoryAccount>,
    name: [u8; 36],
    has_system: bool,
}

impl MemoryAccountBuilder {
    /// Starts with a root without a limit.
    pub fn new() -> Self {
        // SAFETY: zero is a valid value of every field (integers and null pointers).
        let mut config: sys::wrt_memory_account_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_memory_account_config>() as u32;
        Self { config, parent: None, name: [0; 36], has_system: false }
    }

    /// Bytes that are kept for the account: taken from all accounts above when it is made.
    pub const fn with_minimum(mut self, bytes: u64) -> Self {
        self.config.minimum = bytes;
        self
    }

    /// Bytes that the account may have; 0: it has no limit of its own.
    pub const fn with_maximum(mut self, bytes: u64) -> Self {
        self.config.maximum = bytes;
        self
    }

    /// The account above; without it, the account is a root.
    pub fn with_parent(mut self, parent: &MemoryAccount) -> Self {
        self.parent = Some(parent.clone());
        self
    }

    /// For people; 31 bytes are kept.
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = closed_name(name);
        self
    }

    /// The thread system of a root, for its lock; by default this process's own.
    ///
    /// # Safety
    /// It works as thread_system.h has it, and outlives the tree.
    pub const unsafe fn with_system(mut self, system: sys::wrt_thread_system) -> Self {
        self.config.system = system;
        self.has_system = true;
        self
    }

    /// Makes the account, or says which rule is broken; `NoMemory` if an account above has not the
    /// minimum left.
    pub fn build(mut self) -> Result<MemoryAccount> {
        self.config.name = self.name.as_ptr().cast();
        match &self.parent {
            Some(parent) => self.config.parent = parent.raw(),
            None if !self.has_system => self.config.system = system_interface()?,
            None => {}
        }
        // SAFETY: zero is a valid value of every field.
        let raw = UnsafeCell::new(unsafe { mem::zeroed() });
        #[cfg_attr(
            not(all(feature = "std", target_os = "linux")),
            expect(clippy::arc_with_non_send_sync, reason = "it is both where there are threads")
        )]
        let account = Arc::new(Account { raw, _parent: self.parent });
        // SAFETY: the account has its place, and keeps its parent.
        check(unsafe { sys::wrt_memory_account_init(account.raw.get(), &raw const self.config) })?;
        Ok(MemoryAccount { account })
    }
}

impl Default for MemoryAccountBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A view of another allocator whose pages are charged to an account. It may be moved at any time;
/// like its inner allocator, one thread at a time uses it.
pub struct CountedAllocator<'inner> {
    raw: Box<UnsafeCell<sys::wrt_counted_allocator>>,
    inner: &'inner dyn PageAllocator,
    _account: MemoryAccount, // C borrows it
}

impl CountedAllocator<'_> {
    /// What is out.
    pub fn report(&self) -> Result<CountedAllocatorReport> {
        let mut report = CountedAllocatorReport { allocation_count: 0, refused: 0, page_count: 0 };
        // SAFETY: initialised; not being `Sync`, no other call is inside.
        check(unsafe { sys::wrt_counted_allocator_query(self.raw.get(), &raw mut report) })?;
        Ok(report)
    }
}

// SAFETY: it hands on what another allocator gives, which it borrows; the box keeps its address.
unsafe impl PageAllocator for CountedAllocator<'_> {
    fn interface(&self) -> sys::wrt_page_allocator {
        // SAFETY: initialised.
        unsafe { sys::wrt_counted_allocator_interface(self.raw.get()) }
    }

    fn maximum_pages(&self) -> u32 {
        self.inner.maximum_pages()
    }
}

impl Drop for CountedAllocator<'_> {
    fn drop(&mut self) {
        // SAFETY: initialised. STATE, if pages were forgotten: they stay charged, and the record
        // goes all the same, since nobody can use them any more.
        let _ = unsafe { sys::wrt_counted_allocator_deinit(self.raw.get()) };
    }
}

/// Collects settings; the rules of memory_account.h are checked by [`build`](Self::build).
#[must_use]
#[derive(Default)]
pub struct CountedAllocatorBuilder<'inner> {
    inner: Option<&'inner dyn PageAllocator>,
    account: Option<MemoryAccount>,
}

impl<'inner> CountedAllocatorBuilder<'inner> {
    /// Starts with neither of the two.
    pub const fn new() -> Self {
        Self { inner: None, account: None }
    }

    /// Where the pages come from.
    pub const fn with_inner(mut self, inner: &'inner dyn PageAllocator) -> Self {
        self.inner = Some(inner);
        self
    }

    /// What they are charged to.
    pub fn with_account(mut self, account: &MemoryAccount) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// Makes the view. `InvalidArgument` where one of the two is missing.
    pub fn build(self) -> Result<CountedAllocator<'inner>> {
        let (Some(inner), Some(account)) = (self.inner, self.account) else {
            return Err(Error::invalid_argument(
                c"CountedAllocatorBuilder::build",
                c"with_inner() and with_account() are both needed",
            ));
        };
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_counted_allocator_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_counted_allocator_config>() as u32;
        config.inner = inner.interface();
        config.account = account.raw();
        // SAFETY: as above.
        let raw = Box::new(UnsafeCell::new(unsafe { mem::zeroed() }));
        // SAFETY: the box keeps its address; inner allocator and account are kept by the view.
        check(unsafe { sys::wrt_counted_allocator_init(raw.get(), &raw const config) })?;
        Ok(CountedAllocator { raw, inner, _account: account })
    }
}
