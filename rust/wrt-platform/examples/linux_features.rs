//! The code blocks of linux_features.rst, each as a function: `cargo run --example linux_features`.
//! What is written in another way than there is listed, with the reason, in
//! docs/documents_linux.rst. A block that this machine refuses says so on standard error.

use std::{env, error::Error, process::Command, time::Duration};

use wrt_platform::{ErrorKind, LinuxAllocator, LinuxAllocatorBuilder, PageAllocator};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn advanced_mmap_usage() -> Result<()> {
    let create_advanced_allocator = || {
        LinuxAllocatorBuilder::new()
            .with_maximum_pages(4096) // 256MB max
            .with_guard_pages(true) // PROT_NONE guards
            .with_populate(true) // pre-fault
            .with_huge_pages(true) // MAP_HUGETLB if available
            .with_numa_node(0) // Bind to NUMA node 0
            .with_mlock(true) // Lock in RAM (no swap)
            .build()
    };
    drop(create_advanced_allocator()?.allocate(1, None)?);

    // Custom mmap flags for special cases
    use wrt_platform::linux_memory::MmapFlags;
    let shared = LinuxAllocatorBuilder::new()
        .with_maximum_pages(16)
        .with_custom_flags(
            MmapFlags::SHARED |       // MAP_SHARED for IPC
            MmapFlags::ANONYMOUS |    // No file backing
            MmapFlags::NORESERVE |    // Overcommit allowed
            MmapFlags::STACK, // Optimize for stack-like access
        )
        .with_name("wasm_shared_heap") // Shows in /proc/pid/maps
        .build()?;
    drop(shared.allocate(1, None)?);
    Ok(())
}

fn thp_configuration() -> Result<()> {
    use wrt_platform::linux_memory::{MadviseFlags, ThpMode};
    let optimize_with_thp = |allocator: &mut LinuxAllocator| -> wrt_platform::Result<()> {
        // Enable THP for the allocation
        allocator.set_thp_mode(ThpMode::Always)?;

        // Allocate memory
        let pages = allocator.allocate(1024, None)?;

        // Advise kernel about usage patterns
        allocator.madvise(&pages, 0, pages.size(), MadviseFlags::HUGEPAGE)?;

        // For sequential access patterns
        allocator.madvise(&pages, 0, pages.size(), MadviseFlags::SEQUENTIAL)?;

        // Check if we got huge pages
        let stats = allocator.get_memory_stats(&pages)?;
        eprintln!("Huge pages: {} / {} pages", stats.huge_pages, stats.total_pages);
        Ok(())
    };
    let mut allocator = LinuxAllocatorBuilder::new().with_maximum_pages(1024).build()?;
    or_refused("thp", optimize_with_thp(&mut allocator), &[ErrorKind::Unsupported])
}

fn numa_aware_allocation() -> Result<()> {
    use wrt_platform::linux_memory::NumaPolicy;
    // Detect NUMA topology
    let topology = LinuxAllocator::detect_numa_topology()?;
    eprintln!("NUMA nodes: {}", topology.num_nodes);
    for node in &topology.nodes {
        eprintln!("  Node {}: {} MB free", node.id, node.free_mb);
    }

    // Create per-node allocators
    let mut allocators = Vec::new();
    for node in &topology.nodes {
        let allocator = LinuxAllocatorBuilder::new()
            .with_maximum_pages(16)
            .with_numa_node(node.id)
            .with_numa_policy(NumaPolicy::Bind) // Strict binding
            .with_preferred_node(node.id) // Fallback preference
            .build()?;
        allocators.push(allocator);
    }

    // Interleave allocation across nodes
    let interleaved = LinuxAllocatorBuilder::new()
        .with_maximum_pages(16)
        .with_numa_policy(NumaPolicy::Interleave)
        .with_numa_mask(&topology.all_nodes_mask())
        .build()?;
    drop(interleaved.allocate(1, None)?);
    Ok(())
}

fn mte_for_memory_safety() -> Result<()> {
    use wrt_platform::{LinuxArm64MteAllocator, LinuxArm64MteAllocatorBuilder, MteMode};
    let create_mte_protected_memory = || {
        LinuxArm64MteAllocatorBuilder::new()
            .with_maximum_pages(1024)
            .with_mte_mode(MteMode::Synchronous) // Immediate tag checks
            .with_tag_mask(0xFF) // Tags 0 to 7 for random ones
            .with_tag_check_on_free(true) // Detect use-after-free
            .build()
    };
    // Check if MTE is available; `build` would say why it is not
    if !LinuxArm64MteAllocator::is_available() {
        let refused = create_mte_protected_memory().map(drop);
        return or_refused("mte", refused, &[ErrorKind::Unsupported]);
    }
    let allocator = create_mte_protected_memory()?;

    // Allocate tagged memory
    let (tagged_ptr, _size) = allocator.allocate_tagged(16, 0xA)?;

    // Access with correct tag works
    // SAFETY: 16 bytes are this function's, and the tag is theirs.
    unsafe { tagged_ptr.as_ptr().write(42) };

    // Access with wrong tag would fault: tagged_ptr.with_tag(0xB)
    allocator.free(tagged_ptr)?;
    Ok(())
}

