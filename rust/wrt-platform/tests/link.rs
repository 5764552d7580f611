//! What instances import from each other, and memories, tables and globals of their own.

use wrt_platform::{
    ErrorKind, FuncRef, Global, HostFunction, Instance, Limits, LinuxAllocatorBuilder, Memory,
    Module, PAGE_SIZE, Result, StaticAllocatorBuilder, Table, Value, ValueType,
};

fn load(text: &str) -> Module<'static> {
    Module::from_bytes(wat::parse_str(text).unwrap()).unwrap()
}

const LIBRARY: &str = r#"(module
  (import "env" "log" (func $log (param i32)))
  (memory (export "memory") 1 3)
  (table (export "table") 4 funcref)
  (global (export "count") (mut i32) (i32.const 10))
  (func (export "store") (param i32 i32) (call $log (local.get 1))
    (i32.store8 (local.get 0) (local.get 1)))
  (func (export "invoke") (param i32) (result i32)
    (call_indirect (result i32) (local.get 0))))"#;

const PROGRAM: &str = r#"(module
  (import "library" "memory" (memory 1))
  (import "library" "table" (table 4 funcref))
  (import "library" "count" (global $count (mut i32)))
  (import "library" "store" (func $store (param i32 i32)))
  (import "library" "invoke" (func $invoke (param i32) (result i32)))
  (elem (i32.const 2) $forty_two)
  (func $forty_two (result i32) i32.const 42)
  (func (export "go") (result i32)
    (call $store (i32.const 8) (i32.const 77))
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.add (i32.load8_u (i32.const 8)) (call $invoke (i32.const 2)))))"#;

fn library<'a>(module: &'a Module<'static>, logged: &'a mut Vec<i32>) -> Result<Instance<'a>> {
    let log = HostFunction::builder()
        .with_parameters(&[ValueType::I32])
        .with_call(|_, arguments, _| {
            logged.extend(arguments[0].i32());
            if arguments[0] == Value::I32(-1) { Err(ErrorKind::Host.into()) } else { Ok(()) }
        })
        .build()?;
    Instance::builder().with_module(module).with_function("env", "log", log).build()
}

#[test]
fn linked_instances_share_memory_table_global_and_functions() -> Result<()> {
    let (library_module, program_module) = (load(LIBRARY), load(PROGRAM));
    let mut logged = Vec::new();
    let library = library(&library_module, &mut logged)?;
    let builder = Instance::builder().with_module(&program_module);
    let mut program = builder.with_instance("library", library).build()?;
    assert_eq!(program.call("go", &[])?, [Value::I32(77 + 42)]);
    assert_eq!(program.memory()[8], 77);
    let mut library = program.linked_mut("library").unwrap();
    assert_eq!(library.global("count")?, Value::I32(11));
    assert_eq!(library.call("invoke", &[Value::I32(2)])?, [Value::I32(42)]);
    library.memory_mut()[8] = 1;
    assert_eq!(program.memory()[8], 1);
    assert!(program.linked("other").is_none());
    drop(program);
    assert_eq!(logged, [77]);
    Ok(())
}

#[test]
fn functions_go_from_one_linked_instance_to_the_other() -> Result<()> {
    let (library_module, program_module) = (load(LIBRARY), load(PROGRAM));
    let mut logged = Vec::new();
    let library = library(&library_module, &mut logged)?;
    let store = library.function("store")?;
    let builder = Instance::builder().with_module(&program_module);
    let mut program = builder.with_instance("library", library).build()?;
    program.call_function(store, &[Value::I32(0), Value::I32(5)], &mut [])?;
    assert_eq!(program.memory()[0], 5);
    let go = program.function("go")?;
    let mut library = program.linked_mut("library").unwrap();
    let mut table = library.table("table")?;
    table.set(0, Value::FuncRef(Some(go)))?;
    assert_eq!(table.get(1)?, Value::FuncRef(None));
    let Value::FuncRef(Some(forty_two)) = table.get(2)? else { panic!("element 2") };
    let mut results = [Value::I32(0)];
    library.call_function(forty_two, &[], &mut results)?;
    assert_eq!(results, [Value::I32(42)]);
    assert_eq!(library.call("invoke", &[Value::I32(0)])?, [Value::I32(77 + 42)]);
    Ok(())
}

