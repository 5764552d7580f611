//! Where an instance lives: at one address, with a way for others to interrupt it.

#[cfg(feature = "std")]
use alloc::boxed::Box;
#[cfg(feature = "alloc")]
use core::cell::Cell;
use core::{
    cell::UnsafeCell,
    hint,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

use wrt_platform_sys as sys;

#[cfg(feature = "alloc")]
use crate::error::Source;
use crate::error::{Error, ErrorKind, Result};

/// Nobody uses it.
const EMPTY: usize = 0;
/// The instance is ending, or not yet there.
const CLOSED: usize = 1;
/// An instance lives in it; each that is just at it through a handle adds 1.
const ALIVE: usize = 2;

/// Room for one instance. In firmware it is a `static`; with a heap, builders make it themselves.
#[repr(C)]
pub struct InstanceStorage {
    /// First, because C hands host functions nothing but its address.
    raw: UnsafeCell<MaybeUninit<sys::wrt_instance>>,
    phase: AtomicUsize,
    number: AtomicUsize,
    /// The instance that owns this one, since it was linked.
    owner: AtomicPtr<InstanceStorage>,
    #[cfg(feature = "alloc")]
    failure: Cell<Option<Failure>>,
}

/// How a host closure failed, on its way over the C frames.
#[cfg(feature = "alloc")]
pub(crate) enum Failure {
    Error(Source),
    #[cfg(feature = "std")]
    Panic(Box<dyn core::any::Any + Send>),
}

// SAFETY: `raw` and `failure` are touched by the one instance that took the storage, which is not
// `Sync`; `interrupt` uses atomics, and keeps the instance from ending meanwhile.
unsafe impl Sync for InstanceStorage {}
// SAFETY: while it is in use it is borrowed or shared, and so not sent; else it is empty.
unsafe impl Send for InstanceStorage {}

/// Numbers tell instances apart, for ever: addresses are used again.
static NEXT_NUMBER: AtomicUsize = AtomicUsize::new(1);

impl InstanceStorage {
    /// Room that nobody uses yet.
    pub const fn new() -> Self {
        Self {
            raw: UnsafeCell::new(MaybeUninit::zeroed()),
            phase: AtomicUsize::new(EMPTY),
            number: AtomicUsize::new(0),
            owner: AtomicPtr::new(ptr::null_mut()),
            #[cfg(feature = "alloc")]
            failure: Cell::new(None),
        }
    }

    /// Sets the interrupt flag of the instance of that number, if it is the one that lives here:
    /// a later one may stand on memory that the caller knows nothing of.
    pub(crate) fn interrupt(&self, number: usize) {
        // SAFETY: it is alive.
        self.with_alive(number, || unsafe { sys::wrt_instance_interrupt(self.raw()) });
    }

    /// Takes the flag back.
    pub(crate) fn clear_interrupt(&self, number: usize) {
        // SAFETY: it is alive.
        self.with_alive(number, || unsafe { sys::wrt_instance_clear_interrupt(self.raw()) });
    }

    /// How often it has shown that it gets on.
    pub(crate) fn heartbeat(&self, number: usize) -> Option<u32> {
        // SAFETY: it is alive.
        self.with_alive(number, || unsafe { sys::wrt_instance_heartbeat(self.raw()) })
    }

    /// Does `work` on the instance of that number: it cannot end meanwhile. `None`: it has ended.
    fn with_alive<T>(&self, number: usize, work: impl FnOnce() -> T) -> Option<T> {
        self.come_near()?;
        let result = (self.number() == number).then(work);
        self.phase.fetch_sub(1, Ordering::Release);
        result
    }

    /// From now on the instance waits with its end.
    fn come_near(&self) -> Option<usize> {
        let nearer = |phase: usize| (phase >= ALIVE).then(|| phase + 1);
        self.phase.fetch_update(Ordering::Acquire, Ordering::Relaxed, nearer).ok()
    }

    fn change(&self, from: usize, to: usize) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Reserves the storage for the caller alone.
    pub(crate) fn take(&self) -> Result<()> {
        if !self.change(EMPTY, CLOSED) {
            let reason = c"an instance lives, or was forgotten, in this storage";
            return Err(Error::new(ErrorKind::Busy, c"InstanceBuilder::build_in", reason));
        }
        // SAFETY: nobody else has the storage; zero is what C takes for "not initialised".
        unsafe { self.raw().write_bytes(0, 1) };
        let next = |number: usize| number.checked_add(1);
        let number = NEXT_NUMBER.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        self.number.store(number.unwrap_or(0), Ordering::Relaxed);
        number.map(drop).map_err(|_| {
            let reason = c"too many instances since the program started";
            Error::new(ErrorKind::Limit, c"InstanceBuilder::build", reason)
        })
    }

    /// C has initialised the instance.
    pub(crate) fn open(&self) {
        self.phase.store(ALIVE, Ordering::Release);
    }

    /// Keeps the handles out; waits for those that are just at it, which is for one store.
    pub(crate) fn close(&self) {
        while self.phase.load(Ordering::Relaxed) != CLOSED && !self.change(ALIVE, CLOSED) {
            hint::spin_loop();
        }
    }

    /// Ready for the next instance.
    pub(crate) fn give_back(&self) {
        self.owner.store(ptr::null_mut(), Ordering::Relaxed);
        self.phase.store(EMPTY, Ordering::Release);
    }

    /// For C, which hands it to host functions: so it stands for the whole storage.
    pub(crate) const fn raw(&self) -> *mut sys::wrt_instance {
        ptr::from_ref(self).cast_mut().cast()
    }

    pub(crate) fn number(&self) -> usize {
        self.number.load(Ordering::Relaxed)
    }

    /// # Safety
    /// The instance lives in a storage, and is alive for `'a`.
    pub(crate) unsafe fn of<'a>(raw: *mut sys::wrt_instance) -> &'a Self {
        // SAFETY: the caller's promise; `raw` is the first field, and the layout is C's.
        unsafe { &*raw.cast::<Self>() }
    }

    /// From now on this instance lives and dies with `owner`.
    #[cfg(feature = "alloc")]
    pub(crate) fn set_owner(&self, owner: &Self) {
        self.owner.store(ptr::from_ref(owner).cast_mut(), Ordering::Relaxed);
    }

    /// The instance that owns all others of this one's links.
    pub(crate) fn top(&self) -> &Self {
        let mut top = self;
        // SAFETY: an owner outlives what it owns.
        while let Some(owner) = unsafe { top.owner.load(Ordering::Relaxed).as_ref() } {
            top = owner;
        }
        top
    }

    /// Whether a function that was given out under this number lives as long as this instance.
    pub(crate) fn knows(&self, number: usize) -> bool {
        number != 0 && (number == self.number() || number == self.top().number())
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn fail(&self, failure: Failure) {
        self.top().failure.set(Some(failure));
    }

    /// Adds to an error what a closure said; goes on with its panic, if that is what it was.
    #[cfg(feature = "alloc")]
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.top().failure.take() {
            None => error,
            Some(Failure::Error(source)) => {
                let reason = c"a host function failed; its own error is the source";
                Error::new(error.kind, error.operation, reason).with_source(source)
            }
            #[cfg(feature = "std")]
            Some(Failure::Panic(payload)) => std::panic::resume_unwind(payload),
        }
    }

    #[cfg(not(feature = "alloc"))]
    pub(crate) fn explain(&self, error: Error) -> Error {
        error
    }
}

impl Default for InstanceStorage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn end_waits_for_whoever_is_just_interrupting() {
        let storage = InstanceStorage::new();
        storage.take().unwrap();
        storage.open();
        assert!(storage.come_near().is_some());
        let (sender, ended) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                storage.close();
                sender.send(()).unwrap();
            });
            assert!(ended.recv_timeout(Duration::from_millis(30)).is_err());
            storage.phase.fetch_sub(1, Ordering::Release);
            ended.recv_timeout(Duration::from_secs(10)).unwrap();
        });
        assert_eq!(storage.phase.load(Ordering::Relaxed), CLOSED);
    }
}
