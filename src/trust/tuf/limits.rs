//! What one verification may cost. Every bound stops something named; ordinary repositories stay far below.

/// Bounds of one verification (docs/notary-v1.md, sections 3 and 14, "Exhaustion").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataLimits {
    /// Largest root file. A root has a few certificates; stops the 100 MiB the Go client takes.
    pub root_bytes: u64,
    /// Largest timestamp file; it names one other file, in half a KiB. Stops padding that is kept beside the other files.
    pub timestamp_bytes: u64,
    /// Largest snapshot file; 300 bytes per delegation.
    pub snapshot_bytes: u64,
    /// Largest targets or delegation file; 100 to 200 bytes per tag, so some fifty thousand tags.
    pub targets_bytes: u64,
    /// Most bytes fetched in one verification. Stops many files of the largest size.
    pub total_bytes: u64,
    /// Most signatures on one file. Stops a file of signatures that are slow to check.
    pub signatures: usize,
    /// Most keys in one file.
    pub keys: usize,
    /// Largest public key, PEM bundles included. Stops certificates without end.
    pub key_bytes: usize,
    /// Most delegations in one file.
    pub delegations: usize,
    /// Most delegations visited in one verification. Stops trees that widen at each level.
    pub roles: usize,
    /// Deepest level of delegation below `targets`.
    pub levels: usize,
    /// Most path prefixes in one delegation.
    pub paths: usize,
    /// Most versions a root may be ahead of the one we know. Stops a chain of roots without end.
    pub roots: u64,
    /// Most bytes of earlier roots that a bundle carries; 128 roots with certificates of ordinary size.
    pub chain_bytes: u64,
    /// Most signature checks in one verification, in units of one P-256 check (0.1 ms).
    pub work: u32,
    /// Most certificates in one bundle. Stops chains that are slow to build.
    pub certificates: usize,
}

impl MetadataLimits {
    /// For what was accepted before, in one verification or in several, each with bounds of its own: none but the largest state
    /// file. One that refused here what was accepted there would make the repository unknown, and another's root the first.
    #[must_use]
    pub const fn kept() -> Self {
        Self {
            root_bytes: u64::MAX,
            timestamp_bytes: u64::MAX,
            snapshot_bytes: u64::MAX,
            targets_bytes: u64::MAX,
            total_bytes: u64::MAX,
            signatures: usize::MAX,
            keys: usize::MAX,
            key_bytes: usize::MAX,
            delegations: usize::MAX,
            roles: usize::MAX,
            levels: usize::MAX,
            paths: usize::MAX,
            roots: u64::MAX,
            chain_bytes: u64::MAX,
            work: u32::MAX,
            certificates: usize::MAX,
        }
    }
}

impl Default for MetadataLimits {
    fn default() -> Self {
        Self {
            root_bytes: 1 << 20,
            timestamp_bytes: 64 << 10,
            snapshot_bytes: 1 << 20,
            targets_bytes: 8 << 20,
            total_bytes: 16 << 20,
            signatures: 512,
            keys: 1024,
            key_bytes: 64 << 10,
            delegations: 512,
            roles: 1024,
            levels: 16,
            paths: 128,
            roots: 128,
            chain_bytes: 4 << 20,
            work: 8192,
            certificates: 10,
        }
    }
}
