//! Tests which versions in the folder of compiled code are used, and which files are deleted.

use std::os::unix::fs::PermissionsExt;

use super::*;

const KIND: FileKind = FileKind::Component;

#[test]
fn a_folder_that_other_users_can_access_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("cache");
    Cache::open(folder.clone(), sealer()).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o705)).unwrap();
    let error = Cache::open(folder, sealer()).err().unwrap();
    assert!(error.to_string().contains("chmod o-rwx"), "{error}");
}

fn sealer() -> Sealer {
    Sealer::from_text(&"ab".repeat(32), "the test").unwrap()
}

fn raw_manifest() -> RawManifest {
    RawManifest {
        name: "A".to_owned(),
        version: "1.0.0".to_owned(),
        summary: String::new(),
        homepage: None,
        settings: "{}".to_owned(),
        index_delay_seconds: Some(3),
    }
}

#[test]
fn a_version_is_usable_if_it_has_code_and_a_manifest() {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::open(home.path().join("cache"), sealer()).unwrap();
    assert!(cache.write_manifest(KIND, "aa", "f", Some(&raw_manifest())).is_err(), "no code");
    fs::write(cache.code_path(KIND, "aa", "f"), "x").unwrap();
    assert!(cache.manifest(KIND, "aa", "f").is_none());
    cache.write_manifest(KIND, "aa", "f", Some(&raw_manifest())).unwrap();
    assert_eq!(cache.manifest(KIND, "aa", "f").unwrap().index_delay_seconds, Some(3));
    assert!(cache.manifest(KIND, "aa", "g").is_none());
    cache.delete(KIND, "aa", "f");
    assert!(cache.manifest(KIND, "aa", "f").is_none());
}

#[test]
fn a_version_whose_files_were_changed_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("cache");
    let cache = Cache::open(folder.clone(), sealer()).unwrap();
    let (code, manifest) = (cache.code_path(KIND, "aa", "f"), cache.manifest_path("aa", "f"));
    let store = || {
        fs::write(&code, "machine code").unwrap();
        cache.write_manifest(KIND, "aa", "f", Some(&raw_manifest())).unwrap();
        assert!(cache.manifest(KIND, "aa", "f").is_some());
    };
    store();
    fs::write(&code, [0; 12]).unwrap();
    assert!(cache.manifest(KIND, "aa", "f").is_none(), "zeroed code");
    store();
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("1.0.0", "1.0.1")).unwrap();
    assert!(cache.manifest(KIND, "aa", "f").is_none(), "another manifest");
    store();
    for other in [("bb", "f"), ("aa", "g")] {
        fs::copy(&code, cache.code_path(KIND, other.0, other.1)).unwrap();
        fs::copy(&manifest, cache.manifest_path(other.0, other.1)).unwrap();
        assert!(cache.manifest(KIND, other.0, other.1).is_none(), "files of another version");
    }
    let other_key = Sealer::from_text(&"cd".repeat(32), "the test").unwrap();
    let other_cache = Cache::open(folder, other_key).unwrap();
    other_cache.write_manifest(KIND, "aa", "f", Some(&raw_manifest())).unwrap();
    assert!(cache.manifest(KIND, "aa", "f").is_none(), "sealed with another key");
}

#[test]
fn the_oldest_code_is_deleted_first_and_code_in_use_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::open(home.path().join("cache"), sealer()).unwrap();
    let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    for (sha256, seconds) in [("aa", 1), ("bb", 2), ("cc", 3), ("dd", 90)] {
        let code = cache.code_path(KIND, sha256, "f");
        fs::write(&code, [0; 10]).unwrap();
        fs::write(cache.manifest_path(sha256, "f"), "{}").unwrap();
        fs::File::options().append(true).open(&code).unwrap().set_modified(at(seconds)).unwrap();
    }
    let kept = BTreeSet::from(["aa".to_owned()]);
    let remaining = || -> Vec<&str> {
        let exists = |sha256: &&str| {
            assert_eq!(
                cache.code_path(KIND, sha256, "f").exists(),
                cache.manifest_path(sha256, "f").exists()
            );
            cache.code_path(KIND, sha256, "f").exists()
        };
        ["aa", "bb", "cc", "dd"].into_iter().filter(exists).collect()
    };
    cache.prune(30, "f", &kept, at(50)).unwrap();
    assert_eq!(remaining(), ["aa", "cc", "dd"]);
    cache.prune(0, "f", &kept, at(50)).unwrap();
    assert_eq!(remaining(), ["aa", "dd"]);
    cache.prune(0, "g", &kept, at(50)).unwrap();
    assert_eq!(remaining(), ["dd"], "no connector uses the code of another engine");
}

#[test]
fn the_component_of_an_accepted_version_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::open(home.path().join("cache"), sealer()).unwrap();
    for sha256 in ["aa", "bb"] {
        fs::write(cache.source_path(KIND, sha256), "wasm").unwrap();
    }
    let later = fs::metadata(cache.source_path(KIND, "bb")).unwrap().modified().unwrap()
        + std::time::Duration::from_secs(60);
    cache.prune(0, "g", &BTreeSet::from(["aa".to_owned()]), later).unwrap();
    assert!(cache.source_path(KIND, "aa").exists() && !cache.source_path(KIND, "bb").exists());
}

#[test]
fn temporary_folders_of_a_killed_process_are_deleted() {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::open(home.path().join("cache"), sealer()).unwrap();
    let folder = cache.temporary_folder().unwrap().keep();
    fs::write(folder.join("in.wasm"), "wasm").unwrap();
    Cache::open(home.path().join("cache"), sealer()).unwrap();
    assert!(!folder.exists());
}

#[test]
fn the_files_of_a_script_are_kept_and_deleted_like_those_of_a_component() {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::open(home.path().join("cache"), sealer()).unwrap();
    let code = |sha256| cache.code_path(FileKind::Script, sha256, "f");
    for sha256 in ["aa", "bb"] {
        fs::write(cache.source_path(FileKind::Script, sha256), "text").unwrap();
        fs::write(code(sha256), "program").unwrap();
        cache.write_manifest(FileKind::Script, sha256, "f", Some(&raw_manifest())).unwrap();
    }
    assert!(cache.manifest(FileKind::Script, "aa", "f").is_some());
    assert!(cache.manifest(KIND, "aa", "f").is_none(), "there is no machine code");
    let later =
        fs::metadata(code("bb")).unwrap().modified().unwrap() + std::time::Duration::from_secs(60);
    cache.prune(0, "f", &BTreeSet::from(["aa".to_owned()]), later).unwrap();
    assert!(cache.manifest(FileKind::Script, "aa", "f").is_some());
    assert!(cache.source_path(FileKind::Script, "aa").exists());
    assert!(cache.manifest(FileKind::Script, "bb", "f").is_none());
    assert!(!code("bb").exists() && !cache.source_path(FileKind::Script, "bb").exists());
    fs::write(code("aa"), "another program").unwrap();
    assert!(cache.manifest(FileKind::Script, "aa", "f").is_none());
}
