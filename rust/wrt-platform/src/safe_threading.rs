//! Threads of modules within limits, watched, and stopped when they break them. Mirrors
//! `wrt_platform/safe_threading.h`.
//!
//! ```
//! use core::time::Duration;
//! use wrt_platform::safe_threading::{
//!     ThreadHealth, ThreadingLimits, WasmModuleInfo, WasmThreadManager,
//! };
//! use wrt_platform::threading::{InstanceExecutorBuilder, ThreadPoolConfig, WasmTask};
//! use wrt_platform::{Instance, Module, Value};
//!
//! # let text = r#"(module (func (export "answer") (result i32) (i32.const 42)))"#;
//! # let bytes: &'static [u8] = Box::leak(wat::parse_str(text).unwrap().into_boxed_slice());
//! let module: &'static Module = Box::leak(Box::new(Module::new(bytes)?));
//! let instance = Instance::builder().with_module(module).build()?;
//! let executor =
//!     InstanceExecutorBuilder::new().with_functions(instance, &[(100, "answer")]).build()?;
//! let limits = ThreadingLimits {
//!     max_total_threads: 64,
//!     cpu_quota_per_thread: Duration::from_secs(60),
//!     ..Default::default()
//! };
//! let manager = WasmThreadManager::new(ThreadPoolConfig::default(), limits, executor)?;
//! manager.register_module(WasmModuleInfo {
//!     id: 1,
//!     name: "critical".to_string(),
//!     cpu_quota: Duration::from_secs(30),
//!     ..Default::default()
//! })?;
//! let thread = manager.spawn(1, WasmTask { id: 7, function_id: 100, ..Default::default() })?;
//! for (_id, health) in manager.health_check()? {
//!     assert_eq!(health, ThreadHealth::Healthy);
//! }
//! manager.kill_unhealthy_threads()?;
//! assert_eq!(thread.join()?.result?, [Value::I32(42)]);
//! manager.shutdown(None)?;
//! # Ok::<(), wrt_platform::Error>(())
//! ```
//!
//! Killing is cooperative: a guest stops at its next loop or call, a wait that has the cancel token
//! ends. A thread that does not come back is given up: `Poisoned`, until it does.

mod config;
mod health;
mod manager;
mod thread;

pub use config::{ThreadManagerConfig, ThreadingLimits, WasmModuleInfo};
pub use health::{ThreadHealth, ThreadHealthReport, ThreadManagerReport};
pub use manager::WasmThreadManager;
pub use thread::ManagedThread;
