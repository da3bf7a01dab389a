//! `jackfield connections choices`: lists possible values of a setting, as the tracker has them.

use clap::Args;

use crate::api::{Choice, Choices, ListChoices};
use crate::cli::client::{Answer, Client};
use crate::cli::output::{Column, Output, eprint};

#[derive(Args)]
pub(in crate::cli) struct ChoicesOf {
    /// The name or id of the connection
    name: String,
    /// The setting
    setting: String,
    /// Only values that the tracker finds for this text
    #[arg(default_value = "")]
    search: String,
}

const CHOICES: [Column<Choice>; 2] =
    [("VALUE", |it| it.value.clone()), ("LABEL", |it| it.label.clone())];

impl ChoicesOf {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let path = format!("{}/choices", admin.connection_path(&self.name)?);
        let body = ListChoices { setting: self.setting, search: self.search };
        let answer: Answer<Choices> = admin.post(&path, &body)?;
        output.print_list(&answer, "values", &CHOICES, |page| (page.choices, None))?;
        if !output.json && answer.decode()?.more {
            eprint("there are more values: give a longer search text");
        }
        Ok(())
    }
}
