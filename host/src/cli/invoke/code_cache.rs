//! Chooses the folder in which `jackfield invoke` caches compiled code.

use std::path::PathBuf;

use anyhow::bail;

use crate::cli::user_cache::user_cache_folder;
use crate::config::DataFolder;
use crate::plugins::CodeCache;

pub(super) fn choose_code_cache(data: Option<PathBuf>) -> anyhow::Result<CodeCache> {
    if let Some(data) = data {
        if !data.is_dir() {
            bail!(
                "there is no data folder {}: omit --data, or name the data folder of a server",
                data.display()
            );
        }
        let data = DataFolder::at(&data);
        return Ok(CodeCache::Server { folder: data.compiled_folder(), key: data.compiled_key() });
    }
    Ok(user_cache_folder().map_or(CodeCache::Temporary, CodeCache::User))
}
