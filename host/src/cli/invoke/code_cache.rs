//! Where `jackfield invoke` keeps compiled code.

use std::path::PathBuf;

use anyhow::bail;

use crate::config::DataFolder;
use crate::plugins::CodeCache;

/// Where compiled code is kept: in the data folder that was given, else in the user's cache.
pub(super) fn code_cache(data: Option<PathBuf>) -> anyhow::Result<CodeCache> {
    if let Some(data) = data {
        if !data.is_dir() {
            bail!(
                "there is no data folder {}: leave --data out, or give that of a server",
                data.display()
            );
        }
        let data = DataFolder::at(&data);
        return Ok(CodeCache::Server { folder: data.compiled(), key: data.compiled_key() });
    }
    let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let user = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let user = user.or_else(|| Some(variable("HOME")?.join(".cache")));
    Ok(user.map_or(CodeCache::Temporary, |user| CodeCache::User(user.join("jackfield"))))
}
