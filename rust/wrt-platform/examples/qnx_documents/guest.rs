//! What stands for the documents' guest.

use std::sync::OnceLock;

use wrt_platform::{Instance, Module, QnxAllocatorBuilder, Result, Value};

const TEXT: &str = r#"(module (memory 1 2000)
  (func (export "answer") (result i32) (i32.const 42))
  (func (export "spin") (loop (br 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

/// The module, made once.
pub fn module() -> &'static Module<'static> {
    static MADE: OnceLock<Module<'static>> = OnceLock::new();
    MADE.get_or_init(|| {
        let bytes = wat::parse_str(TEXT).expect("the text is a module").into_boxed_slice();
        Module::new(Box::leak(bytes)).expect("the module is valid")
    })
}

/// Runs it; its memory comes from the partition that is current.
pub fn execute_wasm_module() -> Result<Vec<Value>> {
    let mut allocator = QnxAllocatorBuilder::new().build()?;
    let mut instance =
        Instance::builder().with_module(module()).with_allocator(&mut allocator).build()?;
    instance.call("answer", &[])
}
