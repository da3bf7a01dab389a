//! `jackfield defects`: lists and shows defects, and sends a person's decisions about them. The
//! server, not this module, decides whether a decision is allowed.

use clap::{Args, Subcommand};

use crate::api::{DefectList, DefectQuery, DefectRecord, EmptyBody, EnumString, ResolveDefect};
use crate::domain::DefectState;

use super::client::{Answer, with_query};
use super::filter::{PageArguments, enum_value_parser};
use super::ids::{IdPrefix, ListRow, with_short_ids};
use super::output::{Column, Output, text_or_empty};
use super::server::ServerArgs;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List defects, newest first
    #[command(after_help = "\
Examples:
  jackfield defects list --needs-person
  jackfield defects list --connection qa --state failed")]
    List(DefectFilter),
    /// Show one defect
    Show {
        /// The id of the defect, or the beginning of the id
        id: IdPrefix,
    },
    /// Resolve a defect in doubt, after you have searched the tracker for it
    #[command(after_help = "\
`jackfield defects show ID` prints the marker to search the tracker for.

Examples:
  jackfield defects resolve ID --adopt QA-17 --link https://tracker.example.com/browse/QA-17
      The tracker has the defect, under this key.
  jackfield defects resolve ID --retry
      Do not wait for the time `create.in_doubt_s`. After the index delay, the next click on Create
      Defect searches, and creates the defect if it finds none. With a connector that cannot search,
      the next click creates the defect at once.
  jackfield defects resolve ID --give-up
      The tracker does not have the defect. The next click on Create Defect creates it. A connector
      that can search does a last search before, after the index delay. If this search fails for a
      reason that is not temporary, the defect is created all the same.")]
    Resolve {
        /// The id of the defect, or the beginning of the id
        id: IdPrefix,
        #[command(flatten)]
        decision: Decision,
        /// The page of the adopted defect [default: the tracker's address]
        #[arg(long, value_name = "URL", requires = "adopt")]
        link: Option<String>,
        /// The title of the adopted defect [default: its key]
        #[arg(long, value_name = "TEXT", requires = "adopt")]
        title: Option<String>,
    },
    /// Let the next click on Create Defect create another defect for the same failed test
    Release {
        /// The id of the defect, or the beginning of the id
        id: IdPrefix,
    },
}

#[derive(Args)]
pub(super) struct DefectFilter {
    /// Only defects that a person should resolve
    #[arg(long)]
    needs_person: bool,
    /// Only defects in doubt
    #[arg(long, conflicts_with = "state")]
    in_doubt: bool,
    /// Only defects in this state
    #[arg(long, value_parser = enum_value_parser::<DefectState>())]
    state: Option<DefectState>,
    /// Only defects of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    #[command(flatten)]
    page: PageArguments,
}

impl DefectFilter {
    fn into_query(self) -> DefectQuery {
        let state = if self.in_doubt { Some(DefectState::InDoubt) } else { self.state };
        DefectQuery {
            state: state.map(EnumString),
            needs_person: self.needs_person,
            connection: self.connection,
            cursor: self.page.cursor,
            limit: Some(self.page.limit),
        }
    }
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Decision {
    /// The tracker has the defect, under this key
    #[arg(long, value_name = "KEY")]
    adopt: Option<String>,
    /// Do not wait for `create.in_doubt_s`: after the index delay, the next click on Create Defect
    /// searches, and creates the defect if it finds none
    #[arg(long)]
    retry: bool,
    /// The tracker does not have the defect: the next click on Create Defect creates it, after a
    /// last search
    #[arg(long)]
    give_up: bool,
}

const DEFECT_COLUMNS: [Column<ListRow<DefectRecord>>; 6] = [
    ("ID", |row| row.short_id.clone()),
    ("STATE", |row| row.record.state.to_string()),
    ("CONNECTION", |row| text_or_empty(row.record.connection_name.as_ref())),
    ("KEY", |row| text_or_empty(row.record.defect.as_ref().map(|defect| &defect.key))),
    ("LINK", |row| text_or_empty(row.record.defect.as_ref().map(|defect| &defect.link))),
    ("ERROR", |row| text_or_empty(row.record.needs_person.as_ref().or(row.record.reason.as_ref()))),
];

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin_client()?;
        match self {
            Self::List(filter) => {
                let path = with_query("/defects", &filter.into_query())?;
                let list: Answer<DefectList> = admin.get(&path)?;
                return output.print_list(&list, "defects", &DEFECT_COLUMNS, |page| {
                    (with_short_ids(page.defects, |defect| defect.id), page.next)
                });
            }
            Self::Show { id } => {
                let id = id.resolve(&admin, "defect")?;
                let defect: Answer<DefectRecord> = admin.get_by_name("defect", &id.to_string())?;
                output.print_record(defect.json());
            }
            Self::Resolve { id, decision, link, title } => {
                let id = id.resolve(&admin, "defect")?;
                let Decision { adopt, retry, give_up } = decision;
                let body = ResolveDefect { adopt, title, link, retry, give_up };
                let path = format!("/defects/{id}/resolve");
                let answer: Answer<DefectRecord> = admin.post(&path, &body)?;
                let sentence = if retry {
                    format!(
                        "the defect {id} stays in doubt; the next click on Create Defect searches \
                         again"
                    )
                } else {
                    format!("the defect {id} is resolved")
                };
                output.print_result(&sentence, answer.json());
            }
            Self::Release { id } => {
                let id = id.resolve(&admin, "defect")?;
                let path = format!("/defects/{id}/release");
                let answer: Answer<DefectRecord> = admin.post(&path, &EmptyBody {})?;
                let sentence = format!(
                    "the defect {id} is released: the next click on Create Defect creates another \
                     one"
                );
                output.print_result(&sentence, answer.json());
            }
        }
        Ok(())
    }
}
