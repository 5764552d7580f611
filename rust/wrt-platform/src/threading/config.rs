//! What a pool is made of.

use alloc::boxed::Box;
use core::{mem, ptr, time::Duration};

use wrt_platform_sys as sys;

use super::Executor;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::page_allocator::PageAllocator;
use crate::system_below::{closed_name, system_interface};
use crate::thread_system::{CpuSet, ThreadPriority, ThreadSystem};

/// A thread system that the caller answers for.
#[derive(Clone, Copy)]
pub struct System(sys::wrt_thread_system);

// SAFETY: thread systems are for any thread.
unsafe impl Send for System {}

impl System {
    /// # Safety
    /// It works as thread_system.h has it, and is there until the program ends.
    pub const unsafe fn new(system: sys::wrt_thread_system) -> Self {
        Self(system)
    }

    /// One that is there until the program ends, such as a `static` or a leaked box.
    pub fn of<T: ThreadSystem>(system: &'static T) -> Self {
        Self(system.interface())
    }

    pub(crate) fn interface(given: Option<Self>) -> Result<sys::wrt_thread_system> {
        given.map_or_else(system_interface, |System(system)| Ok(system))
    }
}

/// What a pool is made of; zeros and `None` stand for the defaults of threading.h.
pub struct ThreadPoolConfig {
    /// Workers, all started at once; 1 to 256.
    pub max_threads: u32,
    /// Lowest and highest priority that a task may have.
    pub priority_range: (ThreadPriority, ThreadPriority),
    /// CPUs of the workers; `None`: any.
    pub cpu_affinity: Option<CpuSet>,
    /// Bytes of a worker's stack; 0: the system's default.
    pub stack_size: usize,
    /// Bytes of linear memory that the instances made on one worker have at most; it counts what
    /// comes from `page_allocator`.
    pub memory_limit_per_thread: Option<usize>,
    /// Worker n is called `<prefix>-n`, in 15 bytes; empty: "wrt-worker".
    pub name_prefix: &'static str,
    /// Tasks that can wait, for each priority; 0: 256.
    pub queue_capacity: u32,
    /// How often a worker looks for work before it sleeps; 0: chosen, 1: not at all.
    pub spin: u32,
    /// Workers that can be given up and replaced.
    pub spare_threads: u32,
    /// `Permission` if not all of the range may be had.
    pub require_priority: bool,
    /// The thread system; `None`: that of the pool's kind.
    pub system: Option<System>,
    /// Where instances that the executor makes get their memory.
    pub page_allocator: Option<Box<dyn PageAllocator + Send>>,
    /// Where wasm tasks find their functions.
    pub executor: Option<Executor>,
    /// Gets `THREAD_POISONED` when a worker is given up.
    pub events: Option<Events>,
    /// Where the pool lies; `None`: the heap.
    pub buffer: Option<&'static mut [u64]>,
}

impl Default for ThreadPoolConfig {
    fn default() -> Self {
        Self {
            max_threads: 4,
            priority_range: (ThreadPriority::Low, ThreadPriority::High),
            cpu_affinity: None,
            stack_size: 0,
            memory_limit_per_thread: None,
            name_prefix: "",
            queue_capacity: 0,
            spin: 0,
            spare_threads: 0,
            require_priority: false,
            system: None,
            page_allocator: None,
            executor: None,
            events: None,
            buffer: None,
        }
    }
}

impl ThreadPoolConfig {
    /// Workers, all started at once.
    #[must_use]
    pub fn with_max_threads(mut self, count: u32) -> Self {
        self.max_threads = count;
        self
    }

    /// Lowest and highest priority that a task may have.
    #[must_use]
    pub fn with_priority_range(mut self, lowest: ThreadPriority, highest: ThreadPriority) -> Self {
        self.priority_range = (lowest, highest);
        self
    }

    /// CPUs of the workers.
    #[must_use]
    pub fn with_cpu_affinity(mut self, cpus: CpuSet) -> Self {
        self.cpu_affinity = Some(cpus);
        self
    }

