//! Executors: where a pool finds the function that a task names. Mirrors `wrt_platform/executor.h`.

use alloc::{boxed::Box, vec::Vec};
use core::{cell::UnsafeCell, mem};

use wrt_platform_sys as sys;

use super::System;
use crate::error::{Error, Result, check};
use crate::instance::{Instance, raw};
use crate::module::{FunctionType, Module};
use crate::room::Room;

/// Finds functions and instances for a pool; made by [`InstanceExecutorBuilder`] or
/// [`ModuleExecutorBuilder`]. What it has is nobody else's until it is dropped.
pub struct Executor {
    kind: Box<Kind>,
    /// What C borrows, in the order in which it is dropped: after `kind`.
    _buffer: Vec<u64>,
    _instances: Vec<Instance<'static>>,
    #[expect(clippy::vec_box, reason = "C holds their addresses")]
    _configs: Vec<Box<sys::wrt_instance_config>>,
}

enum Kind {
    Instances(UnsafeCell<sys::wrt_instance_executor>),
    Modules(UnsafeCell<sys::wrt_module_executor>),
}

// SAFETY: executors are for any thread, executor.h says; instances are `Send`, and only the
// executor's own workers touch them.
unsafe impl Send for Executor {}
// SAFETY: as above; `&Executor` only hands the interface on.
unsafe impl Sync for Executor {}

impl Executor {
    pub(crate) fn interface(&self) -> sys::wrt_executor {
        // SAFETY: it is initialised, and its box keeps its address.
        unsafe {
            match &*self.kind {
                Kind::Instances(executor) => sys::wrt_instance_executor_interface(executor.get()),
                Kind::Modules(executor) => sys::wrt_module_executor_interface(executor.get()),
            }
        }
    }

    /// What a function takes and gives; `NotFound`.
    pub fn function_type(&self, function_id: u32) -> Result<FunctionType<'_>> {
        let interface = self.interface();
        // SAFETY: zero is a valid value of every field.
        let mut kind: sys::wrt_function_type = unsafe { mem::zeroed() };
        // SAFETY: the interface is that of a live executor, whose calls are all there.
        unsafe {
            let ask = (*interface.ops).check.expect("executor.h: none may be NULL");
            check(ask(interface.self_, function_id, &raw mut kind))?;
            Ok(FunctionType::from_raw(&kind))
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // SAFETY: it is initialised. While tasks use it, the pool keeps it; so it is free here.
        unsafe {
            let _ = match &mut *self.kind {
                Kind::Instances(executor) => sys::wrt_instance_executor_deinit(executor.get()),
                Kind::Modules(executor) => sys::wrt_module_executor_deinit(executor.get()),
            };
        }
    }
}

/// Collects instances and the numbers of their functions. One task at a time has an instance; the
/// others wait for their turn, in order.
#[derive(Default)]
#[must_use]
pub struct InstanceExecutorBuilder {
    instances: Vec<Instance<'static>>,
    functions: Vec<sys::wrt_executor_function>,
    buffer: Option<&'static mut [u64]>,
    system: Option<System>,
    refusal: Option<Error>,
}

impl InstanceExecutorBuilder {
    /// Starts without an instance.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives an instance to the executor: `functions` are its exports, each with the number by
    /// which tasks name it.
    pub fn with_functions(
        mut self,
        instance: Instance<'static>,
        functions: &[(u32, &str)],
    ) -> Self {
        for (function_id, name) in functions {
            match raw::function(instance.storage(), name) {
                Ok(function) => self.functions.push(sys::wrt_executor_function {
                    function_id: *function_id,
                    group: 0,
                    instance: instance.storage().raw(),
                    function,
                }),
                Err(refusal) => self.refusal = self.refusal.or(Some(refusal)),
            }
        }
        self.instances.push(instance);
        self
    }

    /// The thread system; by default Linux's.
    pub fn with_system(mut self, system: System) -> Self {
        self.system = Some(system);
        self
    }

    /// Where its lists lie; by default on the heap.
    pub fn with_buffer(mut self, buffer: &'static mut [u64]) -> Self {
        self.buffer = Some(buffer);
        self
    }

