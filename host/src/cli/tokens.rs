//! `jackfield tokens`: creates, lists and revokes the named tokens of accounts.
//!
//! A token is printed only once, when it is created.

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::api::{CreateToken, CreatedToken, EnumString, Time, Token, TokenList};
use crate::domain::{Role, StringEnum as _, printable};

use super::client::{Answer, Client};
use super::filter::enum_value_parser;
use super::output::{Column, Output, eprint, print};
use super::server::ServerArgs;
use super::units;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List all named tokens
    List,
    /// Create a token, and print it once
    #[command(after_help = create_help())]
    Create(Create),
    /// Revoke a token: it stops working at once, and the sessions that began with it end
    Revoke {
        /// The name or id of the token
        name: String,
    },
}

fn create_help() -> String {
    let roles = Role::ALL.iter().map(|role| format!("\n  {:<9} {}", role.as_str(), role.summary()));
    format!(
        "Roles; each one also may do what the roles before it may do:{}

Examples:
  jackfield tokens create ann --role operator
  jackfield tokens create ci --role author --expires-in 90d
  jackfield tokens create shop-team --role admin --connection shop --connection shop-test",
        roles.collect::<String>()
    )
}

#[derive(Args)]
pub(super) struct Create {
    /// The name of the account, as the audit log shows it
    name: String,
    /// What the account may do
    #[arg(long, value_parser = enum_value_parser::<Role>())]
    role: Role,
    /// The only connection that the account sees; can be repeated to allow several connections
    #[arg(long = "connection", value_name = "NAME")]
    connections: Vec<String>,
    /// How long the token is valid, such as 12h or 90d [default: without limit]
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime_s)]
    expires_in: Option<u64>,
}

const TOKEN_COLUMNS: [Column<Token>; 6] = [
    ("NAME", |it| it.name.clone()),
    ("ROLE", |it| it.role.to_string()),
    ("CONNECTIONS", |it| it.connections.as_ref().map_or("all".to_owned(), |all| all.join(", "))),
    ("TOKEN", |it| format!("…{}", it.tail)),
    ("LAST USED", |it| format_time_or_never(it.last_used_at)),
    ("EXPIRES", |it| format_time_or_never(it.expires_at)),
];

fn format_time_or_never(at: Option<Time>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| units::format_time(at.0))
}

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin_client()?;
        match self {
            Self::List => {
                let all: Answer<TokenList> = admin.get("/tokens")?;
                output.print_list(&all, "tokens", &TOKEN_COLUMNS, |list| (list.tokens, None))
            }
            Self::Create(create) => create.run(&admin, output),
            Self::Revoke { name } => {
                let path = format!("/tokens/{}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
                let answer: Answer<Value> = admin.delete(&path)?;
                let sentence = format!("the token {} is revoked", printable(&name));
                output.print_result(&sentence, answer.json());
                Ok(())
            }
        }
    }
}

impl Create {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let connections = Some(self.connections).filter(|names| !names.is_empty());
        let body = CreateToken {
            name: self.name,
            role: EnumString(self.role),
            connections,
            expires_in_s: self.expires_in,
        };
        let answer: Answer<CreatedToken> = admin.post("/tokens", &body)?;
        if output.is_json {
            output.print_record(answer.json());
            return Ok(());
        }
        let CreatedToken { record, token } = answer.decode()?;
        // Print the sentence on stderr and only the token on stdout, so that a script can store the
        // token.
        eprint(&format!(
            "The token of {} ({}; connections: {}; expires: {}). It is not shown again:",
            printable(&record.name),
            record.role,
            record.connections.map_or("all".to_owned(), |all| printable(&all.join(", "))),
            format_time_or_never(record.expires_at)
        ));
        print(token.0.reveal());
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a time such as 12h or 90d")]
struct InvalidLifetime;

fn parse_lifetime_s(text: &str) -> Result<u64, InvalidLifetime> {
    const DAY_S: u64 = 24 * 60 * 60;
    let lifetime_s = if let Some(days) = text.strip_suffix('d') {
        days.parse().ok().and_then(|days: u64| days.checked_mul(DAY_S))
    } else {
        let duration: Option<SignedDuration> = text.parse().ok();
        duration.and_then(|duration| u64::try_from(duration.as_secs()).ok())
    };
    lifetime_s.filter(|seconds| *seconds > 0).ok_or(InvalidLifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_given_in_days_or_hours() {
        for (text, expected) in [("90d", 7_776_000), ("12h", 43_200), ("1h30m", 5_400)] {
            assert_eq!(parse_lifetime_s(text), Ok(expected), "{text}");
        }
        for wrong in ["", "d", "-1d", "0d", "0s", "-1h", "1", "soon", "99999999999999999d"] {
            assert!(parse_lifetime_s(wrong).is_err(), "{wrong}");
        }
    }
}
