//! `jackfield connections` and `jackfield connectors`: what is configured, and what can be.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::{Client, Server};
use super::output::{Column, Output, say, table};
use super::pairs;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Makes a connection and prints its webhook URL, this once
    #[command(after_help = "\
Example:
  jackfield connections create qa --connector redmine --set url=https://redmine.example.com \\
      --set project=qa --secret api-key=@key-file")]
    Create(Create),
    /// Lists all connections
    List,
    /// Shows one connection
    Show { name: String },
    /// Changes settings, secrets or the name; what is not given stays
    Edit(Edit),
    /// Answers its webhooks by 503 until resumed
    Pause { name: String },
    /// Ends a pause
    Resume { name: String },
    /// Tries how far the tracker is reached, and as whom
    Try { name: String },
    /// Makes a new webhook URL; the old one holds for a grace time
    RotateToken {
        name: String,
        /// How long the old URL still holds, seconds
        #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
        grace_s: u32,
    },
    /// Accepts what a newer version of the connector asks for, and gives it what it needs
    Accept(Accept),
    /// Deletes a connection with its events and defects
    Delete {
        name: String,
        /// Even while creates run or are in doubt
        #[arg(long)]
        force: bool,
    },
}

#[derive(Args)]
pub(super) struct Create {
    name: String,
    /// The connector: the stem of its file in the plugins folder
    #[arg(long)]
    connector: String,
    #[command(flatten)]
    values: Values,
}

#[derive(Args)]
pub(super) struct Edit {
    name: String,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Answers KPIs of every Test Manager project
    #[arg(long, conflicts_with = "project")]
    any_project: bool,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    removed: Removed,
}

#[derive(Args)]
pub(super) struct Accept {
    name: String,
    /// Only this version, the `newest_sha256` that `connections show` told
    #[arg(long, value_name = "HASH")]
    sha256: Option<String>,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    removed: Removed,
}

#[derive(Args)]
struct Removed {
    /// A setting to remove
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// A secret to remove
    #[arg(long, value_name = "KEY")]
    unset_secret: Vec<String>,
    /// Leaves an origin even while creates run or are in doubt
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
struct Values {
    #[command(flatten)]
    given: Given,
    /// The one Test Manager project whose KPIs it answers
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Lets names lead to private addresses
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    allow_private: Option<bool>,
}

#[derive(Args)]
struct Given {
    /// A setting; a value that is a JSON list, number, true or false is taken as such
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A secret: KEY=@FILE, KEY=- for stdin, KEY to be asked; or KEY=file:/PATH, KEY=env:NAME, which
    /// the server reads
    #[arg(long, value_name = "KEY[=@FILE]")]
    secret: Vec<String>,
}

impl Given {
    fn body(&self) -> anyhow::Result<Map<String, Value>> {
        let mut body = Map::new();
        body.insert("settings".to_owned(), pairs::settings(&self.set)?.into());
        body.insert("secrets".to_owned(), pairs::secrets(&self.secret)?.into());
        Ok(body)
    }
}

impl Removed {
    /// What is removed is `null` in an edit.
    fn add_to(self, body: &mut Map<String, Value>) {
        for (members, names) in [("settings", self.unset), ("secrets", self.unset_secret)] {
            if let Some(members) = body.get_mut(members).and_then(Value::as_object_mut) {
                members.extend(names.into_iter().map(|name| (name, Value::Null)));
            }
        }
    }

    fn query(&self) -> &'static str {
        if self.force { "?force=true" } else { "" }
    }
}

impl Values {
    fn body(&self) -> anyhow::Result<Map<String, Value>> {
        let mut body = self.given.body()?;
        if let Some(project) = &self.project {
            body.insert("project".to_owned(), json!(project));
        }
        if let Some(allow) = self.allow_private {
            body.insert("allow_private".to_owned(), json!(allow));
        }
        Ok(body)
    }
}

const CONNECTIONS: [Column; 6] = [
    ("NAME", "/name"),
    ("CONNECTOR", "/connector"),
    ("STATUS", "/status"),
    ("LAST SUCCESS", "/last_success_at"),
    ("LAST ERROR", "/last_error/detail"),
    ("ID", "/id"),
];

impl Command {
    pub(super) fn run(self, server: &Server, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        match self {
            Self::Create(create) => create.run(&admin, output)?,
            Self::List => output.list(&admin.get("/connections")?, "connections", &CONNECTIONS),
            Self::Show { name } => output.one(&admin.get(&admin.connection_path(&name)?)?),
            Self::Edit(edit) => edit.run(&admin, output)?,
            Self::Pause { name } => act(&admin, output, &name, "pause", "is paused")?,
            Self::Resume { name } => act(&admin, output, &name, "resume", "is resumed")?,
            Self::Accept(accept) => accept.run(&admin, output)?,
            Self::Try { name } => try_it(&admin, output, &name)?,
            Self::RotateToken { name, grace_s } => rotate(&admin, output, &name, grace_s)?,
            Self::Delete { name, force } => {
                let path = admin.connection_path(&name)?;
                let query = if force { "?force=true" } else { "" };
                let answer = admin.delete(&format!("{path}{query}"))?;
                output.done(&format!("{name} is deleted"), &answer);
            }
        }
        Ok(())
    }
}

