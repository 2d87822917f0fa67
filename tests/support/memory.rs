//! The memory of this process, as the kernel sees it.

use std::fs;

/// Without the pages of the program itself, of which new ones are touched all the time.
pub(crate) fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let mut pages = statm.split(' ').skip(1).map(|pages| pages.parse::<usize>().expect("a number"));
    let (resident, shared) = (pages.next().expect("all"), pages.next().expect("of files"));
    (resident - shared) * 4096
}
