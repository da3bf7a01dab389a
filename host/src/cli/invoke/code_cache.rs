//! Where `jackfield invoke` keeps compiled code.

use std::path::PathBuf;

use anyhow::bail;

use crate::cli::user_cache::user_cache;
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
    Ok(user_cache().map_or(CodeCache::Temporary, CodeCache::User))
}
