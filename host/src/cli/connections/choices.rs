//! `jackfield connections choices`: lists the values that the tracker has for a setting.

use clap::Args;

use crate::api::{Choice, Choices, ListChoices};
use crate::cli::client::{Answer, Client};
use crate::cli::output::{Column, Output, eprint};

#[derive(Args)]
pub(in crate::cli) struct ChoicesArguments {
    /// The name or id of the connection
    name: String,
    /// The name of the setting
    setting: String,
    /// A search text for the values; some connectors ignore it
    #[arg(default_value = "")]
    search: String,
}

const CHOICE_COLUMNS: [Column<Choice>; 2] =
    [("VALUE", |it| it.value.clone()), ("LABEL", |it| it.label.clone())];

impl ChoicesArguments {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let path = format!("{}/choices", admin.connection_path(&self.name)?);
        let body = ListChoices { setting: self.setting, search: self.search };
        let answer: Answer<Choices> = admin.post(&path, &body)?;
        output.print_list(&answer, "values", &CHOICE_COLUMNS, |page| (page.choices, None))?;
        if !output.is_json && answer.decode()?.more {
            eprint("there are more values: give a longer search text");
        }
        Ok(())
    }
}
