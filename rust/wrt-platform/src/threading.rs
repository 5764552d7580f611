//! Thread pools that run closures and functions of guests, the most urgent ones first. Mirrors
//! `wrt_platform/threading.h`.
//!
//! ```
//! use wrt_platform::threading::{LinuxThreadPool, ThreadPoolConfig, ThreadPriority};
//!
//! let pool = LinuxThreadPool::new(ThreadPoolConfig {
//!     max_threads: 2,
//!     priority_range: (ThreadPriority::Low, ThreadPriority::High),
//!     name_prefix: "worker",
//!     ..Default::default()
//! })?;
//! let task = pool.submit(|| 6 * 7)?;
//! assert_eq!(task.join()?, 42);
//! pool.shutdown(None)?;
//! # Ok::<(), wrt_platform::Error>(())
//! ```

mod config;
mod executor;
mod pool;
mod report;
mod task;
mod wasm;

pub use config::{System, ThreadPoolConfig};
pub(crate) use config::{limit, state_error};
pub use executor::{Executor, InstanceExecutorBuilder, ModuleExecutorBuilder};
pub use pool::{LinuxThreadPool, QnxThreadPool, ThreadPool};
pub use report::{TaskReport, TaskState, ThreadPoolReport, WorkerReport, WorkerState};
pub use task::{CancelHandle, JoinHandle, TaskBuilder};
pub(crate) use wasm::Call;
pub use wasm::{WasmHandle, WasmOutcome, WasmTask};

pub use crate::thread_system::{CpuSet, ThreadPriority};
