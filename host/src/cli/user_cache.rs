//! The folder of Jackfield in the user's cache folder. Its content can be removed at any time.

use std::path::PathBuf;

/// `$XDG_CACHE_HOME/jackfield`, or `~/.cache/jackfield`; `None` if the user has neither.
pub(super) fn user_cache() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let user = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let user = user.or_else(|| Some(variable("HOME")?.join(".cache")));
    Some(user?.join("jackfield"))
}
