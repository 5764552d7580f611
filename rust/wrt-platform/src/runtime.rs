//! A runtime: threads of modules, their memory and a watchdog together. Mirrors
//! `wrt_platform/runtime.h`.
//!
//! ```
//! use wrt_platform::runtime::RuntimeBuilder;
//! use wrt_platform::safe_threading::{ThreadManagerConfig, WasmModuleInfo};
//! use wrt_platform::threading::{InstanceExecutorBuilder, ThreadPoolConfig, WasmTask};
//! use wrt_platform::{EnforcementState, Instance, MemoryAccountBuilder, Module, Value};
//!
//! # let text = r#"(module (func (export "answer") (result i32) (i32.const 42)))"#;
//! # let bytes: &'static [u8] = Box::leak(wat::parse_str(text).unwrap().into_boxed_slice());
//! let module: &'static Module = Box::leak(Box::new(Module::new(bytes)?));
//! let instance = Instance::builder().with_module(module).build()?;
//! let executor =
//!     InstanceExecutorBuilder::new().with_functions(instance, &[(100, "answer")]).build()?;
//! let account = MemoryAccountBuilder::new().with_maximum(64 << 20).build()?;
//! let runtime = RuntimeBuilder::new()
//!     .with_threads(ThreadManagerConfig::default())
//!     .with_account(&account)
//!     .build(executor)?;
//! let info = WasmModuleInfo { id: 1, name: "critical".to_string(), ..Default::default() };
//! runtime.thread_manager.register_module(info)?;
//! let thread = runtime.thread_manager.spawn(1, WasmTask::default().with_function_id(100))?;
//! assert_eq!(thread.join()?.result?, [Value::I32(42)]);
//! assert_eq!(runtime.report()?.hang_detection.state, EnforcementState::Enforced);
//! runtime.shutdown(None)?;
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! Parts that were set up one by one make a runtime, too, as the documents have it:
//! `WasmRuntime { partition, thread_manager, watchdog }`.

use alloc::boxed::Box;
use core::{mem, ops::Deref, ptr, time::Duration};

use wrt_platform_sys as sys;

use crate::QnxAllocatorBuilder;
use crate::QnxMemoryPartition;
use crate::enforcement::Enforcement;
use crate::error::{Result, check};
use crate::events::{Events, EventsBuilder};
use crate::memory_account::{MemoryAccount, MemoryAccountUsage};
use crate::page_allocator::PageAllocator;
use crate::safe_threading::{ThreadManagerConfig, ThreadManagerReport, WasmThreadManager};
use crate::threading::{Executor, System};
use crate::watchdog::{SoftwareWatchdog, WatchdogConfig, WatchdogReport};

/// What the memory of a runtime's modules is part of. What is not known is `None`.
pub trait Partition {
    /// What keeps others off it.
    fn isolation(&self) -> Result<Option<Enforcement>> {
        Ok(None)
    }

    /// What holds its limit.
    fn memory_limit(&self) -> Result<Option<Enforcement>> {
        Ok(None)
    }

    /// That pays for it.
    fn account(&self) -> Option<&MemoryAccount> {
        None
    }

    /// An allocator whose pages are in it, for a pool that was given none.
    fn page_allocator(&self) -> Result<Option<Box<dyn PageAllocator + Send>>> {
        Ok(None)
    }
}

/// No partition.
impl Partition for () {}

impl Partition for MemoryAccount {
    fn account(&self) -> Option<&MemoryAccount> {
        Some(self)
    }
}

impl Partition for QnxMemoryPartition {
    fn isolation(&self) -> Result<Option<Enforcement>> {
        self.report().map(|report| Some(report.isolation))
    }

    fn memory_limit(&self) -> Result<Option<Enforcement>> {
        self.report().map(|report| Some(report.maximum))
    }

    fn page_allocator(&self) -> Result<Option<Box<dyn PageAllocator + Send>>> {
        let builder = QnxAllocatorBuilder::new().with_partition(self).with_guard_pages(true);
        Ok(Some(Box::new(builder.build()?)))
    }
}

/// A partition, and what [`RuntimeBuilder`] was told of its protection; it is that partition.
pub struct Described<P> {
    partition: P,
    account: Option<MemoryAccount>,
    isolation: Option<Enforcement>,
    memory_limit: Option<Enforcement>,
}

impl<P> Deref for Described<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.partition
    }
}

impl<P: Partition> Partition for Described<P> {
    fn isolation(&self) -> Result<Option<Enforcement>> {
        self.isolation.map_or_else(|| self.partition.isolation(), |said| Ok(Some(said)))
    }

