//! The options that every command has: which server to use, and where its admin token is.
//!
//! Never prints a token.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::config::DataFolder;
use crate::secret::Secret;

use super::client::Client;

/// The heading of these options in `--help`.
pub(super) const GLOBAL: &str = "Global options";

/// The variable that may hold the admin token.
pub(super) const ADMIN_TOKEN_VARIABLE: &str = "JACKFIELD_ADMIN_TOKEN";

/// Which server to use, and with which token.
#[derive(Args)]
pub(super) struct ServerArgs {
    /// The address of the server
    #[arg(
        long = "server",
        global = true,
        help_heading = GLOBAL,
        env = "JACKFIELD_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub(super) base: String,
    /// Read the admin token from this file [default: $JACKFIELD_ADMIN_TOKEN, then the file
    /// admin-token of the data folder]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The data folder of the server [default: data; for demo a temporary folder]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
}

/// The admin token in the environment, if any.
pub(super) fn token_from_environment() -> Option<Secret> {
    std::env::var(ADMIN_TOKEN_VARIABLE).ok().filter(|text| !text.is_empty()).map(Secret::new)
}

impl ServerArgs {
    /// A client with the admin token.
    pub(super) fn admin(&self) -> anyhow::Result<Client> {
        let token = match &self.token_file {
            Some(file) => read_token(file)?,
            None => match token_from_environment() {
                Some(token) => token,
                None => read_token(&DataFolder::at(&self.data_folder()).admin_token())?,
            },
        };
        Ok(Client::new(&self.base, token))
    }

    /// The data folder that the arguments and the environment name.
    pub(super) fn data_folder(&self) -> PathBuf {
        let variable = || std::env::var_os("JACKFIELD_DATA").filter(|text| !text.is_empty());
        let given = self.data.clone().or_else(|| variable().map(PathBuf::from));
        given.unwrap_or_else(|| PathBuf::from("data"))
    }
}

fn read_token(file: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read the admin token from {}: set {ADMIN_TOKEN_VARIABLE}, or give --token-file, \
             or give the data folder of the server with --data",
            file.display()
        )
    })?;
    Ok(Secret::new(text.trim().to_owned()))
}