    /// Bytes of a worker's stack.
    #[must_use]
    pub fn with_stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Bytes of linear memory that the instances made on one worker have at most.
    #[must_use]
    pub fn with_memory_limit_per_thread(mut self, bytes: usize) -> Self {
        self.memory_limit_per_thread = Some(bytes);
        self
    }

    /// Worker n is called `<prefix>-n`.
    #[must_use]
    pub fn with_name_prefix(mut self, prefix: &'static str) -> Self {
        self.name_prefix = prefix;
        self
    }

    /// Tasks that can wait, for each priority.
    #[must_use]
    pub fn with_queue_capacity(mut self, tasks: u32) -> Self {
        self.queue_capacity = tasks;
        self
    }

    /// How often a worker looks for work before it sleeps.
    #[must_use]
    pub fn with_spin(mut self, looks: u32) -> Self {
        self.spin = looks;
        self
    }

    /// Workers that can be given up and replaced.
    #[must_use]
    pub fn with_spare_threads(mut self, count: u32) -> Self {
        self.spare_threads = count;
        self
    }

    /// `Permission` if not all of the range may be had.
    #[must_use]
    pub fn with_require_priority(mut self, enabled: bool) -> Self {
        self.require_priority = enabled;
        self
    }

    /// The thread system.
    #[must_use]
    pub fn with_system(mut self, system: System) -> Self {
        self.system = Some(system);
        self
    }

    /// Where instances that the executor makes get their memory.
    #[must_use]
    pub fn with_page_allocator(mut self, allocator: Box<dyn PageAllocator + Send>) -> Self {
        self.page_allocator = Some(allocator);
        self
    }

    /// Where wasm tasks find their functions.
    #[must_use]
    pub fn with_executor(mut self, executor: Executor) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Gets what happens to threads.
    #[must_use]
    pub fn with_events(mut self, events: &Events) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// Where the pool lies.
    #[must_use]
    pub fn with_buffer(mut self, buffer: &'static mut [u64]) -> Self {
        self.buffer = Some(buffer);
        self
    }

    /// All but name and buffer, which the pool sees to.
    pub(crate) fn raw(&self) -> Result<sys::wrt_thread_pool_config> {
        // SAFETY: zero is a valid value of every field (integers, null pointers, false).
        let mut raw: sys::wrt_thread_pool_config = unsafe { mem::zeroed() };
        raw.struct_size = size_of::<sys::wrt_thread_pool_config>() as u32;
        raw.max_threads = self.max_threads;
        raw.priority_range = [self.priority_range.0 as u32, self.priority_range.1 as u32];
        raw.cpu_affinity = self.cpu_affinity.unwrap_or_default().to_raw();
        raw.stack_size = self.stack_size as u64;
        raw.memory_limit_per_thread = self.memory_limit_per_thread.unwrap_or(0) as u64;
        raw.queue_capacity = self.queue_capacity;
        raw.spin = self.spin;
        raw.spare_threads = self.spare_threads;
        raw.require_priority = self.require_priority;
        raw.system = System::interface(self.system)?;
        if let Some(allocator) = &self.page_allocator {
            raw.page_allocator = allocator.interface();
        }
        if let Some(executor) = &self.executor {
            raw.executor = executor.interface();
        }
        raw.events = self.events.as_ref().map_or(ptr::null_mut(), Events::raw);
        Ok(raw)
    }

    pub(crate) fn name(&self) -> [u8; 36] {
        closed_name(self.name_prefix)
    }
}

/// Nanoseconds of a time-out for C; `None`: without limit.
pub(crate) fn limit(timeout: Option<Duration>) -> u64 {
    timeout.map_or(u64::MAX, crate::system_below::nanoseconds)
}

pub(crate) fn state_error(
    operation: &'static core::ffi::CStr,
    reason: &'static core::ffi::CStr,
) -> Error {
    Error::new(crate::ErrorKind::State, operation, reason)
}