#[test]
fn failure_deep_in_a_linked_instance_reaches_the_caller() -> Result<()> {
    let (library_module, program_module) = (load(LIBRARY), load(PROGRAM));
    let mut logged = Vec::new();
    let library = library(&library_module, &mut logged)?;
    let builder = Instance::builder().with_module(&program_module);
    let mut program = builder.with_instance("library", library).build()?;
    let store = program.linked("library").unwrap().function("store")?;
    let arguments = [Value::I32(0), Value::I32(-1)];
    let error = program.call_function(store, &arguments, &mut []).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Host);
    let outside = [Value::I32(-1), Value::I32(3)];
    let trap = program.call_function(store, &outside, &mut []).unwrap_err();
    assert_eq!(trap.kind, ErrorKind::Trap);
    assert!(trap.to_string().contains("in function store at byte "), "{trap}");
    Ok(())
}

#[test]
fn memory_of_its_own_is_lent_and_comes_back_with_its_contents() -> Result<()> {
    let module = load(
        r#"(module (import "env" "memory" (memory 1 4))
             (func (export "grow") (result i32) (memory.grow (i32.const 1)))
             (func (export "write") (i32.store (i32.const 65536) (i32.const 0x01020304))))"#,
    );
    let mut heap = vec![0; 4 * PAGE_SIZE + 16];
    let mut allocator = StaticAllocatorBuilder::new().with_buffer(&mut heap).build()?;
    let mut memory = Memory::builder()
        .with_initial_pages(1)
        .with_declared_maximum(4)
        .with_maximum_pages(2)
        .with_allocator(&mut allocator)
        .build()?;
    {
        let mut imports = [memory.import(c"env", c"memory")];
        let builder = Instance::builder().with_module(&module).with_imports(&mut imports);
        let mut instance = builder.build()?;
        assert_eq!(instance.call("grow", &[])?, [Value::I32(1)]);
        assert_eq!(instance.call("grow", &[])?, [Value::I32(-1)]);
        instance.call("write", &[])?;
        assert_eq!(instance.usage()?.refused_growths, 1);
    }
    assert_eq!(memory.data()[PAGE_SIZE..PAGE_SIZE + 4], [4, 3, 2, 1]);
    assert_eq!((memory.page_count(), memory.peak_pages()), (2, 2));
    assert_eq!(memory.grow(1).unwrap_err().kind, ErrorKind::Limit);
    memory.data_mut()[0] = 9;
    let mut instance = Instance::builder().with_module(&module);
    instance = instance.with_memory("env", "memory", memory);
    let mut instance = instance.build()?;
    assert_eq!((instance.memory()[0], instance.memory().len()), (9, 2 * PAGE_SIZE));
    assert_eq!(instance.grow_memory(1).unwrap_err().kind, ErrorKind::Limit);
    Ok(())
}