impl Create {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let mut body = self.values.body()?;
        body.insert("name".to_owned(), json!(self.name));
        body.insert("connector".to_owned(), json!(self.connector));
        let made = admin.post("/connections", &Value::Object(body))?;
        let url = made["webhook_url"].as_str().unwrap_or_default();
        let told = format!(
            "{} is made. {}\nIts webhook URL is a secret and is shown only now:\n  {url}",
            self.name,
            granted(&made["grants"])
        );
        output.done(&told, &made);
        Ok(())
    }
}

/// What a connector may do, in a sentence.
fn granted(grants: &Value) -> String {
    let texts = |list: &Value| -> Vec<String> {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let secrets = grants["secrets"].as_object().into_iter().flatten().map(|(name, grant)| {
        let text = |member: &str| grant[member].as_str().unwrap_or_default().to_owned();
        format!("; {name} goes to {} {}", text("origin"), text("place"))
    });
    match texts(&grants["origins"]) {
        none if none.is_empty() => "Its connector reaches no address.".to_owned(),
        origins => format!(
            "Its connector reaches {}{}.",
            origins.join(" and "),
            secrets.collect::<String>()
        ),
    }
}

impl Edit {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let path = admin.connection_path(&self.name)?;
        let path = format!("{path}{}", self.removed.query());
        let mut body = self.values.body()?;
        self.removed.add_to(&mut body);
        body.extend(self.rename.map(|name| ("name".to_owned(), json!(name))));
        body.extend(self.any_project.then(|| ("project".to_owned(), Value::Null)));
        let answer = admin.patch(&path, &Value::Object(body))?;
        output.done(&format!("{} is changed", self.name), &answer);
        Ok(())
    }
}

impl Accept {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let shown = admin.connection(&self.name)?;
        // What is told here is what is accepted, also where another file lands meanwhile.
        let newest = shown["newest_sha256"].as_str();
        let seen = self.sha256.as_deref().or(newest).unwrap_or_default();
        let force = self.removed.force;
        let path = admin.connection_path(&self.name)?;
        let path = format!("{path}/accept?sha256={seen}&force={force}");
        let mut body = self.given.body()?;
        self.removed.add_to(&mut body);
        let answer = admin.post(&path, &Value::Object(body))?;
        let granted = granted(&answer["grants"]);
        let told = format!("{} accepts version {seen}. {granted}", self.name);
        output.done(&told, &answer);
        Ok(())
    }
}

fn act(admin: &Client, output: Output, name: &str, verb: &str, done: &str) -> anyhow::Result<()> {
    let path = admin.connection_path(name)?;
    let answer = admin.post(&format!("{path}/{verb}"), &json!({}))?;
    output.done(&format!("{name} {done}"), &answer);
    Ok(())
}

fn try_it(admin: &Client, output: Output, name: &str) -> anyhow::Result<()> {
    let path = admin.connection_path(name)?;
    let report = admin.post(&format!("{path}/try"), &json!({}))?;
    let steps = report["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let failed = steps.iter().find(|step| step["error"].is_string());
    let end = || match failed {
        Some(step) => bail!("{name} cannot be used: the step {} failed", step["name"]),
        None => Ok(()),
    };
    if output.json {
        output.one(&report);
        return end();
    }
    let row = |step: &Value| {
        let text = |member: &str| step[member].as_str().unwrap_or_default().to_owned();
        let error = step["error"].as_str();
        vec![
            text("name"),
            text("origin"),
            error.map_or("ok".to_owned(), |error| format!("failed: {error}")),
        ]
    };
    if !steps.is_empty() {
        say(&table(Vec::new(), steps.iter().map(row).collect()));
    }
    if let Some(reached) = report["reached"].as_str() {
        say(reached);
    }
    end()
}

fn rotate(admin: &Client, output: Output, name: &str, grace_s: u32) -> anyhow::Result<()> {
    let path = admin.connection_path(name)?;
    let answer = admin.post(&format!("{path}/rotate-token"), &json!({ "grace_s": grace_s }))?;
    let url = answer["webhook_url"].as_str().unwrap_or_default();
    let told = format!(
        "The new webhook URL of {name}, shown only now (the old one holds for {grace_s} s):\n  {url}"
    );
    output.done(&told, &answer);
    Ok(())
}

#[derive(Subcommand)]
pub(super) enum ConnectorsCommand {
    /// Lists all connectors
    List,
    /// Shows one connector: version, what it can do, which settings it takes
    Show { name: String },
}

const CONNECTORS: [Column; 5] = [
    ("NAME", "/name"),
    ("STATUS", "/status"),
    ("VERSION", "/version"),
    ("SHA-256", "/sha256"),
    ("ERROR", "/error"),
];

impl ConnectorsCommand {
    pub(super) fn run(self, server: &Server, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        match self {
            Self::List => output.list(&admin.get("/connectors")?, "connectors", &CONNECTORS),
            Self::Show { name } => output.one(&admin.get(&format!("/connectors/{name}"))?),
        }
        Ok(())
    }
}
