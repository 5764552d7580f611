//! Times Wasmtime's pooling allocator as bench/slot_pools.c times our kept slots: a module of one
//! page is made into an instance, 4 KiB of its memory are written, and it is dropped.
//!
//! Two settings take turns: Wasmtime's own, which gives all that was written back to the system,
//! and one that keeps the page resident and clears it, as our slots do. The shortest time counts.

use std::time::Instant;
use wasmtime::{
    Config, Engine, Instance, InstanceAllocationStrategy, InstancePre, Linker, Memory, Module,
    PoolingAllocationConfig, Result, Store,
};

const ROUNDS: u32 = 60;
const TURNS: u32 = 100;
const TOUCH: usize = 4096;
const PAGE: usize = 65_536;
const SLOTS: u32 = 4;
const MAXIMUM_PAGES: usize = 16;

/// `(module (memory (export "memory") 1 16))`
const MODULE: [u8; 26] = *b"\0asm\x01\0\0\0\x05\x04\x01\x01\x01\x10\x07\x0a\x01\x06memory\x02\0";

struct Peer {
    name: &'static str,
    engine: Engine,
    prepared: InstancePre<()>,
    best: f64,
}

impl Peer {
    fn new(name: &'static str, resident: usize) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(SLOTS)
            .total_memories(SLOTS)
            .max_memory_size(MAXIMUM_PAGES * PAGE)
            .linear_memory_keep_resident(resident);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let prepared = Linker::new(&engine).instantiate_pre(&Module::new(&engine, MODULE)?)?;
        Ok(Self { name, engine, prepared, best: f64::INFINITY })
    }

    fn life(&self) -> Result<()> {
        let mut store = Store::new(&self.engine, ());
        let instance: Instance = self.prepared.instantiate(&mut store)?;
        let memory: Memory = instance.get_memory(&mut store, "memory").expect("it is exported");
        for byte in memory.data_mut(&mut store)[..TOUCH].iter_mut().step_by(TOUCH) {
            // SAFETY: the reference is valid; volatile, or nobody would write what nobody reads.
            unsafe { std::ptr::from_mut(byte).write_volatile(1) };
        }
        Ok(())
    }

    fn round(&mut self) -> Result<()> {
        let start = Instant::now();
        for _ in 0..TURNS {
            self.life()?;
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(TURNS);
        self.best = self.best.min(each);
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut peers = [Peer::new("given-back", 0)?, Peer::new("kept", PAGE)?];
    for _ in 0..ROUNDS {
        for peer in &mut peers {
            peer.round()?;
        }
    }
    let best = peers.iter().map(|peer| peer.best).fold(f64::INFINITY, f64::min);
    println!("wasmtime {best:.1}");
    for peer in &peers {
        println!("{} {:.1}", peer.name, peer.best);
    }
    Ok(())
}
