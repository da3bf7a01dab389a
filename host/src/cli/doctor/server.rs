//! The checks of `doctor` for the running server: its address, its connectors, its connections.
//! Only reads from the server.

use std::net::TcpListener;

use crate::api::{
    ConnectionList, ConnectorDifference, ConnectorList, ConnectorStatus, EnumString, ServerVersion,
    Status,
};
use crate::cli::client::{Client, is_healthy};
use crate::cli::output::{error_line, shortened};
use crate::cli::server::ServerArgs;
use crate::config::{Config, ListenAddress};

use super::{Finding, fail_finding, ok_finding, warn_finding};

/// Returns the status of the running server, if the server's folders are on this machine.
pub(super) fn running_server_status(server: &ServerArgs) -> Option<Status> {
    let admin = server.admin_client().ok().filter(Client::is_healthy)?;
    let status: Status = admin.get("/status").ok()?.decode().ok()?;
    (status.data.is_dir() && status.plugins.is_dir()).then_some(status)
}

pub(super) fn check_restart(running: &Status) -> Option<Finding> {
    let keys = running.needs_restart.join(", ");
    let found = format!("the configuration file has new values of {keys}, which are not in use");
    (!keys.is_empty()).then(|| warn_finding("reload", found, "restart the server"))
}

pub(super) fn check_connector_differences(running: &Status) -> Option<Finding> {
    let describe_version = |it: &ServerVersion| match &it.sha256 {
        Some(sha256) => format!("{}: {}", it.server, sha256.get(..12).unwrap_or(sha256)),
        None => format!("{}: none", it.server),
    };
    let describe = |it: &ConnectorDifference| {
        let servers: Vec<_> = it.servers.iter().map(describe_version).collect();
        format!("{} ({})", it.name, servers.join(", "))
    };
    let found: Vec<_> = running.connector_differences.iter().map(describe).collect();
    let fix = "give each server the same files, or set `plugins_source = \"store\"`. If it is set \
               already, the log of the server that differs contains the reason";
    (!found.is_empty()).then(|| warn_finding("connectors of the servers", found.join("; "), fix))
}

/// Checks that a server answers, or that a new server could listen. Does not check whether a new
/// server could listen on a Unix socket. `has_folders` is true if the folders of the running server
/// are known.
pub(super) fn check_server(server: &ServerArgs, config: &Config, has_folders: bool) -> Finding {
    const CHECK: &str = "server";
    if is_healthy(server.base_url()) {
        let found = format!("a server answers at {}", server.base_url());
        if has_folders {
            return ok_finding(CHECK, format!("{found}; the other checks use its folders"));
        }
        let fix = "give the server's data folder with --data, or its admin token with --token-file";
        return warn_finding(CHECK, format!("{found}, but its folders are not known"), fix);
    }
    let no_server = format!("no server answers at {}", server.base_url());
    let ListenAddress::Tcp(address) = &config.listen else {
        return ok_finding(CHECK, format!("{no_server}; it would listen on {}", config.listen));
    };
    match TcpListener::bind(address) {
        Ok(_) => ok_finding(CHECK, format!("{no_server}; {} is free", config.listen)),
        Err(error) => fail_finding(
            CHECK,
            format!("{no_server}, and no server can listen on {}: {error}", config.listen),
            "set `listen` or --listen to another port",
        ),
    }
}

/// Reports connectors and connections for which a person must do something.
pub(super) fn check_pending_actions(server: &ServerArgs) -> Vec<Finding> {
    let Some(admin) = server.admin_client().ok().filter(Client::is_healthy) else {
        return Vec::new();
    };
    vec![check_connectors(&admin), check_consent(&admin)]
}

fn check_connectors(admin: &Client) -> Finding {
    const CHECK: &str = "connectors";
    let listed = admin.get("/connectors").and_then(|list| list.decode());
    let all: ConnectorList = match listed {
        Ok(list) => list,
        Err(error) => return warn_finding(CHECK, error_line(&error), ""),
    };
    let is_broken =
        |status: &EnumString<ConnectorStatus>| *status == EnumString(ConnectorStatus::Broken);
    let broken = all.connectors.iter().filter(|it| is_broken(&it.status));
    let found: Vec<_> = broken
        .map(|it| {
            let reason = shortened(it.error.as_deref().unwrap_or_default());
            match &it.version {
                Some(version) => {
                    format!(
                        "{}: {version} stays in use, the newest file cannot be used: {reason}",
                        it.name
                    )
                }
                None => format!("{}: {reason}", it.name),
            }
        })
        .collect();
    if found.is_empty() {
        return ok_finding(CHECK, "the newest file of each connector is used");
    }
    let fix = "`jackfield connectors show NAME` shows the whole reason; install a file without the \
               error, or return to the previous version: `jackfield connectors rollback NAME`";
    warn_finding(CHECK, found.join("; "), fix)
}

fn check_consent(admin: &Client) -> Finding {
    const CHECK: &str = "consent";
    let listed = admin.get("/connections").and_then(|list| list.decode());
    let connections: ConnectionList = match listed {
        Ok(list) => list,
        Err(error) => return warn_finding(CHECK, error_line(&error), ""),
    };
    let waiting = connections.connections.into_iter().filter(|it| it.needs_consent.is_some());
    let names: Vec<_> = waiting.map(|it| it.name).collect();
    if names.is_empty() {
        return ok_finding(CHECK, "no connection waits for consent");
    }
    let found = format!(
        "these connections wait for consent to the newest version of their connector: {}",
        names.join(", ")
    );
    warn_finding(
        CHECK,
        found,
        "see what is new, and accept the version: `jackfield connections accept NAME`",
    )
}