#[test]
fn memory_limit_holds_at_the_start_and_in_growth() -> Result<()> {
    let module = load(
        r#"(module (memory (export "memory") 2)
             (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    );
    let limited = |pages: u64| {
        let limits = Limits::new().with_memory(pages * PAGE_SIZE as u64 + 100);
        Instance::builder().with_module(&module).with_limits(&limits).build()
    };
    assert_eq!(limited(1).err().unwrap().kind, ErrorKind::Limit);
    let mut instance = limited(5)?;
    assert_eq!(instance.call("grow", &[Value::I32(3)])?, [Value::I32(2)]);
    assert_eq!(instance.call("grow", &[Value::I32(1)])?, [Value::I32(-1)]);
    assert_eq!(instance.memory().len(), 5 * PAGE_SIZE);
    let usage = instance.usage()?;
    assert_eq!((usage.memory_pages, usage.memory_peak_pages, usage.refused_growths), (5, 5, 1));
    Ok(())
}

#[test]
fn allocator_is_lent_or_given() -> Result<()> {
    let module = load(r#"(module (memory (export "memory") 2))"#);
    let mut small = LinuxAllocatorBuilder::new().with_maximum_pages(1).build()?;
    let lent = Instance::builder().with_module(&module).with_allocator(&mut small);
    assert_eq!(lent.build().err().unwrap().kind, ErrorKind::Limit);
    let named = LinuxAllocatorBuilder::new().with_name("given_to_it").build()?;
    let builder = Instance::builder().with_module(&module).with_maximum_pages(2);
    let instance = builder.with_owned_allocator(named).build()?;
    let shown = || std::fs::read_to_string("/proc/self/maps").unwrap().contains("given_to_it");
    assert_eq!(instance.memory().len(), 2 * PAGE_SIZE);
    assert!(shown(), "the kernel does not show the allocator's name");
    drop(instance);
    assert!(!shown(), "the memory was not given back");
    Ok(())
}

#[test]
fn memory_that_nobody_provides_stands_between_guard_pages() -> Result<()> {
    let module = load(r#"(module (memory (export "memory") 1 1))"#);
    let instance = Instance::builder().with_module(&module).build()?;
    let memory = instance.memory().as_ptr_range();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let has_no_access = |byte: usize| {
        maps.lines().any(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            (number(start)..number(end)).contains(&byte) && rest.starts_with("---p")
        })
    };
    assert!(has_no_access(memory.start as usize - 1) && has_no_access(memory.end as usize));
    assert!(!has_no_access(memory.start as usize));
    Ok(())
}

#[test]
fn tables_and_globals_of_their_own_are_given() -> Result<()> {
    let module = load(
        r#"(module (import "env" "table" (table 2 8 externref))
             (import "env" "level" (global $level (mut i64)))
             (export "table" (table 0))
             (func (export "first") (result externref) (table.get (i32.const 0)))
             (func (export "grow") (result i32) (table.grow (ref.null extern) (i32.const 7)))
             (func (export "raise") (global.set $level (i64.add (global.get $level) (i64.const 1)))))"#,
    );
    let mut table = Table::builder()
        .with_element_type(ValueType::ExternRef)
        .with_initial_elements(2)
        .with_declared_maximum(8)
        .with_initial_value(Value::ExternRef(5))
        .build()?;
    assert_eq!(table.view().get(1)?, Value::ExternRef(5));
    table.view().set(0, Value::ExternRef(6))?;
    assert_eq!(table.view().get(2).unwrap_err().kind, ErrorKind::InvalidArgument);
    let wrong = table.view().set(0, Value::I32(1)).unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::InvalidArgument);
    let mut level = Global::new(Value::I64(1), true)?;
    level.set(Value::I64(2))?;
    let mut imports = [level.import(c"env", c"level")?];
    let builder = Instance::builder().with_module(&module).with_table("env", "table", table);
    let mut instance = builder.with_imports(&mut imports).build()?;
    assert_eq!(instance.call("first", &[])?, [Value::ExternRef(6)]);
    assert_eq!(instance.call("grow", &[])?, [Value::I32(-1)], "2 and 7 are more than 8");
    let mut view = instance.table("table")?;
    assert_eq!(view.grow(6, Value::ExternRef(8))?, 2);
    assert_eq!((view.len(), view.get(7)?), (8, Value::ExternRef(8)));
    assert_eq!(view.grow(1, Value::ExternRef(0)).unwrap_err().kind, ErrorKind::Limit);
    instance.call("raise", &[])?;
    drop(instance);
    assert_eq!(level.value(), Value::I64(3));
    Ok(())
}

#[test]
fn reference_that_could_outlive_its_function_is_not_lent() -> Result<()> {
    let mut global = Global::new(Value::FuncRef(None), true)?;
    let error = global.import(c"env", c"function").err().unwrap();
    assert_eq!(error.kind, ErrorKind::InvalidArgument);
    let module = load(r#"(module (func (export "f")))"#);
    let f: FuncRef = Instance::builder().with_module(&module).build()?.function("f")?;
    assert!(Global::new(Value::FuncRef(Some(f)), true).is_err());
    let table = Table::builder().with_initial_value(Value::FuncRef(Some(f))).build();
    assert_eq!(table.err().unwrap().kind, ErrorKind::InvalidArgument);
    Ok(())
}
