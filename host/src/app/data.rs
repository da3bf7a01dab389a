//! Prepares the data folder at the start of the server: deletes leftover temporary files, and reads
//! or creates the admin token. The caller holds the lock of the folder.

use std::io::ErrorKind;

use anyhow::{Context, bail};

use crate::config::{DataFolder, read_private};
use crate::secret::{Secret, write_private};

const ADMIN_TOKEN_CHARS_MIN: usize = 16;

/// Deletes the temporary files of large bodies that an earlier process may not have deleted.
pub(super) fn clear_spool(folder: &DataFolder) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder.spool_folder()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", folder.spool_folder().display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn read_or_create_admin_token(folder: &DataFolder) -> anyhow::Result<Secret> {
    let file = folder.admin_token();
    let error_context = || format!("cannot use the admin token in {}", file.display());
    if !file.exists() {
        write_private(&file, Secret::fresh_token().reveal().as_bytes())
            .with_context(error_context)?;
    }
    let text = read_private(&file).context("cannot use the admin token")?;
    if text.trim().chars().count() < ADMIN_TOKEN_CHARS_MIN {
        bail!(
            "the admin token in {} has fewer than {ADMIN_TOKEN_CHARS_MIN} characters: delete the \
             file, and the next start creates a new token",
            file.display()
        );
    }
    Ok(Secret::new(text.trim().to_owned()))
}

pub(super) fn check_token_length(token: Secret) -> anyhow::Result<Secret> {
    if token.reveal().chars().count() < ADMIN_TOKEN_CHARS_MIN {
        bail!(
            "the admin token in the environment is too short to resist guessing: use at least \
             {ADMIN_TOKEN_CHARS_MIN} characters, such as those of `openssl rand -hex 32`"
        );
    }
    Ok(token)
}
