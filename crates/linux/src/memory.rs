//! The C library's heap: how far it spreads, and giving back what it keeps.
//!
//! glibc gives each thread that allocates beside others a heap of its own, up to eight for each processor, and keeps
//! freed memory for the next burst. A process that lives for months and works in bursts would rather give it back.
//! Other C libraries do neither, and there both calls do nothing.

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
