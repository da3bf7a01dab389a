//! `jackfield defects`: which there are, and a person's word on those in doubt.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Server;
use super::output::{Column, Output};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists defects, newest first
    List(Filter),
    /// Shows one defect
    Show { id: String },
    /// Settles a defect in doubt, after a look into the tracker
    #[command(after_help = "\
Examples:
  jackfield defects settle ID --adopt QA-17 --link https://tracker.example.com/browse/QA-17
                                              it is there, under that key
  jackfield defects settle ID --retry         not sure: the next click looks once more and, where nothing
                                              is found once the settle time is over, creates it; a connector
                                              that cannot search leaves it in doubt: --give-up then
  jackfield defects settle ID --give-up       it is not there; the next click creates it without a look")]
    Settle {
        id: String,
        #[command(flatten)]
        how: How,
        /// The adopted defect's page [default: the tracker's address]
        #[arg(long, value_name = "URL", requires = "adopt")]
        link: Option<String>,
        /// The adopted defect's title [default: its key]
        #[arg(long, value_name = "TEXT", requires = "adopt")]
        title: Option<String>,
    },
    /// Lets the next click create another defect for the same failed test
    Release { id: String },
}

#[derive(Args)]
pub(super) struct Filter {
    /// Only those that a person must settle
    #[arg(long, conflicts_with = "state")]
    in_doubt: bool,
    /// Only those in this state: intent, sent, created, failed, in-doubt
    #[arg(long)]
    state: Option<String>,
    /// Only those of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// At most so many, 1 to 200
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Go on where `next` of an earlier answer points
    #[arg(long)]
    cursor: Option<String>,
}

impl Filter {
    fn path(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        let state = if self.in_doubt { Some("in-doubt") } else { self.state.as_deref() };
        let given = [
            ("state", state),
            ("connection", self.connection.as_deref()),
            ("cursor", self.cursor.as_deref()),
        ];
        for (name, value) in given {
            query.extend_pairs(value.map(|value| (name, value)));
        }
        format!("/defects?{}", query.finish())
    }
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct How {
    /// The tracker has it, under this key
    #[arg(long, value_name = "KEY")]
    adopt: Option<String>,
    /// The next click looks once more, and creates it where nothing is found
    #[arg(long)]
    retry: bool,
    /// The tracker does not have it: the next click creates it without looking
    #[arg(long)]
    give_up: bool,
}

impl How {
    fn body(&self) -> Value {
        match (&self.adopt, self.retry) {
            (Some(key), _) => json!({ "adopt": key }),
            (None, true) => json!({ "retry": true }),
            (None, false) => json!({ "give_up": self.give_up }),
        }
    }
}

const DEFECTS: [Column; 6] = [
    ("ID", "/id"),
    ("STATE", "/state"),
    ("CONNECTION", "/connection_name"),
    ("KEY", "/defect/key"),
    ("LINK", "/defect/link"),
    ("ERROR", "/reason"),
];

impl Command {
    pub(super) fn run(self, server: &Server, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        match self {
            Self::List(filter) => output.list(&admin.get(&filter.path())?, "defects", &DEFECTS),
            Self::Show { id } => output.one(&admin.get(&format!("/defects/{id}"))?),
            Self::Settle { id, how, link, title } => {
                let mut body = how.body();
                for (name, value) in [("link", link), ("title", title)] {
                    if let Some(value) = value {
                        body[name] = json!(value);
                    }
                }
                let answer = admin.post(&format!("/defects/{id}/settle"), &body)?;
                if how.retry {
                    let told = format!("{id} stays in doubt until the next click looks once more");
                    output.done(&told, &answer);
                    return Ok(());
                }
                output.done(&format!("{id} is settled"), &answer);
            }
            Self::Release { id } => {
                let answer = admin.post(&format!("/defects/{id}/release"), &json!({}))?;
                output.done(&format!("{id} is released: the next click makes another"), &answer);
            }
        }
        Ok(())
    }
}
