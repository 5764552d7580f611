//! The Rust face of modules; validation itself is proven by the official test-suite.

use std::thread;

use wrt_platform::{
    ErrorKind, ExternType, FunctionType, ImportType, Module, ModuleBuilder, Result, ValueType,
};

fn bytes(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn imports_and_exports_come_with_names_and_types() -> Result<()> {
    let bytes = bytes(
        r#"(module
             (import "env" "log" (func (param i32 f64) (result i64)))
             (import "env" "pages" (memory 1 4))
             (global (export "level") (mut f32) (f32.const 1))
             (table (export "jumps") 3 funcref)
             (func (export "tick") (result externref) ref.null extern))"#,
    );
    let module = Module::new(&bytes)?;
    let log =
        FunctionType { parameters: &[ValueType::I32, ValueType::F64], results: &[ValueType::I64] };
    let imports: Vec<_> = module.imports().collect();
    assert_eq!(
        imports,
        [
            ImportType { module: "env", name: "log", kind: ExternType::Function(log) },
            ImportType {
                module: "env",
                name: "pages",
                kind: ExternType::Memory { minimum: 1, maximum: Some(4) },
            },
        ]
    );
    let exports: Vec<_> = module.exports().map(|export| (export.name, export.kind)).collect();
    let level = ExternType::Global { value_type: ValueType::F32, is_mutable: true };
    let jumps = ExternType::Table { element_type: ValueType::FuncRef, minimum: 3, maximum: None };
    let tick = FunctionType { parameters: &[], results: &[ValueType::ExternRef] };
    assert_eq!(exports, [("level", level), ("jumps", jumps), ("tick", ExternType::Function(tick))]);
    assert_eq!(module.function_type(0)?, log);
    assert_eq!(module.function_name(1), Some("tick"));
    assert_eq!(module.function_type(2).unwrap_err().kind, ErrorKind::InvalidArgument);
    Ok(())
}

#[test]
fn refusal_tells_the_byte() {
    let mut bytes = bytes("(module (func (result i32) i32.const 7))");
    let constant = bytes.iter().position(|byte| *byte == 0x41).unwrap();
    bytes[constant] = 0x42; // i64.const, where an i32 is due
    let error = Module::new(&bytes).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidModule);
    assert!((constant..bytes.len()).contains(&(error.detail[0] as usize)), "{error}");

    let cut = Module::new(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!(cut.kind, ErrorKind::Malformed);
    let text = Module::new(b"(module)").unwrap_err();
    assert_eq!((text.kind, text.detail[0]), (ErrorKind::Malformed, 0));
    assert!(text.to_string().starts_with("wrt_module_layout: "), "{text}");
}

#[test]
fn buffer_of_the_caller_holds_the_index_and_a_smaller_one_is_refused() -> Result<()> {
    let bytes = bytes("(module (func (param i32) (if (local.get 0) (then return))))");
    let builder = || ModuleBuilder::new().with_bytes(&bytes);
    let layout = builder().layout()?;
    assert_eq!(layout.alignment, 8);
    let mut words = vec![0; layout.bytes.div_ceil(8)];
    let needed = {
        let usage = builder().with_buffer(&mut words).build()?.usage();
        assert_eq!(usage.function_count, 1);
        assert!(usage.side_table_bytes > 0 && usage.buffer_bytes <= layout.bytes);
        usage.init_bytes.div_ceil(8)
    };
    assert!(words.iter().any(|word| *word != 0), "nothing was written to the buffer");
    assert!(builder().with_buffer(&mut words[..needed]).build().is_ok());
    let error = builder().with_buffer(&mut words[..needed - 1]).build().unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoMemory);
    Ok(())
}

#[test]
fn module_that_owns_its_bytes_outlives_them_and_goes_round_threads() -> Result<()> {
    fn load() -> Result<Module<'static>> {
        Module::from_bytes(bytes(r#"(module (func (export "a")) (func (export "b")))"#))
    }
    let module = load()?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let names: Vec<_> = module.exports().map(|export| export.name).collect();
                assert_eq!(names, ["a", "b"]);
            });
        }
    });
    let moved = thread::spawn(move || module.usage().export_count).join().unwrap();
    assert_eq!(moved, 2);
    Ok(())
}
