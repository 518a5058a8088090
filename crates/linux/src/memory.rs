//! What a process keeps in memory between its bursts of work: heap, and pages of its program.
//!
//! glibc gives each thread that allocates beside others a heap of its own, up to eight for each processor, and keeps
//! freed memory for the next burst. A process that lives for months and works in bursts would rather give it back.
//! Other C libraries do neither, and there both calls do nothing. The program's own code and constants are mapped as they
//! are touched, and stay mapped although most of them are for a start.

use rustix::mm::{Advice, madvise};

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

/// Gives all that back that comes again by itself: free pages of the heaps, and the program's own pages, which are mapped
/// as they are touched.
pub fn rest() {
    give_back();
    program().into_iter().for_each(Segment::let_go);
}

/// A part of the program that nobody can write to: code, constants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    begin: usize,
    length: usize,
}

impl Segment {
    /// Its pages stay in the kernel's cache of files for as long as it likes, and are mapped again where they are touched
    /// (madvise(2), `MADV_DONTNEED`). Always inlined: who calls it to wait next touches nothing in between.
    #[inline(always)]
    pub(crate) fn let_go(self) {
        // SAFETY: pages of a segment that nobody can write to are those of the file, now and when they come back; segments
        // of other rights begin at pages of their own.
        let _what_cannot_go_stays =
            unsafe { madvise(self.begin as *mut _, self.length, Advice::LinuxDontNeed) };
    }
}

/// Those of the program itself, without its libraries.
pub(crate) fn program() -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    // SAFETY: the function is given the headers of what is loaded, and the vector, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(segments_of), (&raw mut segments).cast()) };
    segments
}

/// Of the first object, the program: what it returns ends the walk.
///
/// # Safety
/// `info` must be as dl_iterate_phdr(3) gives it, `segments` a vector that nobody else uses.
unsafe extern "C" fn segments_of(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    segments: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the caller's promise; the headers are part of the program, which stays.
    let (info, headers, segments) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (info, headers, &mut *segments.cast::<Vec<Segment>>())
    };
    let page = rustix::param::page_size();
    // What may be written to holds what the loader and we have written; that exists nowhere else.
    let constant =
        |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
    segments.extend(headers.iter().filter(constant).map(|header| {
        let start = info.dlpi_addr as usize + header.p_vaddr as usize;
        let begin = start - start % page;
        Segment { begin, length: start + header.p_filesz as usize - begin }
    }));
    1
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    #[test]
    fn a_program_goes_on_without_its_pages() {
        let mapped = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let before = mapped();
        super::rest();
        let after = mapped();
        assert!(after < before, "{before} {after}");
    }

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
