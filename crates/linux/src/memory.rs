//! The C library's heap: how far it spreads, and giving back what it keeps.
//!
//! glibc gives each thread that allocates beside others a heap of its own, up to eight for each processor, and keeps
//! freed memory for the next burst. A process that lives for months and works in bursts would rather give it back.
//! Other C libraries do neither, and there these calls do nothing.

/// At most so many heaps for all threads together (mallopt(3), `M_ARENA_MAX`). To be called before threads start.
pub fn limit_heaps(count: u8) {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes numbers only, and changes nothing but where later allocations are placed.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, count.into()) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = count;
}

/// Keeps little of what is freed (mallopt(3), `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`, both in bytes): larger blocks
/// are mapped one by one, and a heap's free end goes back from that size on. glibc begins so, too, but raises both to as
/// much as 32 MiB with each large block that it sees freed, and so keeps the burst of a moment for good.
pub fn keep_at_most(size: i32) {
    #[cfg(target_env = "gnu")]
    for setting in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: takes numbers only, and changes nothing but where later allocations are placed.
        unsafe { libc::mallopt(setting, size) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = size;
}

/// Gives free pages of every heap back to the kernel (malloc_trim(3)): a walk over the free lists, about a tenth of a
/// millisecond for a few MiB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: locks each heap while it is looked at; no allocation moves.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    #[test]
    fn freed_memory_leaves_the_process() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/statm").unwrap();
            status.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
        };
        // Blocks too small to be mapped one by one, and one behind them that keeps the heap from shrinking.
        let blocks: Vec<Vec<u8>> = (0..4000).map(|_| vec![1; 16 << 10]).collect();
        let last = vec![1_u8; 64];
        let full = resident();
        drop(blocks);
        super::give_back();
        assert!(full - resident() > 8000, "{full} {}", resident());
        drop(last);
    }
}
