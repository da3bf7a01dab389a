//! Finds Jackfield's folder in the user's cache folder. All files in Jackfield's folder can be
//! deleted at any time. This module never creates the folder.

use std::path::PathBuf;

/// Returns `$XDG_CACHE_HOME/jackfield`, or else `$HOME/.cache/jackfield`. A variable that is empty,
/// and an `XDG_CACHE_HOME` that is not an absolute path, count as not set.
pub(super) fn user_cache_folder() -> Option<PathBuf> {
    let path_variable =
        |name| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let cache = path_variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(path_variable("HOME")?.join(".cache")));
    Some(cache?.join("jackfield"))
}