    fn memory_limit(&self) -> Result<Option<Enforcement>> {
        self.memory_limit.map_or_else(|| self.partition.memory_limit(), |said| Ok(Some(said)))
    }

    fn account(&self) -> Option<&MemoryAccount> {
        self.account.as_ref().or_else(|| self.partition.account())
    }

    fn page_allocator(&self) -> Result<Option<Box<dyn PageAllocator + Send>>> {
        self.partition.page_allocator()
    }
}

/// What protects, and what has happened.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RuntimeReport {
    /// What keeps others off the modules' memory.
    pub isolation: Enforcement,
    /// Of all modules together.
    pub memory_limit: Enforcement,
    /// Of each module.
    pub module_memory_limit: Enforcement,
    /// How many threads there may be.
    pub thread_limit: Enforcement,
    /// How long a thread may take.
    pub lifetime: Enforcement,
    /// How much CPU time it may use.
    pub cpu_quota: Enforcement,
    /// By the watchdog.
    pub hang_detection: Enforcement,
    /// That what hangs is stopped.
    pub hang_kill: Enforcement,
    /// Of the thread manager.
    pub threads: ThreadManagerReport,
    /// Of the watchdog.
    pub watchdog: WatchdogReport,
    /// Of the account, if there is one.
    pub memory: Option<MemoryAccountUsage>,
}

impl RuntimeReport {
    /// Each protection by its name.
    pub const fn protections(&self) -> [(&'static str, Enforcement); 8] {
        [
            ("isolation", self.isolation),
            ("memory_limit", self.memory_limit),
            ("module_memory_limit", self.module_memory_limit),
            ("thread_limit", self.thread_limit),
            ("lifetime", self.lifetime),
            ("cpu_quota", self.cpu_quota),
            ("hang_detection", self.hang_detection),
            ("hang_kill", self.hang_kill),
        ]
    }
}

/// Threads, memory and a watchdog. The parts are used by their own calls. Dropped, they end in the
/// order that works: threads, watchdog, partition; each says what its drop does.
pub struct WasmRuntime<P = QnxMemoryPartition> {
    /// Spawns threads of modules, and watches their limits.
    pub thread_manager: WasmThreadManager,
    /// Watches what has to show that it goes on.
    pub watchdog: SoftwareWatchdog,
    /// That the modules' memory comes from.
    pub partition: P,
}

impl<P: Partition> WasmRuntime<P> {
    /// Each protection, whether it holds and by what, and what has happened.
    pub fn report(&self) -> Result<RuntimeReport> {
        let nothing = sys::wrt_enforcement { reason: ptr::null(), state: 0, reserved: 0 };
        let said = |known: Option<Enforcement>| known.map_or(nothing, Enforcement::to_raw);
        let account = self.partition.account();
        let parts = sys::wrt_runtime_parts {
            struct_size: size_of::<sys::wrt_runtime_parts>() as u32,
            reserved: [0; 4],
            thread_manager: self.thread_manager.raw(),
            watchdog: self.watchdog.raw(),
            account: account.map_or(ptr::null_mut(), MemoryAccount::raw),
            isolation: said(self.partition.isolation()?),
            memory_limit: said(self.partition.memory_limit()?),
        };
        // SAFETY: zero is a valid value of every field.
        let mut raw: sys::wrt_runtime_report = unsafe { mem::zeroed() };
        // SAFETY: all parts are initialised, and kept by `self`.
        check(unsafe { sys::wrt_runtime_query_parts(&raw const parts, &raw mut raw) })?;
        Ok(RuntimeReport {
            isolation: Enforcement::from_raw(&raw.isolation),
            memory_limit: Enforcement::from_raw(&raw.memory_limit),
            module_memory_limit: Enforcement::from_raw(&raw.module_memory_limit),
            thread_limit: Enforcement::from_raw(&raw.thread_limit),
            lifetime: Enforcement::from_raw(&raw.lifetime),
            cpu_quota: Enforcement::from_raw(&raw.cpu_quota),
            hang_detection: Enforcement::from_raw(&raw.hang_detection),
            hang_kill: Enforcement::from_raw(&raw.hang_kill),
            threads: ThreadManagerReport::from_raw(&raw.threads),
            watchdog: WatchdogReport::from_raw(&raw.watchdog),
            memory: account.map(|_| MemoryAccountUsage::from_raw(&raw.memory)),
        })
    }