    /// Makes the executor, or says what is wrong.
    pub fn build(mut self) -> Result<Executor> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_instance_executor_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_instance_executor_config>() as u32;
        config.functions = self.functions.as_ptr();
        config.function_count = self.functions.len() as u32;
        config.system = System::interface(self.system)?;
        // SAFETY: both are live.
        let room = Room::new(self.buffer.take(), |layout| unsafe {
            sys::wrt_instance_executor_layout(&raw const config, layout)
        })?;
        (config.buffer, config.buffer_size) = (room.start, room.size);
        // SAFETY: zero is a valid value of every field.
        let kind = Box::new(Kind::Instances(UnsafeCell::new(unsafe { mem::zeroed() })));
        let Kind::Instances(executor) = &*kind else { unreachable!("it was made just now") };
        // SAFETY: the box keeps its address; buffer and instances are kept beside it.
        check(unsafe { sys::wrt_instance_executor_init(executor.get(), &raw const config) })?;
        Ok(Executor { kind, _buffer: room.own, _instances: self.instances, _configs: Vec::new() })
    }
}

/// Collects modules and the numbers of their functions. Each task gets an instance of its own,
/// made from the memory of the worker that runs it; modules without imports.
#[must_use]
pub struct ModuleExecutorBuilder {
    #[expect(clippy::vec_box, reason = "C holds their addresses")]
    configs: Vec<Box<sys::wrt_instance_config>>,
    exports: Vec<sys::wrt_executor_export>,
    slots: u32,
    buffer: Option<&'static mut [u64]>,
    system: Option<System>,
}

impl Default for ModuleExecutorBuilder {
    fn default() -> Self {
        Self { configs: Vec::new(), exports: Vec::new(), slots: 1, buffer: None, system: None }
    }
}

impl ModuleExecutorBuilder {
    /// Starts without a module, with one slot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module: `exports` are functions of it, each with the number by which tasks name it.
    pub fn with_exports(
        mut self,
        module: &'static Module<'static>,
        exports: &[(u32, &'static str)],
    ) -> Self {
        // SAFETY: zero is a valid value of every field.
        let mut config: Box<sys::wrt_instance_config> = Box::new(unsafe { mem::zeroed() });
        config.struct_size = size_of::<sys::wrt_instance_config>() as u32;
        config.module = module.raw();
        for (function_id, name) in exports {
            self.exports.push(sys::wrt_executor_export {
                function_id: *function_id,
                name_size: name.len() as u32,
                name: name.as_ptr().cast(),
                instance: &raw const *config,
            });
        }
        self.configs.push(config);
        self
    }

    /// Instances at once; a task beyond waits.
    pub fn with_slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// The thread system; by default Linux's.
    pub fn with_system(mut self, system: System) -> Self {
        self.system = Some(system);
        self
    }

    /// Where the instances lie; by default on the heap.
    pub fn with_buffer(mut self, buffer: &'static mut [u64]) -> Self {
        self.buffer = Some(buffer);
        self
    }

    /// Makes the executor, or says what is wrong.
    pub fn build(mut self) -> Result<Executor> {
        // SAFETY: zero is a valid value of every field.
        let mut config: sys::wrt_module_executor_config = unsafe { mem::zeroed() };
        config.struct_size = size_of::<sys::wrt_module_executor_config>() as u32;
        config.exports = self.exports.as_ptr();
        config.export_count = self.exports.len() as u32;
        config.slots = self.slots;
        config.system = System::interface(self.system)?;
        // SAFETY: both are live, and so are modules and names.
        let room = Room::new(self.buffer.take(), |layout| unsafe {
            sys::wrt_module_executor_layout(&raw const config, layout)
        })?;
        (config.buffer, config.buffer_size) = (room.start, room.size);
        // SAFETY: zero is a valid value of every field.
        let kind = Box::new(Kind::Modules(UnsafeCell::new(unsafe { mem::zeroed() })));
        let Kind::Modules(executor) = &*kind else { unreachable!("it was made just now") };
        // SAFETY: the box keeps its address; buffer and configs are kept beside it.
        check(unsafe { sys::wrt_module_executor_init(executor.get(), &raw const config) })?;
        Ok(Executor { kind, _buffer: room.own, _instances: Vec::new(), _configs: self.configs })
    }
}
