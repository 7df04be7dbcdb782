//! Segments that other programs made of huge pages.

use std::path::Path;

use shmeld_os::sysv::How;
use shmeld_os::sysv::shared_memory::Segment;

use crate::sysv_objects::Own;

const POOL: &str = "/proc/sys/vm/nr_hugepages";

/// One huge page more for the time of a test, if the machine has one to give.
struct Page(u64);

impl Page {
    fn new() -> Option<Self> {
        let count = pages()?;
        std::fs::write(POOL, (count + 1).to_string()).ok()?;
        let page = Self(count);
        (pages()? > count).then_some(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = std::fs::write(POOL, self.0.to_string());
    }
}

fn pages() -> Option<u64> {
    std::fs::read_to_string(POOL).ok()?.trim().parse().ok()
}

/// Their memory ends with a huge page, and not with the small one in which the segment ends; attaching it was EINVAL from madvise.
#[test]
#[allow(unsafe_code, clippy::print_stdout)] // the test harness shows it
fn segment_of_huge_pages_is_attached_read_and_detached() {
    let page = Page::new();
    let flags = libc::IPC_CREAT | libc::SHM_HUGETLB | 0o600;
    // SAFETY: takes numbers only.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 5000, flags) };
    if id == -1 {
        // Not even where everything must be there: not every machine has memory in such pieces to give.
        println!("skipped: needs a free huge page");
        return;
    }
    let own = Own(Segment::from_id(id));
    let memory = own.attach(How::default()).expect("attached");
    assert_eq!(memory.len(), 5000);
    let zeros = std::fs::File::open(Path::new("/dev/zero")).expect("a device");
    assert_eq!(memory.fill_from(0, 5000, &zeros, 0), Ok(5000));
    // Of this memory the kernel says "dc", do not copy to children, and of nothing behind it.
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("/proc");
    let prefix = format!("{:x}-", memory.as_ptr().addr());
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&prefix));
    let flags = lines.find(|line| line.starts_with("VmFlags:")).expect("flags");
    assert!(flags.contains(" dc") && flags.contains(" ht"), "{flags}");
    memory.detach().expect("attached");
    assert_eq!(own.stat().expect("ours").attached, 0);
    drop((own, page));
}