fn advanced_futex_usage() -> Result<()> {
    use wrt_platform::{
        FutexLike, LinuxFutex, LinuxFutexBuilder, Lock, benchmark_futex_strategies,
    };
    // Priority inheritance futex
    let pi_futex = LinuxFutexBuilder::new()
        .with_priority_inheritance(true)
        .with_robust(true) // Survive owner death
        .build()?;
    drop(pi_futex.as_lock().lock(Some(Duration::from_secs(1)))?);

    // Condition variable pattern
    let _cond_futex = LinuxFutexBuilder::new()
        .with_shared(true) // Cross-process
        .with_realtime_clock(true)
        .build()?;

    // Adaptive mutex (spin then sleep)
    let _adaptive = LinuxFutexBuilder::new().with_spin_count(1000).with_backoff_ns(100).build()?;

    // Benchmark different wait strategies
    let _rows = benchmark_futex_strategies()?;

    // Futex-based semaphore
    let futex: LinuxFutex = LinuxFutexBuilder::new().with_initial_value(1).build()?;
    // Acquire (P operation)
    fn acquire(futex: &LinuxFutex) -> wrt_platform::Result<()> {
        loop {
            let current = futex.load()?;
            if current > 0 {
                if futex.compare_exchange(current, current - 1)?.is_ok() {
                    return Ok(());
                }
            } else {
                futex.wait(0, None)?;
            }
        }
    }

    // Release (V operation)
    fn release(futex: &LinuxFutex) -> wrt_platform::Result<()> {
        futex.fetch_add(1)?;
        futex.wake_one()?;
        Ok(())
    }
    acquire(&futex)?;
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| acquire(&futex));
        release(&futex)?;
        waits.join().expect("it does not panic")
    })?;
    assert_eq!(futex.load()?, 0);
    Ok(())
}

fn cgroups_v2_integration() -> Result<()> {
    use wrt_platform::linux_cgroups::{CgroupBuilder, PressureLevel, ResourceLimits};
    let isolate_wasm_execution = || -> wrt_platform::Result<()> {
        // Create cgroup for WASM runtime
        let cgroup = CgroupBuilder::new("wasm_runtime").with_take_existing(true).build()?;

        // Set resource limits
        cgroup.set_limits(&ResourceLimits {
            memory_max: Some(1 << 30),      // 1GB max memory
            memory_high: Some(768 << 20),   // 768MB soft limit
            cpu_max: Some((50000, 100000)), // 50% CPU (50ms/100ms)
            cpu_weight: Some(100),          // Default priority
            pids_max: Some(100),            // Max 100 processes
            ..ResourceLimits::default()
        })?;

        // Start a program in the cgroup
        cgroup.spawn("/bin/true", &["true"])?;

        // Monitor resource usage
        let stats = cgroup.get_stats()?;
        eprintln!("Memory usage: {} MB", stats.memory_current / 1024 / 1024);
        eprintln!("CPU usage: {} ms", stats.cpu_usage_usec / 1000);

        // Set up memory pressure notification
        cgroup.on_memory_pressure(|level| match level {
            PressureLevel::Low => eprintln!("Memory pressure: low"),
            PressureLevel::Medium => eprintln!("reduce_cache_size()"),
            _ => eprintln!("emergency_gc()"),
        })?;
        cgroup.kill(Duration::from_secs(5))?;
        cgroup.remove(Duration::from_secs(5))
    };
    let expected =
        [ErrorKind::Unsupported, ErrorKind::Permission, ErrorKind::Busy, ErrorKind::NotFound];
    or_refused("cgroups", isolate_wasm_execution(), &expected)
}

fn io_uring_integration() -> Result<()> {
    use std::{fs::File, os::fd::OwnedFd, sync::Arc};
    use wrt_platform::linux_io_uring::{IoUring, IoUringBuilder};
    // Check if io_uring is available
    if !IoUring::is_available()? {
        eprintln!("io_uring: {:?}", wrt_platform::linux_io_uring::probe()?);
    }

    let ring = IoUringBuilder::new()
        .with_entries(256) // Queue depth
        .with_sq_thread(true) // Kernel SQ polling thread
        .with_sq_thread_cpu(0) // Pin to CPU 0
        .with_cq_size(512) // Completion queue 2x submit
        .build()?;

    // Example: Async file read
    let fd = Arc::new(OwnedFd::from(File::open(env::current_exe()?)?));
    let buffer = vec![0u8; 4096];

    // Submit read operation
    let user_data = 42;
    ring.submit_read(&fd, buffer, 0, user_data)?;

    // Do other work...

    // Wait for completion
    let completion = ring.wait_completion()?;
    assert_eq!(completion.user_data, user_data);
    assert_eq!(&completion.data()?[..4], b"\x7fELF");
    Ok(())
}

