//! Detects file systems on which the database should not be: SQLite needs locks and shared memory,
//! which network file systems and shared folders do not provide reliably.

use std::path::Path;

/// Each with the number that `statfs` returns.
const UNSUITABLE_FILE_SYSTEMS: [(u32, &str); 13] = [
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS (SMB)"),
    (0xfe53_4d42, "SMB2 (SMB)"),
    (0x0000_517b, "SMB"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x00c3_6400, "CephFS"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0102_1997, "9p"),
    (0x786f_4256, "a shared folder of VirtualBox"),
    (0xbacb_acbc, "a shared folder of VMware"),
    (0x6573_5546, "FUSE"),
];

/// Returns the name of a folder's file system, if a database should not be on it.
#[must_use]
pub fn unsuitable_file_system(folder: &Path) -> Option<&'static str> {
    name_if_unsuitable(i128::from(rustix::fs::statfs(folder).ok()?.f_type))
}

/// The number has 32 bits, but its integer type, and so its sign, differs between systems.
fn name_if_unsuitable(kind: i128) -> Option<&'static str> {
    let is_same_number = |number: &u32| kind & i128::from(u32::MAX) == i128::from(*number);
    UNSUITABLE_FILE_SYSTEMS.iter().find(|(number, _)| is_same_number(number)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers were recorded with `stat -f -c %t`.
    #[test]
    fn network_file_systems_are_recognised() {
        let name_of =
            |hex: &str| name_if_unsuitable(i128::from(u32::from_str_radix(hex, 16).unwrap()));
        assert_eq!(name_of("6969"), Some("NFS"));
        assert_eq!(name_of("ff534d42"), Some("CIFS (SMB)"));
        assert_eq!(name_of("fe534d42"), Some("SMB2 (SMB)"));
        assert_eq!(name_of("65735546"), Some("FUSE"));
        for local in ["ef53", "58465342", "9123683e", "1021994", "794c7630", "2fc12fc1"] {
            assert_eq!(name_of(local), None, "{local}");
        }
        // The number of CIFS as a signed 32-bit integer.
        assert_eq!(
            name_if_unsuitable(i128::from(0xff53_4d42_u32.cast_signed())),
            Some("CIFS (SMB)")
        );
        let home = tempfile::tempdir().unwrap();
        assert_eq!(unsuitable_file_system(&home.path().join("none")), None);
    }
}
