//! What the machine has.

/// Bytes of memory that the machine has to spare.
pub fn available_memory() -> Option<usize> {
    // Only Linux tells in a file; elsewhere the allocation itself has to fail.
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
