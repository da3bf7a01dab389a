//! The options that every command has: which server to use, with which token, and where its data
//! folder is.
//!
//! Never prints a token.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::config::DataFolder;
use crate::secret::Secret;

use super::client::Client;

pub(super) const GLOBAL_OPTIONS: &str = "Global options";

/// The environment variable that contains the admin token or a named token.
pub(super) const ADMIN_TOKEN_VARIABLE: &str = "JACKFIELD_ADMIN_TOKEN";

/// Which server to use, with which token, and where its data folder is.
#[derive(Args)]
pub(super) struct ServerArgs {
    /// The address of the server [default: http://127.0.0.1:8080]
    #[arg(
        long = "server",
        global = true,
        help_heading = GLOBAL_OPTIONS,
        env = "JACKFIELD_URL",
        value_name = "URL"
    )]
    base: Option<String>,
    /// Read the token from this file: the admin token or a named token [default: the value of
    /// JACKFIELD_ADMIN_TOKEN, or else the file admin-token in the data folder]
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The data folder of the server [default: the value of JACKFIELD_DATA, or else data;
    /// for serve also the key data of the configuration, for demo a temporary folder]
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
}

const DEFAULT_BASE_URL: &str = "http://127.0.0.1:8080";

pub(super) fn token_from_environment() -> anyhow::Result<Option<Secret>> {
    Ok(Secret::from_variable(ADMIN_TOKEN_VARIABLE)?.map(Secret::trimmed))
}

impl ServerArgs {
    pub(super) fn admin_client(&self) -> anyhow::Result<Client> {
        let token = match &self.token_file {
            Some(file) => read_token(file)?,
            None => match token_from_environment()? {
                Some(token) => token,
                None => read_token(&DataFolder::at(&self.data_folder()).admin_token())?,
            },
        };
        Ok(Client::new(self.base_url(), token))
    }

    /// An empty JACKFIELD_URL counts as not set.
    pub(super) fn base_url(&self) -> &str {
        self.base
            .as_deref()
            .map(str::trim)
            .filter(|base| !base.is_empty())
            .unwrap_or(DEFAULT_BASE_URL)
    }

    pub(super) fn data_folder(&self) -> PathBuf {
        let from_environment = || {
            let text = std::env::var("JACKFIELD_DATA").ok()?;
            let text = text.trim_end_matches(['\r', '\n']);
            (!text.trim().is_empty()).then(|| PathBuf::from(text))
        };
        let configured = self.data.clone().or_else(from_environment);
        configured.unwrap_or_else(|| PathBuf::from("data"))
    }
}

fn read_token(file: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read the token from {}: set {ADMIN_TOKEN_VARIABLE}, or give --token-file, \
             or give the data folder of the server with --data",
            file.display()
        )
    })?;
    let token = Secret::new(text).trimmed();
    if token.reveal().is_empty() {
        bail!("there is no token in {}: the file is empty", file.display());
    }
    Ok(token)
}
