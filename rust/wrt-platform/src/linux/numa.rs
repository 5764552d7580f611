//! Which memory is near: the nodes of this machine. Mirrors `wrt_platform/linux/numa.h`.

use wrt_platform_sys as sys;

#[cfg(feature = "alloc")]
use crate::error::{Result, check};
#[cfg(feature = "alloc")]
use alloc::{vec, vec::Vec};

/// Where memory is to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum NumaPolicy {
    /// No node is named: the system's; one is: `Bind` to it.
    #[default]
    Default = sys::WRT_LINUX_NUMA_DEFAULT,
    /// From these nodes alone.
    Bind = sys::WRT_LINUX_NUMA_BIND,
    /// From these in turn; none named: from all.
    Interleave = sys::WRT_LINUX_NUMA_INTERLEAVE,
    /// From one, and from others once it is full.
    Preferred = sys::WRT_LINUX_NUMA_PREFERRED,
}

/// A set of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NumaMask {
    words: [u64; sys::WRT_LINUX_NUMA_WORDS as usize],
}

impl NumaMask {
    /// The set with these nodes too. Panics if `node` is not below 1024.
    #[must_use]
    pub const fn with(mut self, node: u32) -> Self {
        self.words[node as usize / 64] |= 1 << (node % 64);
        self
    }

    /// Whether a node is in it.
    pub const fn contains(&self, node: u32) -> bool {
        node < sys::WRT_LINUX_NUMA_NODES_MAX
            && self.words[node as usize / 64] >> (node % 64) & 1 == 1
    }

    pub(super) const fn raw(self) -> sys::wrt_linux_numa_mask {
        sys::wrt_linux_numa_mask { words: self.words }
    }
}

/// A node that has memory this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NumaNode {
    /// Its number.
    pub id: u32,
    /// Its memory, in bytes.
    pub total_bytes: u64,
    /// What of it was free when it was asked, in bytes.
    pub free_bytes: u64,
    /// The same in MiB.
    pub free_mb: u64,
}

/// The nodes of this machine that this process may use.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NumaTopology {
    /// How many there are.
    pub num_nodes: usize,
    /// By rising id.
    pub nodes: Vec<NumaNode>,
}

#[cfg(feature = "alloc")]
impl NumaTopology {
    /// All of them, as `with_numa_mask` takes them.
    pub fn all_nodes_mask(&self) -> NumaMask {
        self.nodes.iter().fold(NumaMask::default(), |mask, node| mask.with(node.id))
    }
}

/// Lists the nodes; one, 0, where the kernel knows none. Without /proc it fails.
#[cfg(feature = "alloc")]
pub fn detect_numa_topology() -> Result<NumaTopology> {
    let none = sys::wrt_linux_numa_node { id: 0, reserved: 0, total_bytes: 0, free_bytes: 0 };
    let mut raw = vec![none; sys::WRT_LINUX_NUMA_NODES_MAX as usize];
    let mut count = 0;
    // SAFETY: `raw` has room for as many nodes as there can be.
    check(unsafe {
        sys::wrt_linux_numa_topology(raw.as_mut_ptr(), raw.len() as u32, &raw mut count)
    })?;
    let nodes = raw[..count as usize].iter().map(|node| NumaNode {
        id: node.id,
        total_bytes: node.total_bytes,
        free_bytes: node.free_bytes,
        free_mb: node.free_bytes >> 20,
    });
    Ok(NumaTopology { num_nodes: count as usize, nodes: nodes.collect() })
}