/// It gives rights away for good, so it happens in a process of its own.
fn create_secure_sandbox() -> Result<()> {
    use wrt_platform::linux_security::{
        Capabilities, Capability, Namespace, NamespaceType, SeLinux, SeccompAction, SeccompBuilder,
    };
    // 1. Set up namespaces
    Namespace::unshare(&[
        NamespaceType::User,    // What makes the others permitted
        NamespaceType::Mount,   // Isolated filesystem
        NamespaceType::PID,     // Isolated process tree
        NamespaceType::Network, // No network access
        NamespaceType::IPC,     // Isolated IPC
    ])?;

    // 2. Drop capabilities
    Capabilities::current()?.drop_all_except(&[
        Capability::SYS_RESOURCE, // For resource limits
    ])?;

    // 3. Set up SELinux context if available
    if SeLinux::is_enabled()? {
        SeLinux::set_context("system_u:system_r:wasm_runtime_t:s0")?;
    }

    // 4. Configure seccomp filter
    let filter = SeccompBuilder::new()
        .allow(&[
            // Minimal syscalls for WASM execution
            "read",
            "write",
            "mmap",
            "munmap",
            "mprotect",
            "futex",
            "clock_gettime",
            "exit_group",
            "sigaltstack",
        ])?
        .with_default_action(SeccompAction::Kill)
        .with_log_failures(true)
        .build()?;
    filter.load()?;

    eprintln!("Sandbox configured successfully");
    std::process::exit(0)
}

fn security_sandboxing() -> Result<()> {
    let done = Command::new(env::current_exe()?).arg("sandbox").output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() {
        assert!(said.contains("Sandbox configured successfully"), "{said}");
    } else {
        let refused = ["Unsupported", "Permission"].iter().any(|kind| said.contains(kind));
        assert!(refused, "{}: {said}", done.status);
        eprintln!("security: {said}");
    }
    Ok(())
}

fn performance_monitoring() -> Result<()> {
    use wrt_platform::linux_perf::{PerfCounter, PerfEventBuilder, PerfState};
    let profile_wasm_execution = || -> wrt_platform::Result<()> {
        // Create performance counters
        let mut counters = vec![
            PerfEventBuilder::new().with_type(PerfCounter::CpuCycles).with_config(0).build()?,
            PerfEventBuilder::new().with_type(PerfCounter::Instructions).with_config(0).build()?,
            PerfEventBuilder::new().with_type(PerfCounter::CacheMisses).with_config(0).build()?,
            PerfEventBuilder::new().with_type(PerfCounter::BranchMisses).with_config(0).build()?,
        ];

        // Start counting
        for counter in &mut counters {
            counter.enable()?;
        }

        // Execute WASM code
        std::hint::black_box((0..100_000u64).sum::<u64>());

        // Read results
        for counter in &counters {
            let reading = counter.read()?;
            eprintln!("{}: {} ({:?})", counter.name(), reading.value, reading.state);
        }

        // Calculate IPC (Instructions Per Cycle)
        let (cycles, instructions) = (counters[0].read()?, counters[1].read()?);
        if cycles.state != PerfState::NotCounted && cycles.value != 0 {
            eprintln!("IPC: {:.2}", instructions.value as f64 / cycles.value as f64);
        }
        Ok(())
    };
    let expected = [ErrorKind::Unsupported, ErrorKind::Permission];
    or_refused("perf", profile_wasm_execution(), &expected)
}

fn container_aware_configuration() -> Result<()> {
    use wrt_platform::linux_container::{self, ContainerEnvironment};
    let env = linux_container::detect_environment()?;
    match env {
        ContainerEnvironment::Docker => {
            eprintln!("Running in Docker");
        }
        ContainerEnvironment::Kubernetes => {
            eprintln!("Running in Kubernetes");
        }
        ContainerEnvironment::Systemd => {
            eprintln!("Running under systemd");
        }
        ContainerEnvironment::None => {
            eprintln!("Running on bare metal");
        }
        other => eprintln!("Running in {other:?}"),
    }
    // Adjust memory limits based on container limits
    assert!(linux_container::detect_resources("")?.memory_limit > 0);
    Ok(())
}

/// What this machine, or this user, may not do is said, and nothing else is let through.
fn or_refused(block: &str, done: wrt_platform::Result<()>, expected: &[ErrorKind]) -> Result<()> {
    match done {
        Err(error) if expected.contains(&error.kind) => {
            eprintln!("{block}: {error}");
            Ok(())
        }
        done => Ok(done?),
    }
}

fn main() -> Result<()> {
    if env::args().nth(1).as_deref() == Some("sandbox") {
        return create_secure_sandbox();
    }
    advanced_mmap_usage()?;
    println!("advanced_mmap_usage");
    thp_configuration()?;
    println!("thp_configuration");
    numa_aware_allocation()?;
    println!("numa_aware_allocation");
    mte_for_memory_safety()?;
    println!("mte_for_memory_safety");
    advanced_futex_usage()?;
    println!("advanced_futex_usage");
    cgroups_v2_integration()?;
    println!("cgroups_v2_integration");
    io_uring_integration()?;
    println!("io_uring_integration");
    security_sandboxing()?;
    println!("security_sandboxing");
    performance_monitoring()?;
    println!("performance_monitoring");
    container_aware_configuration()?;
    println!("container_aware_configuration");
    Ok(())
}