    /// Lets all threads run to their end, and ends the watchdog after them. `TimedOut` if some are
    /// still running; it may be called again.
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<()> {
        self.thread_manager.shutdown(timeout)?;
        self.watchdog.stop()
    }

    /// The same, but cancels the threads that run, and gives up those that don't come back in time.
    pub fn cancel(&self, timeout: Option<Duration>) -> Result<()> {
        self.thread_manager.cancel(timeout)?;
        self.watchdog.stop()
    }
}

/// Collects settings; the rules of runtime.h are checked by [`build`](Self::build).
#[must_use]
pub struct RuntimeBuilder<P = ()> {
    threads: ThreadManagerConfig,
    watchdog: WatchdogConfig,
    events: Option<Events>,
    memory: Described<P>,
}

impl RuntimeBuilder {
    /// Starts without a partition, with the defaults of the parts.
    pub fn new() -> Self {
        Self {
            threads: ThreadManagerConfig::default(),
            watchdog: WatchdogConfig::default(),
            events: None,
            memory: Described { partition: (), account: None, isolation: None, memory_limit: None },
        }
    }
}

impl Default for RuntimeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Partition> RuntimeBuilder<P> {
    /// The thread manager, with its pool and limits.
    pub fn with_threads(mut self, threads: ThreadManagerConfig) -> Self {
        self.threads = threads;
        self
    }

    /// The watchdog. Without a thread system of its own it gets that of the threads.
    pub fn with_watchdog(mut self, watchdog: WatchdogConfig) -> Self {
        self.watchdog = watchdog;
        self
    }

    /// Pays for the memory of all modules.
    pub fn with_account(mut self, account: &MemoryAccount) -> Self {
        self.memory.account = Some(account.clone());
        self
    }

    /// That the modules' memory comes from. If the pool has no page allocator, one is made in it.
    pub fn with_partition<Other: Partition>(self, partition: Other) -> RuntimeBuilder<Other> {
        let Described { account, isolation, memory_limit, .. } = self.memory;
        RuntimeBuilder {
            threads: self.threads,
            watchdog: self.watchdog,
            events: self.events,
            memory: Described { partition, account, isolation, memory_limit },
        }
    }

    /// What keeps others off the modules' memory, where no partition says so itself.
    pub fn with_isolation(mut self, isolation: Enforcement) -> Self {
        self.memory.isolation = Some(isolation);
        self
    }

    /// What holds the limit of all memory, where neither partition nor account says so.
    pub fn with_memory_limit(mut self, limit: Enforcement) -> Self {
        self.memory.memory_limit = Some(limit);
        self
    }

    /// Where everything that happens is told. Without it, the runtime makes a ring, which is the
    /// watchdog's [`events`](SoftwareWatchdog::events).
    pub fn with_events(mut self, events: &Events) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// Starts watchdog and threads, monitors included; on error nothing is left running.
    pub fn build(mut self, executor: Executor) -> Result<WasmRuntime<Described<P>>> {
        self.share()?;
        let watchdog = SoftwareWatchdog::new(self.watchdog)?;
        watchdog.start()?;
        match start(self.threads, executor) {
            Ok(thread_manager) => {
                Ok(WasmRuntime { thread_manager, watchdog, partition: self.memory })
            }
            Err(error) => {
                watchdog.stop()?;
                Err(error)
            }
        }
    }

    /// Fills in what the parts have together.
    fn share(&mut self) -> Result<()> {
        let (threads, watchdog) = (&mut self.threads, &mut self.watchdog);
        let given = [&self.events, &threads.events, &watchdog.events];
        let events = match given.into_iter().flatten().next() {
            Some(events) => events.clone(),
            None => EventsBuilder::new().build()?,
        };
        threads.events.get_or_insert_with(|| events.clone());
        watchdog.events.get_or_insert(events);
        if threads.account.is_none() {
            threads.account = self.memory.account().cloned();
        }
        if threads.threads.page_allocator.is_none() {
            threads.threads.page_allocator = self.memory.page_allocator()?;
        }
        if threads.threads.system.is_some() && !watchdog.has_system() {
            let system = System::interface(threads.threads.system)?;
            // SAFETY: whoever made the `System` has promised it.
            *watchdog = unsafe { mem::take(watchdog).with_system(system) };
        }
        Ok(())
    }
}

fn start(threads: ThreadManagerConfig, executor: Executor) -> Result<WasmThreadManager> {
    let manager = threads.build(executor)?;
    match manager.start() {
        Ok(()) => Ok(manager),
        Err(error) => {
            manager.cancel(None)?;
            Err(error)
        }
    }
}
